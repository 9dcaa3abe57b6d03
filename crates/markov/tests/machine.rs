//! Small machines whose answers are known: every state is gone through, in f64.

use grad::{Tape, Tensor, Var};
use markov::contrast::{Offsets, Units};
use markov::{Machine, Path, Walk, ais, exact};
use nn::random::{normal, stream, uniform};
use nn::stats::{log_mean_exp, logsumexp};

/// W, b, c.
fn parameters(d: usize, h: usize, scale: f64, seed: u64) -> [Tensor<f64>; 3] {
    let mut noise = stream(&[seed]);
    [vec![d, h], vec![d], vec![h]]
        .map(|shape| Tensor::from_fn(&shape[..], |_| scale * normal(&mut noise)))
}

fn machine([w, b, c]: &[Tensor<f64>; 3]) -> Machine {
    Machine::binary(&w.cast(), &b.cast(), &c.cast())
}

fn states(units: usize) -> Vec<Vec<f64>> {
    let state = |n: usize| (0..units).map(|j| (n >> j & 1) as f64).collect();
    (0..1 << units).map(state).collect()
}

/// -F(v), in plain f64.
fn log_density([w, b, c]: &[Tensor<f64>; 3], v: &[f64]) -> f64 {
    let h = c.len();
    let bias: f64 = v.iter().zip(b.data()).map(|(v, b)| v * b).sum();
    let terms = (0..h).map(|j| {
        let weights = v.iter().enumerate().map(|(i, v)| v * w.data()[i * h + j]);
        (c.data()[j] + weights.sum::<f64>()).exp().ln_1p()
    });
    bias + terms.sum::<f64>()
}

fn log_z(params: &[Tensor<f64>; 3]) -> f64 {
    let all = states(params[1].len());
    logsumexp(
        &all.iter()
            .map(|v| log_density(params, v))
            .collect::<Vec<_>>(),
    )
}

fn near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: expected {expected}, found {found}"
    );
}

#[test]
fn log_z_is_the_sum_over_either_side() {
    for (d, h) in [(6, 4), (4, 6), (25, 3), (3, 25), (12, 11)] {
        let params = parameters(d, h, 0.7, (d * h) as u64);
        let found = exact::log_z(&machine(&params)).unwrap();
        if d <= 12 {
            near(found, log_z(&params), 1e-4, "log Z");
        } else {
            // Turned about, hidden units are visible ones.
            let [w, b, c] = &params;
            let turned = Tensor::from_fn([h, d], |i| w.data()[i % d * h + i / d]);
            near(found, log_z(&[turned, c.clone(), b.clone()]), 1e-4, "log Z");
        }
    }
    assert!(exact::log_z(&machine(&parameters(21, 21, 0.1, 1))).is_none());
}

#[test]
fn densities_sum_to_one() {
    let params = parameters(7, 5, 1.0, 3);
    let machine = machine(&params);
    let all = exact::bits(0, 128, 7);
    let energies = machine.free_energy(&all);
    let log_z = exact::log_z(&machine).unwrap();
    let mass: f64 = energies.iter().map(|f| (-f - log_z).exp()).sum();
    near(mass, 1.0, 1e-5, "mass");
}

/// One Gaussian visible unit and three hidden ones: the density integrates to 1.
#[test]
fn gaussian_densities_integrate_to_one() {
    let weight = Tensor::new([1, 3], &[1.5f32, -0.7, 0.4]);
    let (b, c) = (
        Tensor::new([1], &[0.3f32]),
        Tensor::new([3], &[-0.2f32, 0.5, 0.1]),
    );
    let machine = Machine::gaussian(&weight, &b, &c, &Tensor::new([1], &[0.6f32]));
    let log_z = exact::log_z(&machine).unwrap();
    let step = 1e-3;
    let grid: Vec<f32> = (-10_000..10_000).map(|i| i as f32 * step).collect();
    let mass: f64 = machine
        .free_energy(&grid)
        .iter()
        .map(|f| (-f - log_z).exp())
        .sum();
    near(mass * f64::from(step), 1.0, 1e-4, "mass");
}

