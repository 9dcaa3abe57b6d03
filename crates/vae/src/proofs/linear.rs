//! A linear Gaussian model, whose likelihood has a closed form: bounds and gradients against it.

use crate::bound::Objective;
use crate::model::{Given, Vae};
use crate::network::Layout;
use crate::output::Output;
use grad::{Tape, Tensor, Var};
use nn::model::ImageSpec;
use nn::random::{normal_tensor, stream, uniform};
use nn::{Builder, Params};
use std::f64::consts::TAU;

/// Images of 2x2 pixels with four levels, whose two-dimensional code gives their means.
const SPEC: ImageSpec = ImageSpec::new(2, 2, 1, 4);
const LATENTS: usize = 2;
const DIMS: usize = 4;

/// p(x|z) = N(W z + b, s^2) of the pixels spread out, with orthogonal columns w_1, w_2 of W, so that
/// the posterior is diagonal: z_j ~ N(w_j (x - b) / (s^2 + |w_j|^2), s^2 / (s^2 + |w_j|^2)).
struct Linear {
    vae: Vae,
    params: Params<f64>,
    columns: [[f64; DIMS]; LATENTS],
    b: [f64; DIMS],
    variance: f64,
    given: Given<f64>,
}

fn set(params: &mut Params<f64>, name: &str, values: &[f64]) {
    let id = params
        .find(name)
        .unwrap_or_else(|| panic!("no parameter {name}"));
    let shape = *params[id].value.shape();
    params.get_mut(id).value = Tensor::new(shape, values);
}

impl Linear {
    fn new(objective: Objective) -> Linear {
        let columns = [[0.5, 0.5, 0.0, 0.0], [0.3, -0.3, 0.2, 0.1]];
        let (b, variance) = ([0.4, 0.5, 0.6, 0.3], 0.05f64);
        let mut params = Params::new();
        let mut builder = Builder::new(&mut params, 0);
        let shared = builder
            .scope("pixels")
            .param("log_var", [1], |shape, _| Tensor::zeros(shape));
        let output = Output::Gaussian {
            levels: SPEC.levels,
            shared: Some(shared),
        };
        let layout = Layout {
            is_linear: true,
            ..Layout::default()
        };
        let vae = Vae::with(&mut builder, SPEC, layout, LATENTS, output).objective(objective);
        let mut params = params.cast::<f64>();
        set(&mut params, "pixels.log_var", &[variance.ln()]);
        set(&mut params, "pixels.weight", &columns.concat());
        set(&mut params, "pixels.bias", &b);
        // Three images, spread out by the same half of a level each: (level + 1/2) / 4.
        let mut noise = stream(&[5]);
        let x = Tensor::from_fn([3, DIMS], |_| (uniform(&mut noise) * 4.0).floor() / 3.0);
        let given = Given {
            u: Some(Tensor::full([3, DIMS], 0.5)),
            x: Var::constant(x),
            y: None,
        };
        let mut linear = Linear {
            vae,
            params,
            columns,
            b,
            variance,
            given,
        };
        linear.encode_exactly();
        linear
    }

    /// The exact posterior into the encoder: x' = (3 x + 1/2) / 4 is what the decoder sees.
    fn encode_exactly(&mut self) {
        let (mut weight, mut bias) = (vec![0.0; DIMS * 2 * LATENTS], vec![0.0; 2 * LATENTS]);
        for (j, w) in self.columns.iter().enumerate() {
            let square: f64 = w.iter().map(|w| w * w).sum();
            for d in 0..DIMS {
                let slope = w[d] / (self.variance + square);
                weight[d * 2 * LATENTS + j] = slope * 0.75;
                bias[j] += slope * (0.125 - self.b[d]);
            }
            bias[LATENTS + j] = (self.variance / (self.variance + square)).ln();
        }
        set(&mut self.params, "posterior.weight", &weight);
        set(&mut self.params, "posterior.bias", &bias);
    }

