//! The kernels of autoregressive models on every instruction set of this machine, against their
//! naive twins.

use kernels::Element;
use kernels::autoregressive::Staircase;
use kernels::autoregressive::nade::{Activation, Gradients, Nade, Running};
use kernels::gemm::{self, Epilogue, Mat};
use kernels::reference::autoregressive::{nade_logits, stairs};
use kernels::simd::Isa;

/// Numbers in [-1, 1) that look random, the same on every run.
fn numbers<T: Element>(seed: u64, len: usize) -> Vec<T> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            T::from_f64((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
        })
        .collect()
}

fn bits<T: Element>(seed: u64, len: usize) -> Vec<T> {
    let on = |x: T| if x.to_f64() < -0.4 { T::ONE } else { T::ZERO };
    numbers(seed, len).into_iter().map(on).collect()
}

#[track_caller]
fn close<T: Element>(found: &[T], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (y, e)) in found.iter().zip(expected).enumerate() {
        let error = (y.to_f64() - e).abs();
        assert!(
            error <= tolerance * (1.0 + e.abs()),
            "{what} at {i}: expected {e}, found {y}"
        );
    }
}

struct Weights<T> {
    w: Vec<T>,
    b: Vec<T>,
    v: Vec<T>,
    c: Vec<T>,
    activation: Activation,
}

impl<T: Element> Weights<T> {
    fn new(dims: usize, hidden: usize, activation: Activation) -> Self {
        Weights {
            w: numbers(1, dims * hidden),
            b: numbers(2, hidden),
            v: numbers(3, dims * hidden),
            c: numbers(4, dims),
            activation,
        }
    }

    fn nade(&self) -> Nade<'_, T> {
        let Weights {
            w,
            b,
            v,
            c,
            activation,
        } = self;
        Nade {
            w,
            b,
            v,
            c,
            activation: *activation,
        }
    }
}

const ACTIVATIONS: [Activation; 2] = [Activation::Sigmoid, Activation::Relu];

#[test]
fn nade_logits_are_those_of_the_definition() {
    fn check<T: Element>(rows: usize, dims: usize, hidden: usize, tolerance: f64) {
        for activation in ACTIVATIONS {
            let weights = Weights::<T>::new(dims, hidden, activation);
            let x = bits(5, rows * dims);
            let mut logits = vec![T::from_f64(f64::NAN); rows * dims];
            weights.nade().logits(&x, &mut logits);
            let what = format!("{rows} x {dims}, {hidden} hidden, {activation:?}");
            close(&logits, &nade_logits(&weights.nade(), &x), tolerance, &what);
        }
    }
    for isa in Isa::available() {
        isa.scoped(|| {
            for hidden in [1, 3, 4, 15, 16, 17, 31, 33, 64, 70] {
                for (rows, dims) in [(0, 3), (1, 1), (3, 5), (8, 4), (19, 7)] {
                    check::<f32>(rows, dims, hidden, 1e-5);
                    check::<f64>(rows, dims, hidden, 1e-12);
                }
            }
        });
    }
}

/// One dimension after the other gives the bits of all at once, for any number of images.
#[test]
fn nade_step_by_step_is_nade_at_once() {
    let (rows, dims, hidden) = (11, 9, 37);
    for isa in Isa::available() {
        isa.scoped(|| {
            for activation in ACTIVATIONS {
                let weights = Weights::<f32>::new(dims, hidden, activation);
                let net = weights.nade();
                let x = bits::<f32>(6, rows * dims);
                let mut expected = vec![0.0; rows * dims];
                net.logits(&x, &mut expected);
                let mut running = Running::new(rows, net.b, activation);
                let mut logits = vec![0.0; rows];
                for d in 0..dims {
                    let units = d * hidden..(d + 1) * hidden;
                    running.logits(&net.v[units.clone()], net.c[d], &mut logits);
                    for r in 0..rows {
                        assert_eq!(logits[r], expected[r * dims + d], "row {r}, dimension {d}");
                    }
                    let x: Vec<f32> = (0..rows).map(|r| x[r * dims + d]).collect();
                    running.absorb(&net.w[units], &x);
                }
            }
        });
    }
}

