//! Optimiser steps against their papers' formulas in plain f64.

use kernels::Isa;
use kernels::optim::{Adagrad, Adam, RmsProp, Sgd};

const LEN: usize = 37;
const STEPS: u64 = 5;
const SCALE: f64 = 0.75;

/// Runs STEPS steps of `step(t, p, g, first, second)` in f32 on every instruction set, and of
/// `reference` in f64 element by element, and compares the parameters.
fn check(
    step: impl Fn(u64, &mut [f32], &[f32], &mut [f32], &mut [f32]),
    reference: impl Fn(i32, &mut f64, f64, &mut f64, &mut f64),
) {
    let gradient = |t: u64, i: usize| ((t as usize * 31 + i * 17) % 23) as f32 / 7.0 - 1.5;
    let start = |i: usize| (i % 11) as f32 / 5.0 - 1.0;
    for isa in Isa::available() {
        isa.scoped(|| {
            let mut p: Vec<f32> = (0..LEN).map(start).collect();
            let (mut first, mut second) = (vec![0.0; LEN], vec![0.0; LEN]);
            for t in 1..=STEPS {
                let g: Vec<f32> = (0..LEN).map(|i| gradient(t, i)).collect();
                step(t, &mut p, &g, &mut first, &mut second);
            }
            for (i, &found) in p.iter().enumerate() {
                let (mut p, mut first, mut second) = (f64::from(start(i)), 0.0, 0.0);
                for t in 1..=STEPS {
                    let g = gradient(t, i).into();
                    reference(t as i32, &mut p, g, &mut first, &mut second);
                }
                assert!(
                    (f64::from(found) - p).abs() < 2e-6,
                    "{isa} {i}: {found} {p}"
                );
            }
        });
    }
}

#[test]
fn sgd() {
    for nesterov in [false, true] {
        let sgd = Sgd {
            learning_rate: 0.01,
            momentum: 0.9,
            nesterov,
            gradient_scale: SCALE,
            l2: 0.1,
        };
        check(
            |_, p, g, u, _| sgd.update(p, g, u),
            |_, p, g, u, _| {
                let g = SCALE * g + 0.1 * *p;
                *u = 0.9 * *u + g;
                *p -= 0.01 * if nesterov { g + 0.9 * *u } else { *u };
            },
        );
    }
    let sgd = Sgd {
        learning_rate: 0.01,
        momentum: 0.0,
        nesterov: false,
        gradient_scale: SCALE,
        l2: 0.1,
    };
    check(
        |_, p, g, _, _| sgd.update_plain(p, g),
        |_, p, g, _, _| *p -= 0.01 * (SCALE * g + 0.1 * *p),
    );
}

#[test]
fn adam() {
    for (l2, decay) in [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1)] {
        let adam = Adam {
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            gradient_scale: SCALE,
            l2,
            decay,
        };
        check(
            |t, p, g, m, v| adam.update(t, p, g, m, v),
            |t, p, g, m, v| {
                let g = SCALE * g + l2 * *p;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.99 * *v + 0.01 * g * g;
                let (m, v) = (*m / (1.0 - 0.9f64.powi(t)), *v / (1.0 - 0.99f64.powi(t)));
                *p -= 0.01 * (m / (v.sqrt() + 1e-8) + decay * *p);
            },
        );
    }
}

#[test]
fn rms_prop() {
    let rms_prop = RmsProp {
        learning_rate: 0.01,
        rho: 0.9,
        epsilon: 1e-8,
        gradient_scale: SCALE,
        l2: 0.1,
    };
    check(
        |_, p, g, v, _| rms_prop.update(p, g, v),
        |_, p, g, v, _| {
            let g = SCALE * g + 0.1 * *p;
            *v = 0.9 * *v + 0.1 * g * g;
            *p -= 0.01 * g / (v.sqrt() + 1e-8);
        },
    );
}

#[test]
fn adagrad() {
    let adagrad = Adagrad {
        learning_rate: 0.01,
        epsilon: 1e-10,
        gradient_scale: SCALE,
        l2: 0.1,
    };
    check(
        |_, p, g, v, _| adagrad.update(p, g, v),
        |_, p, g, v, _| {
            let g = SCALE * g + 0.1 * *p;
            *v += g * g;
            *p -= 0.01 * g / (v.sqrt() + 1e-10);
        },
    );
}

#[test]
fn faded_moments_end_at_zero() {
    let adam = Adam {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.9,
        epsilon: 1e-8,
        gradient_scale: 1.0,
        l2: 0.0,
        decay: 0.0,
    };
    for isa in Isa::available() {
        isa.scoped(|| {
            let (mut p, mut m, mut v) = ([1.0f32; LEN], [0.0; LEN], [0.0; LEN]);
            for t in 1..=1000 {
                let g = if t == 1 { 0.5 } else { 0.0 };
                adam.update(t, &mut p, &[g; LEN], &mut m, &mut v);
                let moments = m.iter().chain(&v);
                assert!(
                    moments.into_iter().all(|x| x.is_normal() || *x == 0.0),
                    "{isa}, step {t}"
                );
            }
            assert_eq!((m, v), ([0.0; LEN], [0.0; LEN]));
        });
    }
}