/// The loss with negative samples weighted by their exact probabilities has the derivatives of
/// -log p(v), by finite differences of the enumerated likelihood; the centred one has what
/// algorithm 1 of Melchior et al. 2016 makes of them.
#[test]
fn gradients_are_those_of_the_likelihood() {
    let (d, h) = (5, 4);
    let params = parameters(d, h, 0.8, 5);
    let data: Vec<Vec<f64>> = [3, 9, 30].iter().map(|&n| states(d)[n].clone()).collect();
    let nll = |params: &[Tensor<f64>; 3]| -> f64 {
        data.iter()
            .map(|v| log_z(params) - log_density(params, v))
            .sum()
    };
    let plain: Vec<Vec<f64>> = (0..3)
        .map(|k| {
            (0..params[k].len())
                .map(|i| {
                    let at = |delta: f64| {
                        let mut moved = params.clone();
                        moved[k].make_mut()[i] += delta;
                        nll(&moved)
                    };
                    (at(1e-5) - at(-1e-5)) / 2e-5
                })
                .collect()
        })
        .collect();
    let hidden = |v: &[f64]| -> Vec<f64> {
        let input = |j: usize| -> f64 {
            let sum = v
                .iter()
                .enumerate()
                .map(|(i, v)| v * params[0].data()[i * h + j]);
            params[2].data()[j] + sum.sum::<f64>()
        };
        (0..h).map(|j| 1.0 / (1.0 + (-input(j)).exp())).collect()
    };
    let centres = [
        [vec![0.0; d], vec![0.0; h]],
        [vec![0.3, 0.9, 0.1, 0.5, 0.7], vec![0.2, 0.6, 0.5, 0.8]],
    ];
    for [mu, lambda] in &centres {
        let tape = Tape::new();
        let vars = params.clone().map(|value| tape.var(value));
        let offsets = Offsets {
            visible: Tensor::new([d], mu),
            hidden: Tensor::new([h], lambda),
        };
        let side = |v: &[f64], counts: f64| -> Var<f64> {
            let mut units = Units::of(&Tensor::new([1, d], v), &vars[0], &offsets, counts);
            units.hidden = Tensor::new([1, h], &hidden(v));
            units.sum(Some(&vars[1]), &vars[2], &offsets)
        };
        let all = states(d);
        let log_z = log_z(&params);
        let negative = all.iter().map(|v| {
            side(
                v,
                data.len() as f64 * (log_density(&params, v) - log_z).exp(),
            )
        });
        let loss = data
            .iter()
            .map(|v| side(v, -1.0))
            .chain(negative)
            .reduce(|a, b| a + b)
            .unwrap();
        let found = tape.gradients(&loss, &[&vars[0], &vars[1], &vars[2]]);
        // G = dW - db lambda^T - mu dc^T, then db - G lambda and dc - G^T mu.
        let g = |i: usize, j: usize| {
            plain[0][i * h + j] - plain[1][i] * lambda[j] - mu[i] * plain[2][j]
        };
        for (i, of_b) in plain[1].iter().enumerate() {
            for j in 0..h {
                near(found[0].data()[i * h + j], g(i, j), 1e-6, "W");
            }
            let expected = of_b - (0..h).map(|j| g(i, j) * lambda[j]).sum::<f64>();
            near(found[1].data()[i], expected, 1e-6, "b");
        }
        for (j, of_c) in plain[2].iter().enumerate() {
            let expected = of_c - (0..d).map(|i| g(i, j) * mu[i]).sum::<f64>();
            near(found[2].data()[j], expected, 1e-6, "c");
        }
    }
}