#[test]
fn nade_gradients_agree_with_finite_differences() {
    let (rows, dims, hidden) = (70, 5, 6);
    for activation in ACTIVATIONS {
        let weights = Weights::<f64>::new(dims, hidden, activation);
        let x = bits::<f64>(7, rows * dims);
        let g = numbers::<f64>(8, rows * dims);
        let (w, b, v, c) = gradients(&weights, &x, &g);
        let loss = |weights: &Weights<f64>| -> f64 {
            let mut logits = vec![0.0; rows * dims];
            weights.nade().logits(&x, &mut logits);
            logits.iter().zip(&g).map(|(y, g)| y * g).sum()
        };
        type Pick = fn(&mut Weights<f64>) -> &mut Vec<f64>;
        let picks: [(&str, Pick, Vec<f64>); 4] = [
            ("w", |n| &mut n.w, w),
            ("b", |n| &mut n.b, b),
            ("v", |n| &mut n.v, v),
            ("c", |n| &mut n.c, c),
        ];
        for (name, pick, found) in picks {
            for (i, found) in found.iter().enumerate() {
                let at = |delta: f64| {
                    let mut moved = Weights::new(dims, hidden, activation);
                    pick(&mut moved)[i] += delta;
                    loss(&moved)
                };
                let h = 1e-5;
                let expected = (at(h) - at(-h)) / (2.0 * h);
                assert!(
                    (found - expected).abs() < 1e-6 * (1.0 + expected.abs()),
                    "{activation:?} {name}[{i}]: expected {expected}, found {found}"
                );
            }
        }
    }
}

type Four<T> = (Vec<T>, Vec<T>, Vec<T>, Vec<T>);

fn gradients<T: Element>(weights: &Weights<T>, x: &[T], g: &[T]) -> Four<T> {
    let zeros = |like: &[T]| vec![T::ZERO; like.len()];
    let (mut w, mut b) = (zeros(&weights.w), zeros(&weights.b));
    let (mut v, mut c) = (zeros(&weights.v), zeros(&weights.c));
    let to = Gradients {
        w: &mut w,
        b: &mut b,
        v: &mut v,
        c: &mut c,
    };
    weights.nade().gradients(x, g, to);
    (w, b, v, c)
}

#[test]
fn nade_gradients_in_f32_are_those_in_f64() {
    for isa in Isa::available() {
        isa.scoped(|| {
            for (rows, dims, hidden) in [(1, 1, 1), (5, 6, 15), (67, 9, 64), (130, 4, 131)] {
                for activation in ACTIVATIONS {
                    let single = Weights::<f32>::new(dims, hidden, activation);
                    let double = Weights::<f64>::new(dims, hidden, activation);
                    let found =
                        gradients(&single, &bits(9, rows * dims), &numbers(10, rows * dims));
                    let expected =
                        gradients(&double, &bits(9, rows * dims), &numbers(10, rows * dims));
                    let what = |name| format!("{name}: {rows} x {dims}, {hidden}, {activation:?}");
                    close(&found.0, &expected.0, 1e-4, &what("w"));
                    close(&found.1, &expected.1, 1e-4, &what("b"));
                    close(&found.2, &expected.2, 1e-4, &what("v"));
                    close(&found.3, &expected.3, 1e-4, &what("c"));
                }
            }
        });
    }
}

/// A staircase of any kind: empty columns, plateaus, jumps.
fn some_staircase(rows: usize, columns: usize, seed: u64) -> Staircase {
    let mut limits: Vec<usize> = (numbers::<f64>(seed, columns).iter())
        .map(|x| ((x + 1.0) / 2.0 * (rows + 1) as f64) as usize)
        .collect();
    limits.sort();
    Staircase::new(rows, limits)
}

