//! Reductions and row kernels against their definitions in f64, on every instruction set.

use kernels::reference::rows as reference;
use kernels::{Element, Isa, parallel, reduce};

mod common;
use common::{close, everywhere, f64s, numbers};

const LENGTHS: &[usize] = &[
    1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 66, 127, 784,
];

#[test]
fn slices() {
    fn test<T: Element>() {
        for &len in LENGTHS.iter().chain(&[100_000]) {
            let (x, y) = (numbers::<T>(len, 1), numbers::<T>(len, 2));
            let (dx, dy) = (f64s(&x), f64s(&y));
            let size = len as f64;
            close("sum", &[reduce::sum(&x)], &[dx.iter().sum()], size);
            let dot = dx.iter().zip(&dy).map(|(x, y)| x * y).sum();
            close("dot", &[reduce::dot(&x, &y)], &[dot], size);
            let max = dx.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            close("max", &[reduce::max(&x)], &[max], 0.0);
            close(
                "logsumexp",
                &[reduce::logsumexp(&x)],
                &[reference::logsumexp(&dx)],
                1.0,
            );
        }
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn nothing_and_infinities() {
    everywhere(
        || {
            let (inf, nan) = (f32::INFINITY, f32::NAN);
            assert_eq!(reduce::sum::<f32>(&[]), 0.0);
            assert_eq!(reduce::max::<f32>(&[]), -inf);
            assert_eq!(reduce::logsumexp::<f32>(&[]), -inf);
            assert_eq!(reduce::logsumexp(&[-inf, -inf]), -inf);
            assert_eq!(reduce::logsumexp(&[inf, 0.0]), inf);
            assert_eq!(reduce::logsumexp(&[-inf, 2.0]), 2.0);
            assert_eq!(reduce::max(&[-inf; 20]), -inf);
            for place in [0, 1, 15, 16, 63, 64, 70, 99] {
                let mut x = vec![1.0; 100];
                x[place] = nan;
                assert!(reduce::max(&x).is_nan() && reduce::sum(&x).is_nan());
                assert!(reduce::logsumexp(&x).is_nan());
                x[place] = inf;
                assert_eq!(reduce::max(&x), inf);
            }
            let mut y = [0.0; 3];
            reduce::softmax(&[-inf, 1000.0, 1000.0], 3, &mut y);
            assert_eq!(y, [0.0, 0.5, 0.5]);
            reduce::log_softmax(&[-1000.0, 1000.0, -1000.0], 3, &mut y);
            assert_eq!(y, [-2000.0, 0.0, -2000.0]);
            let mut nll = [0.0; 1];
            reduce::bce_with_logits(&[500.0, -500.0, 500.0], &[1.0, 0.0, 0.0], 3, &mut nll);
            assert_eq!(nll, [500.0]);
        },
        || {},
    );
}

#[test]
fn sums_over_dimensions() {
    fn test<T: Element>() {
        for &(outer, n, inner) in &[
            (1, 1, 1),
            (3, 5, 1),
            (2, 3, 4),
            (1, 700, 130),
            (5, 9, 67),
            (1, 5000, 40),
            (0, 3, 2),
        ] {
            let x = numbers::<T>(outer * n * inner, 3);
            let mut expected = vec![0.0; outer * inner];
            for (i, x) in x.iter().enumerate() {
                expected[i / (n * inner) * inner + i % inner] += x.to_f64();
            }
            let mut y = vec![T::ONE; outer * inner];
            reduce::sum_middle(&x, n, inner, &mut y);
            close("sum_middle", &y, &expected, n as f64);
            if outer == 1 {
                y.fill(T::ONE);
                reduce::sum_columns(&x, &mut y);
                close("sum_columns", &y, &expected, n as f64);
            }
        }
        let mut y = vec![T::ONE; 3];
        reduce::sum_columns(&[], &mut y);
        assert!(y.iter().all(|&y| y == T::ZERO));
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn rows() {
    fn test<T: Element>() {
        for &cols in LENGTHS {
            let rows = 5;
            let x = numbers::<T>(rows * cols, 4);
            let gy = numbers::<T>(rows * cols, 5);
            let (mut sum, mut max, mut lse) = (
                vec![T::ZERO; rows],
                vec![T::ZERO; rows],
                vec![T::ZERO; rows],
            );
            reduce::sum_rows(&x, cols, &mut sum);
            reduce::max_rows(&x, cols, &mut max);
            reduce::logsumexp_rows(&x, cols, &mut lse);
            let (mut soft, mut log_soft) = (x.clone(), x.clone());
            reduce::softmax(&x, cols, &mut soft);
            reduce::log_softmax(&x, cols, &mut log_soft);
            let (mut g_soft, mut g_log) = (x.clone(), x.clone());
            reduce::softmax_gradient(&soft, &gy, cols, &mut g_soft);
            reduce::log_softmax_gradient(&log_soft, &gy, cols, &mut g_log);
            for r in 0..rows {
                let at = r * cols..(r + 1) * cols;
                let (x, g) = (f64s(&x[at.clone()]), f64s(&gy[at.clone()]));
                close("sum_rows", &sum[r..=r], &[x.iter().sum()], cols as f64);
                close(
                    "max_rows",
                    &max[r..=r],
                    &[x.iter().copied().fold(f64::MIN, f64::max)],
                    0.0,
                );
                let all = reference::logsumexp(&x);
                close("logsumexp_rows", &lse[r..=r], &[all], 1.0);
                let p = reference::softmax(&x);
                close("softmax", &soft[at.clone()], &p, 0.0);
                let log_p: Vec<f64> = x.iter().map(|x| x - all).collect();
                close("log_softmax", &log_soft[at.clone()], &log_p, 1.0);
                let mean: f64 = p.iter().zip(&g).map(|(p, g)| p * g).sum();
                let expected: Vec<f64> = p.iter().zip(&g).map(|(p, g)| p * (g - mean)).collect();
                close("softmax_gradient", &g_soft[at.clone()], &expected, 1.0);
                let sum: f64 = g.iter().sum();
                let expected: Vec<f64> = p.iter().zip(&g).map(|(p, g)| g - p * sum).collect();
                close(
                    "log_softmax_gradient",
                    &g_log[at],
                    &expected,
                    1.0 + cols as f64,
                );
            }
        }
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn likelihoods() {
    fn test<T: Element>() {
        for &cols in LENGTHS {
            let rows = 4;
            let l = numbers::<T>(rows * cols, 6);
            let x: Vec<T> = (0..rows * cols)
                .map(|i| T::from_f64((i % 3) as f64 / 2.0))
                .collect();
            let g = numbers::<T>(rows, 7);
            let (mut nll, mut gl) = (vec![T::ZERO; rows], vec![T::ZERO; rows * cols]);
            reduce::bce_with_logits(&l, &x, cols, &mut nll);
            reduce::bce_with_logits_gradient(&l, &x, &g, cols, &mut gl);
            let targets: Vec<u32> = (0..rows).map(|r| (r * 7 % cols) as u32).collect();
            let (mut ce, mut g_ce) = (vec![T::ZERO; rows], vec![T::ZERO; rows * cols]);
            reduce::cross_entropy(&l, &targets, cols, &mut ce);
            reduce::cross_entropy_gradient(&l, &targets, &g, cols, &mut g_ce);
            for r in 0..rows {
                let at = r * cols..(r + 1) * cols;
                let (l, x, g) = (f64s(&l[at.clone()]), f64s(&x[at.clone()]), g[r].to_f64());
                let expected = reference::bce_with_logits(&l, &x);
                close("bce", &nll[r..=r], &[expected], cols as f64);
                let expected: Vec<f64> = l
                    .iter()
                    .zip(&x)
                    .map(|(l, x)| (1.0 / (1.0 + (-l).exp()) - x) * g)
                    .collect();
                close("bce gradient", &gl[at.clone()], &expected, 1.0);
                let target = targets[r] as usize;
                close(
                    "ce",
                    &ce[r..=r],
                    &[reference::logsumexp(&l) - l[target]],
                    1.0,
                );
                let mut expected: Vec<f64> =
                    reference::softmax(&l).into_iter().map(|p| p * g).collect();
                expected[target] -= g;
                close("ce gradient", &g_ce[at], &expected, 1.0);
            }
        }
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn confident_classes_leave_no_subnormal_gradients() {
    fn test<T: Element>() {
        // Logits from 0 down to -1000, one class that cannot be, and the likeliest one as target.
        let classes = 256;
        let mut l: Vec<T> = (0..classes)
            .map(|c| T::from_f64(-1000.0 * c as f64 / classes as f64))
            .collect();
        l[classes - 1] = T::from_f64(f64::NEG_INFINITY);
        let (mut nll, mut gl) = ([T::ZERO], vec![T::ZERO; classes]);
        reduce::cross_entropy(&l, &[0], classes, &mut nll);
        reduce::cross_entropy_gradient(&l, &[0], &[T::ONE], classes, &mut gl);
        let l = f64s(&l);
        close("ce", &nll, &[reference::logsumexp(&l) - l[0]], 1.0);
        let mut expected = reference::softmax(&l);
        expected[0] -= 1.0;
        close("ce gradient", &gl, &expected, 1.0);
        for g in f64s(&gl) {
            let smallest = f64::from(f32::MIN_POSITIVE);
            assert!(g == 0.0 || g.abs() >= smallest, "{g} is subnormal");
        }
        assert_eq!(gl[classes - 1].to_f64(), 0.0);
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn layer_norm() {
    fn test<T: Element>() {
        for &cols in LENGTHS {
            let rows = 3;
            let (x, gy) = (numbers::<T>(rows * cols, 8), numbers::<T>(rows * cols, 9));
            let (gain, bias) = (numbers::<T>(cols, 10), numbers::<T>(cols, 11));
            let epsilon = T::from_f64(0.01);
            let mut y = vec![T::ZERO; rows * cols];
            let (mut mean, mut inverse) = (vec![T::ZERO; rows], vec![T::ZERO; rows]);
            reduce::layer_norm(&x, &gain, &bias, epsilon, &mut y, &mut mean, &mut inverse);
            let mut gx = vec![T::ZERO; rows * cols];
            let (mut g_gain, mut g_bias) = (vec![T::ZERO; cols], vec![T::ZERO; cols]);
            reduce::layer_norm_gradient(
                &x,
                &gain,
                &mean,
                &inverse,
                &gy,
                &mut gx,
                &mut g_gain,
                &mut g_bias,
            );
            let (mut all_gain, mut all_bias) = (vec![0.0; cols], vec![0.0; cols]);
            let (gain, bias) = (f64s(&gain), f64s(&bias));
            for r in 0..rows {
                let at = r * cols..(r + 1) * cols;
                let (x, gy) = (f64s(&x[at.clone()]), f64s(&gy[at.clone()]));
                let (m, s) = reference::moments(&x, epsilon.to_f64());
                close("mean", &mean[r..=r], &[m], 1.0);
                close("inverse_std", &inverse[r..=r], &[s], 1.0);
                let n: Vec<f64> = x.iter().map(|x| (x - m) * s).collect();
                let expected: Vec<f64> = (0..cols).map(|c| n[c] * gain[c] + bias[c]).collect();
                close("layer_norm", &y[at.clone()], &expected, 1.0);
                let h: Vec<f64> = (0..cols).map(|c| gy[c] * gain[c]).collect();
                let mean_h = h.iter().sum::<f64>() / cols as f64;
                let mean_hn = h.iter().zip(&n).map(|(h, n)| h * n).sum::<f64>() / cols as f64;
                let expected: Vec<f64> = (0..cols)
                    .map(|c| s * (h[c] - mean_h - n[c] * mean_hn))
                    .collect();
                close("gx", &gx[at], &expected, 30.0);
                for c in 0..cols {
                    all_gain[c] += gy[c] * n[c];
                    all_bias[c] += gy[c];
                }
            }
            close("g_gain", &g_gain, &all_gain, 3.0);
            close("g_bias", &g_bias, &all_bias, 3.0);
        }
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn threads_do_not_change_a_bit() {
    for isa in Isa::available() {
        isa.scoped(|| {
            let (cols, rows) = (300, 1000);
            let x = numbers::<f32>(rows * cols, 12);
            let g = numbers::<f32>(rows, 13);
            let run = || {
                let (mut soft, mut lse) = (vec![0.0; x.len()], vec![0.0; rows]);
                let mut columns = vec![0.0; cols];
                let mut middle = vec![0.0; 10 * cols];
                reduce::softmax(&x, cols, &mut soft);
                reduce::logsumexp_rows(&x, cols, &mut lse);
                reduce::sum_columns(&x, &mut columns);
                reduce::sum_middle(&x, rows / 10, cols, &mut middle);
                let mut gl = vec![0.0; x.len()];
                reduce::bce_with_logits_gradient(&x, &x, &g, cols, &mut gl);
                let (row, per_row) = (&x[..cols], vec![1.0; rows]);
                let (mut gx, mut gain, mut bias) = (gl.clone(), vec![0.0; cols], vec![0.0; cols]);
                let to = (&mut gx[..], &mut gain[..], &mut bias[..]);
                reduce::layer_norm_gradient(&x, row, &g, &per_row, &gl, to.0, to.1, to.2);
                (
                    (gx, gain, bias),
                    soft,
                    lse,
                    columns,
                    middle,
                    gl,
                    reduce::sum(&x),
                    reduce::dot(&x, &x),
                )
            };
            assert!(run() == parallel::serial(run));
        });
    }
}