/// p_beta(v) T(v -> v') = p_beta(v') T(v' -> v) at several places of the path, with transitions
/// summed over hidden units in f64, and chains that keep to those transitions.
#[test]
fn gibbs_sampling_is_in_detailed_balance() {
    let (d, h) = (3, 2);
    let params = parameters(d, h, 1.2, 8);
    let machine = machine(&params);
    let means = [0.3f32, 0.6, 0.5];
    let path = Path::new(&machine, &means);
    let sigmoid = |a: f64| 1.0 / (1.0 + (-a).exp());
    for beta in [0.0, 0.4, 1.0] {
        let base: Vec<f64> = means
            .iter()
            .map(|&m| f64::from(m / (1.0 - m)).ln())
            .collect();
        let bias = |i: usize| (1.0 - beta) * base[i] + beta * params[1].data()[i];
        let w = |i: usize, j: usize| beta * params[0].data()[i * h + j];
        let (all, hiddens) = (states(d), states(h));
        let of_hidden = |v: &[f64], j: usize| {
            beta * params[2].data()[j] + (0..d).map(|i| v[i] * w(i, j)).sum::<f64>()
        };
        let log_p = |v: &[f64]| -> f64 {
            (0..d).map(|i| v[i] * bias(i)).sum::<f64>()
                + (0..h).map(|j| of_hidden(v, j).exp().ln_1p()).sum::<f64>()
        };
        let pick = |p: f64, x: f64| if x > 0.5 { p } else { 1.0 - p };
        let transition = |v: &[f64], to: &[f64]| -> f64 {
            let through = |hidden: &Vec<f64>| {
                let up: f64 = (0..h)
                    .map(|j| pick(sigmoid(of_hidden(v, j)), hidden[j]))
                    .product();
                let down = (0..d).map(|i| {
                    let input = bias(i) + (0..h).map(|j| w(i, j) * hidden[j]).sum::<f64>();
                    pick(sigmoid(input), to[i])
                });
                up * down.product::<f64>()
            };
            hiddens.iter().map(through).sum()
        };
        for a in &all {
            for b in &all {
                let flow = log_p(a).exp() * transition(a, b);
                near(
                    flow,
                    log_p(b).exp() * transition(b, a),
                    1e-9 * flow.max(1.0),
                    "balance",
                );
            }
        }
        // The chain itself, from one state.
        let n = 20_000;
        let from = [1.0f32, 0.0, 1.0];
        let streams = (0..n).map(|i| stream(&[7, i as u64])).collect();
        let mut walk = Walk::from(&path, from.repeat(n), streams);
        walk.set_beta(beta as f32);
        walk.step();
        let mut counts = [0.0; 8];
        for row in walk.visible().chunks(3) {
            let state = row
                .iter()
                .enumerate()
                .map(|(j, &x)| (x as usize) << j)
                .sum::<usize>();
            counts[state] += 1.0 / n as f64;
        }
        for (to, share) in all.iter().zip(counts) {
            let expected = transition(&[1.0, 0.0, 1.0], to);
            near(
                share,
                expected,
                5.0 * (expected / n as f64).sqrt() + 1e-3,
                "share",
            );
        }
    }
}

/// 15 visible and 15 hidden units: log Z from either end lies within its own interval of the sum.
#[test]
fn annealing_finds_log_z_within_its_interval() {
    for seed in 0..4 {
        let params = parameters(15, 15, 0.9, 100 + seed);
        let machine = machine(&params).packed();
        let truth = exact::log_z(&machine).unwrap();
        let path = Path::new(&machine, &[0.5; 15]);
        let betas = ais::schedule(2000);
        let forward = ais::forward(&path, &betas, 200, seed);
        // Exact samples of the machine for the way back, by inversion.
        let all = exact::bits(0, 1 << 15, 15);
        let mass: Vec<f64> = machine
            .free_energy(&all)
            .iter()
            .map(|f| (-f - truth).exp())
            .collect();
        let mut noise = stream(&[seed, 1]);
        let mut starts = Vec::new();
        for _ in 0..200 {
            let mut left = uniform(&mut noise);
            let found = mass.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            let state = found.unwrap_or(mass.len() - 1);
            starts.extend(&all[15 * state..][..15]);
        }
        let reverse = ais::reverse(&path, &betas, &starts, 0, seed);
        for (way, estimate) in [("forward", forward), ("reverse", reverse)] {
            let room = 3.0 * estimate.standard_error + 1e-4;
            near(estimate.log_z, truth, room, way);
            assert!(
                estimate.standard_error < 0.1 && estimate.effective > 50.0,
                "{estimate:?}"
            );
        }
    }
}

/// With three temperatures the mean weight is still Z / Z_0: weights are taken at the units of the
/// previous temperature. (Taken after the units have moved, it is far off.)
#[test]
fn few_temperatures_are_unbiased() {
    let params = parameters(6, 5, 0.6, 40);
    let machine = machine(&params);
    let truth = exact::log_z(&machine).unwrap();
    let path = Path::new(&machine, &[0.3, 0.4, 0.5, 0.6, 0.7, 0.5]);
    let estimates: Vec<f64> = (0..8)
        .map(|seed| ais::forward(&path, &[0.0, 0.3, 0.7, 1.0], 4000, seed).log_z)
        .collect();
    near(log_mean_exp(&estimates), truth, 0.02, "log Z");
}

#[test]
fn threads_do_not_change_an_estimate() {
    let machine = machine(&parameters(9, 30, 0.5, 50)).packed();
    let path = Path::new(&machine, &[0.5; 9]);
    let run = || ais::forward(&path, &ais::schedule(30), 70, 3).log_z;
    let pool = |n| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build()
            .unwrap()
    };
    assert_eq!(pool(1).install(run), pool(3).install(run));
}