#[test]
fn staircase_products_are_those_of_the_masked_matrix() {
    let shapes = [
        (1, 1, 1),
        (3, 5, 4),
        (4, 70, 33),
        (5, 40, 97),
        (2, 0, 3),
        (2, 3, 0),
        (9, 130, 129),
    ];
    for isa in Isa::available() {
        isa.scoped(|| {
            for (m, k, n) in shapes {
                for seed in 0..3 {
                    let stairs_of = some_staircase(k, n, seed);
                    let mut w = numbers::<f32>(seed, k * n);
                    let masked: Vec<f32> =
                        stairs(&stairs_of, &w).iter().map(|&w| w as f32).collect();
                    for (w, m) in w.iter_mut().zip(&masked) {
                        // What lies below the stairs is never read.
                        *w = if *m == 0.0 { f32::NAN } else { *w };
                    }
                    let (x, g) = (numbers::<f32>(7, m * k), numbers::<f32>(8, m * n));
                    let bias = numbers::<f32>(9, n);
                    let what = format!("{m} x {k} x {n}, seed {seed}");
                    let relu = Epilogue {
                        bias: Some(&bias),
                        activation: gemm::Activation::Relu,
                    };
                    let mat = |data, rows, cols| Mat::<f32>::new(data, rows, cols);
                    let product = kernels::reference::gemm;

                    let mut y = vec![f32::NAN; m * n];
                    stairs_of.forward(&x, &w, relu, &mut y);
                    let expected = product(
                        mat(&x, m, k),
                        mat(&masked, k, n),
                        gemm::Beta::Zero,
                        &[],
                        relu,
                    );
                    close(&y, &expected, 1e-5, &what);

                    let mut gx = vec![f32::NAN; m * k];
                    stairs_of.input_gradient(&g, &w, &mut gx);
                    let none = Epilogue::NONE;
                    let expected = product(
                        mat(&g, m, n),
                        mat(&masked, k, n).t(),
                        gemm::Beta::Zero,
                        &[],
                        none,
                    );
                    close(&gx, &expected, 1e-5, &what);

                    let mut gw = vec![f32::NAN; k * n];
                    stairs_of.weight_gradient(&x, &g, &mut gw);
                    let expected = product(
                        mat(&x, m, k).t(),
                        mat(&g, m, n),
                        gemm::Beta::Zero,
                        &[],
                        none,
                    );
                    let expected: Vec<f64> = stairs(&stairs_of, &vec![1f32; k * n])
                        .iter()
                        .zip(expected)
                        .map(|(mask, g)| if *mask == 0.0 { 0.0 } else { g })
                        .collect();
                    close(&gw, &expected, 1e-5, &what);
                    for (g, mask) in gw.iter().zip(stairs(&stairs_of, &vec![1f32; k * n])) {
                        assert!(mask == 1.0 || *g == 0.0, "{what}: below the stairs {g}");
                    }
                }
            }
        });
    }
}

#[test]
fn degrees_make_stairs() {
    let stairs = Staircase::by_degree(&[1, 2, 2, 4], &[1, 2, 3, 4], false);
    assert_eq!(
        (0..4).map(|j| stairs.limit(j)).collect::<Vec<_>>(),
        [1, 3, 3, 4]
    );
    let strict = Staircase::by_degree(&[1, 2, 2, 4], &[1, 2, 3, 4], true);
    assert_eq!(
        (0..4).map(|j| strict.limit(j)).collect::<Vec<_>>(),
        [0, 1, 3, 3]
    );
    assert_eq!(
        (0..4).map(|i| strict.first_column(i)).collect::<Vec<_>>(),
        [1, 2, 2, 4]
    );
    assert_eq!(
        (strict.entries(), strict.rows(), strict.columns()),
        (7, 4, 4)
    );
}