    /// -log p of each image: N(b, s^2 I + W W^T) of x', and log 4 a dimension.
    fn exact(&self) -> Vec<f64> {
        let nats = |x: &[f64]| {
            let centred: Vec<f64> = x
                .iter()
                .zip(self.b)
                .map(|(x, b)| (3.0 * x + 0.5) / 4.0 - b)
                .collect();
            let mut square: f64 = centred.iter().map(|x| x * x / self.variance).sum();
            let mut log_det = DIMS as f64 * self.variance.ln();
            for w in &self.columns {
                // Along w the variance is s^2 + |w|^2.
                let length: f64 = w.iter().map(|w| w * w).sum();
                let dot: f64 = w.iter().zip(&centred).map(|(w, x)| w * x).sum();
                square +=
                    dot * dot / length * (1.0 / (self.variance + length) - 1.0 / self.variance);
                log_det += ((self.variance + length) / self.variance).ln();
            }
            0.5 * (square + log_det + DIMS as f64 * TAU.ln()) + DIMS as f64 * 4f64.ln()
        };
        self.given.x.value().data().chunks(DIMS).map(nats).collect()
    }

    fn bound(&self, k: usize, seed: u64) -> Vec<f64> {
        let p = self.params.constants();
        let eps = Var::constant(normal_tensor([3 * k, LATENTS], &mut stream(&[seed])));
        self.vae
            .weighted(&p, &self.given, &eps, 1.0)
            .value()
            .data()
            .to_vec()
    }
}

#[test]
fn with_the_exact_posterior_every_weight_is_the_likelihood() {
    let linear = Linear::new(Objective::default());
    let exact = linear.exact();
    for (k, seed) in [(1, 1), (1, 2), (7, 3)] {
        for (found, expected) in linear.bound(k, seed).iter().zip(&exact) {
            assert!(
                (found - expected).abs() < 1e-9,
                "k = {k}: {found}, exactly {expected}"
            );
        }
    }
    // -ELBO with its exact KL has the same mean.
    let p = linear.params.constants();
    let (mu, log_var) = linear.vae.posterior_given(&p, &linear.given.x, None);
    let runs = 4000;
    let mut noise = stream(&[8]);
    let mut mean = [0.0; 3];
    for _ in 0..runs {
        let eps = Var::constant(normal_tensor([3, LATENTS], &mut noise));
        let elbo = linear.vae.elbo_at(&p, &linear.given, [&mu, &log_var], &eps);
        let nats = elbo.reconstruction + elbo.kl;
        mean.iter_mut()
            .zip(nats.value().data())
            .for_each(|(m, x)| *m += x / runs as f64);
    }
    for (found, expected) in mean.iter().zip(&exact) {
        assert!(
            (found - expected).abs() < 0.1,
            "-ELBO {found}, exactly {expected}"
        );
    }
}

#[test]
fn bounds_fall_towards_the_likelihood_as_samples_are_added() {
    let mut linear = Linear::new(Objective::default());
    let exact: f64 = linear.exact().iter().sum();
    // An encoder that is wrong: means too small, spreads too large.
    for name in ["posterior.weight", "posterior.bias"] {
        let id = linear.params.find(name).unwrap();
        let param = linear.params.get_mut(id);
        param.value = param.value.map(|x| 0.7 * x);
    }
    let mean = |k: usize| {
        let runs = 3000 / k as u64 + 20;
        let total: f64 = (0..runs)
            .map(|run| linear.bound(k, run).iter().sum::<f64>())
            .sum();
        total / runs as f64
    };
    let bounds = [1, 3, 10, 100, 3000].map(mean);
    for pair in bounds.windows(2) {
        assert!(pair[0] > pair[1] - 2e-3, "{bounds:?}");
    }
    let last = bounds[4];
    assert!(
        bounds[0] > exact + 0.1 && (last - exact).abs() < 0.02,
        "{bounds:?}, exactly {exact}"
    );
}

/// The gradient of the k-sample bound by all parameters.
fn gradient(linear: &Linear, k: usize, seed: u64) -> Vec<Tensor<f64>> {
    let tape = Tape::new();
    let p = linear.params.bind(&tape);
    let eps = Var::constant(normal_tensor([3 * k, LATENTS], &mut stream(&[seed])));
    let loss = linear.vae.weighted(&p, &linear.given, &eps, 1.0).sum();
    let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
    tape.gradients(&loss, &wrt)
}

#[test]
fn the_gradient_is_the_sum_of_normalised_weights_times_gradients() {
    let mut linear = Linear::new(Objective::default());
    set(
        &mut linear.params,
        "posterior.bias",
        &[0.1, -0.2, -1.0, -0.5],
    );
    let (k, seed) = (5, 4);
    let found = gradient(&linear, k, seed);
    let eps: Tensor<f64> = normal_tensor([3 * k, LATENTS], &mut stream(&[seed]));
    // Each weight and its gradient, by the one-sample functions alone.
    let tape = Tape::new();
    let p = linear.params.bind(&tape);
    let (mu, log_var) = linear.vae.posterior_given(&p, &linear.given.x, None);
    let draws: Vec<Var<f64>> = (0..k)
        .map(|i| {
            let rows: Vec<f64> = (0..3)
                .flat_map(|b| eps.data()[(b * k + i) * LATENTS..][..LATENTS].to_vec())
                .collect();
            let eps = Var::constant(Tensor::new([3, LATENTS], &rows));
            linear
                .vae
                .log_weights(&p, &linear.given, [&mu, &log_var], &eps, 1.0)
        })
        .collect();
    let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
    let mut expected: Vec<Vec<f64>> = wrt.iter().map(|var| vec![0.0; var.value().len()]).collect();
    for image in 0..3 {
        let logs: Vec<f64> = draws
            .iter()
            .map(|draw| draw.value().data()[image])
            .collect();
        let all = nn::stats::logsumexp(&logs);
        for (draw, log) in draws.iter().zip(&logs) {
            let one = draw.slice(0, image..image + 1).sum();
            for (sum, g) in expected.iter_mut().zip(tape.gradients(&one, &wrt)) {
                let weight = (log - all).exp();
                sum.iter_mut()
                    .zip(g.data())
                    .for_each(|(sum, g)| *sum -= weight * g);
            }
        }
    }
    for (found, expected) in found.iter().zip(&expected) {
        for (found, expected) in found.data().iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-9 * (1.0 + expected.abs()),
                "{found} {expected}"
            );
        }
    }
}

/// The doubly reparameterised gradient: the same for the decoder, the same on average for the
/// encoder, and exactly zero for an encoder that is exact, where the plain one is noise.
#[test]
fn the_doubly_reparameterised_gradient_is_right() {
    let doubly = Objective {
        doubly: true,
        samples: 4,
        ..Objective::default()
    };
    let [mut plain, mut twice] = [Objective::default(), doubly].map(Linear::new);
    let place = |linear: &Linear, name: &str| linear.params.find(name).unwrap().index();
    let encoder = place(&plain, "posterior.weight");
    let size = |g: &Tensor<f64>| g.data().iter().map(|g| g * g).sum::<f64>().sqrt();
    let exact = [&plain, &twice].map(|linear| gradient(linear, 4, 1));
    assert!(size(&exact[1][encoder]) < 1e-9 && size(&exact[0][encoder]) > 1e-2);

    for linear in [&mut plain, &mut twice] {
        set(
            &mut linear.params,
            "posterior.bias",
            &[0.3, -0.2, -1.0, -0.5],
        );
    }
    let runs = 3000;
    let mut sums = [0, 1].map(|_| vec![0.0; plain.params.iter().nth(encoder).unwrap().value.len()]);
    let mut squares = sums.clone();
    for seed in 0..runs {
        let both = [&plain, &twice].map(|linear| gradient(linear, 4, seed));
        for name in ["pixels.weight", "pixels.bias", "pixels.log_var"] {
            let i = place(&plain, name);
            let pairs = both[0][i].data().iter().zip(both[1][i].data());
            assert!(
                pairs
                    .into_iter()
                    .all(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + a.abs())),
                "{name}"
            );
        }
        for (way, g) in both.iter().enumerate() {
            for (j, g) in g[encoder].data().iter().enumerate() {
                sums[way][j] += g / runs as f64;
                squares[way][j] += g * g / runs as f64;
            }
        }
    }
    let variance = |way: usize, j: usize| squares[way][j] - sums[way][j].powi(2);
    for (j, (plain, twice)) in sums[0].iter().zip(&sums[1]).enumerate() {
        let error = ((variance(0, j) + variance(1, j)) / runs as f64).sqrt();
        let difference = (plain - twice).abs();
        assert!(
            difference < 5.0 * error + 1e-9,
            "{j}: {difference}, error {error}"
        );
    }
    let total = |way: usize| (0..sums[0].len()).map(|j| variance(way, j)).sum::<f64>();
    assert!(
        total(1) < total(0),
        "the variance falls: {} {}",
        total(0),
        total(1)
    );
}
