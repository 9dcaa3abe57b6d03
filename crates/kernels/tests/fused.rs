//! Kernels that do several things in one pass, against their definitions in f64, on every
//! instruction set; in sizes of one slab and of several.

use kernels::gemm::Activation;
use kernels::reference::rows as reference;
use kernels::{Element, Isa, parallel, reduce};

mod common;
use common::{close, everywhere, f64s, numbers};

/// (rows, cols): around vector widths; the last two are several slabs of rows.
const SHAPES: &[(usize, usize)] = &[
    (2, 1),
    (3, 3),
    (5, 15),
    (4, 16),
    (6, 17),
    (3, 64),
    (7, 65),
    (2, 130),
    (2000, 70),
    (90_000, 3),
];

fn column<T: Element>(x: &[T], cols: usize, c: usize) -> Vec<f64> {
    let column = x.iter().skip(c).step_by(cols);
    column.map(|x| x.to_f64()).collect()
}

#[test]
fn batch_norm() {
    fn test<T: Element>() {
        for &(rows, cols) in SHAPES {
            // Far from zero, as activations may be.
            let mut x = numbers::<T>(rows * cols, 1);
            x.iter_mut().for_each(|x| *x = *x + T::from_f64(20.0));
            let gy = numbers::<T>(rows * cols, 2);
            let (gain, bias) = (numbers::<T>(cols, 3), numbers::<T>(cols, 4));
            let epsilon = T::from_f64(0.01);
            let mut y = vec![T::ZERO; rows * cols];
            let (mut mean, mut variance) = (vec![T::ZERO; cols], vec![T::ZERO; cols]);
            reduce::batch_norm(&x, &gain, &bias, epsilon, &mut y, &mut mean, &mut variance);
            let mut gx = vec![T::ZERO; rows * cols];
            let (mut g_gain, mut g_bias) = (vec![T::ZERO; cols], vec![T::ZERO; cols]);
            let to = (&mut gx[..], &mut g_gain[..], &mut g_bias[..]);
            let of = (&mean[..], &variance[..], epsilon);
            reduce::batch_norm_gradient(&x, &gain, of.0, of.1, of.2, &gy, to.0, to.1, to.2);
            let n = rows as f64;
            for c in 0..cols {
                let (x, gy) = (column(&x, cols, c), column(&gy, cols, c));
                let (gain, bias) = (gain[c].to_f64(), bias[c].to_f64());
                let (m, s) = reference::moments(&x, epsilon.to_f64());
                close("mean", &mean[c..=c], &[m], 0.0);
                let of_x = x.iter().map(|x| (x - m).powi(2)).sum::<f64>() / n;
                close("variance", &variance[c..=c], &[of_x], 10.0);
                let normal: Vec<f64> = x.iter().map(|x| (x - m) * s).collect();
                let expected: Vec<f64> = normal.iter().map(|n| n * gain + bias).collect();
                let found: Vec<T> = y.iter().skip(c).step_by(cols).copied().collect();
                close("y", &found, &expected, 20.0 * (1.0 + s));
                let of_bias: f64 = gy.iter().sum();
                let of_gain: f64 = gy.iter().zip(&normal).map(|(g, n)| g * n).sum();
                close("g_bias", &g_bias[c..=c], &[of_bias], n);
                close("g_gain", &g_gain[c..=c], &[of_gain], n * (1.0 + s));
                let expected: Vec<f64> = (gy.iter().zip(&normal))
                    .map(|(g, x)| gain * s * (g - of_bias / n - x * of_gain / n))
                    .collect();
                let found: Vec<T> = gx.iter().skip(c).step_by(cols).copied().collect();
                close("gx", &found, &expected, 60.0 * s * (1.0 + s));
            }
        }
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn bias_and_activation() {
    fn test<T: Element>() {
        let slopes = [
            (Activation::Identity, 1.0),
            (Activation::Relu, 0.0),
            (Activation::LeakyRelu(0.25), 0.25),
        ];
        for (&(rows, cols), (activation, slope)) in
            SHAPES.iter().flat_map(|shape| slopes.map(|s| (shape, s)))
        {
            let (x, bias) = (numbers::<T>(rows * cols, 5), numbers::<T>(cols, 6));
            let gy = numbers::<T>(rows * cols, 7);
            let (mut y, mut gx) = (x.clone(), x.clone());
            let mut g_bias = vec![T::ONE; cols];
            reduce::bias_activation(&x, &bias, activation, &mut y);
            reduce::bias_activation_gradient(&y, &gy, activation, &mut gx, &mut g_bias);
            let mut sums = vec![0.0; cols];
            let mut expected = [Vec::new(), Vec::new()];
            for i in 0..x.len() {
                let z = x[i].to_f64() + bias[i % cols].to_f64();
                let factor = if z > 0.0 { 1.0 } else { slope };
                expected[0].push(z * factor);
                expected[1].push(gy[i].to_f64() * factor);
                sums[i % cols] += gy[i].to_f64() * factor;
            }
            close("act(x + b)", &y, &expected[0], 1.0);
            close("gx", &gx, &expected[1], 0.0);
            close("g_bias", &g_bias, &sums, rows as f64);
        }
        let (mut y, nan) = ([T::ZERO; 2], T::from_f64(f64::NAN));
        let x = [nan, T::from_f64(f64::NEG_INFINITY)];
        reduce::bias_activation(&x, &[T::ZERO; 2], Activation::Relu, &mut y);
        assert!(y[0].to_f64().is_nan() && y[1] == T::ZERO);
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn gate() {
    fn test<T: Element>() {
        for &(rows, cols) in SHAPES {
            let x = numbers::<T>(2 * rows * cols, 8);
            let gy = numbers::<T>(rows * cols, 9);
            let (mut y, mut halves, mut gx) = (gy.clone(), x.clone(), x.clone());
            reduce::gate(&x, cols, &mut y, &mut halves);
            reduce::gate_gradient(&halves, &gy, cols, &mut gx);
            let (mut value, mut gradient) = (vec![0.0; y.len()], vec![0.0; x.len()]);
            for i in 0..y.len() {
                let (row, c) = (i / cols * 2 * cols, i % cols);
                let (a, b) = (x[row + c].to_f64(), x[row + cols + c].to_f64());
                let (t, s, g) = (a.tanh(), 1.0 / (1.0 + (-b).exp()), gy[i].to_f64());
                value[i] = t * s;
                gradient[row + c] = g * s * (1.0 - t * t);
                gradient[row + cols + c] = g * t * s * (1.0 - s);
            }
            close("gate", &y, &value, 0.0);
            close("gate gradient", &gx, &gradient, 1.0);
        }
    }
    everywhere(test::<f32>, test::<f64>);
}

/// (components, levels, half the range of the logarithms of scales).
const MIXTURES: &[(usize, usize, f64)] = &[(1, 2, 1.0), (3, 5, 1.0), (10, 256, 0.5), (17, 16, 1.0)];

#[test]
fn logistic_mixture() {
    fn test<T: Element>() {
        for &(m, levels, spread) in MIXTURES {
            let rows = levels.min(40);
            let mut parameters = numbers::<T>(rows * 3 * m, 10);
            for (i, p) in parameters.iter_mut().enumerate() {
                let sizes = [1.0, 0.3, spread / 3.0];
                *p = *p * T::from_f64(sizes[i / m % 3]);
            }
            let level = |r: usize| r * (levels - 1) / (rows - 1);
            let x: Vec<T> = (0..rows)
                .map(|r| T::from_f64(level(r) as f64 / (levels - 1) as f64))
                .collect();
            let (mut nll, mut gradient) = (vec![T::ZERO; rows], vec![T::ZERO; rows * 3 * m]);
            reduce::logistic_mixture(&parameters, &x, levels, &mut nll, &mut gradient);
            for r in 0..rows {
                let at = r * 3 * m..(r + 1) * 3 * m;
                let mut p = f64s(&parameters[at.clone()]);
                let x = level(r) as f64 / (levels - 1) as f64;
                let expected = reference::logistic_mixture(&p, x, levels);
                // Levels of 256 take p of 0.004 from a difference: the reference, too, is rounded.
                let size = if T::NAME == "f32" { 1.0 } else { 100.0 };
                close("nll", &nll[r..=r], &[expected], size);
                let mut differences = Vec::new();
                for i in 0..p.len() {
                    let (value, h) = (p[i], 1e-3);
                    let mut shifted = |by: f64| {
                        p[i] = value + by;
                        let nll = reference::logistic_mixture(&p, x, levels);
                        p[i] = value;
                        nll
                    };
                    let near = shifted(h) - shifted(-h);
                    let far = shifted(2.0 * h) - shifted(-2.0 * h);
                    differences.push((8.0 * near - far) / (12.0 * h));
                }
                for (g, d) in gradient[at].iter().zip(&differences) {
                    let tolerance = if T::NAME == "f32" { 1e-5 } else { 1e-8 };
                    let error = (g.to_f64() - d).abs();
                    assert!(
                        error <= tolerance * (1.0 + d.abs()),
                        "gradient of row {r} of {m} components, {levels} levels: {g}, expected {d}"
                    );
                }
            }
        }
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn threads_do_not_change_a_bit() {
    for isa in Isa::available() {
        isa.scoped(|| {
            let (rows, cols) = (3000, 70);
            let (x, g) = (
                numbers::<f32>(rows * cols, 11),
                numbers::<f32>(rows * cols, 12),
            );
            let (gain, bias) = (&g[..cols], &x[..cols]);
            let run = || {
                let (mut y, mut gx) = (x.clone(), x.clone());
                let mut columns = [(); 4].map(|()| vec![0.0; cols]);
                let [mean, variance, g_gain, g_bias] = &mut columns;
                reduce::batch_norm(&x, gain, bias, 0.1, &mut y, mean, variance);
                reduce::batch_norm_gradient(
                    &x, gain, mean, variance, 0.1, &g, &mut gx, g_gain, g_bias,
                );
                let mut activation = (x.clone(), vec![0.0; cols]);
                let (to, sums) = (&mut activation.0, &mut activation.1);
                reduce::bias_activation_gradient(&y, &g, Activation::Relu, to, sums);
                let mut gate = (vec![0.0; x.len() / 2], x.clone());
                reduce::gate(&x, cols / 2, &mut gate.0, &mut gate.1);
                let mut mixture = (vec![0.0; x.len() / 30], vec![0.0; x.len()]);
                let levels: Vec<f32> = (0..x.len() / 30).map(|i| (i % 2) as f32).collect();
                reduce::logistic_mixture(&x, &levels, 2, &mut mixture.0, &mut mixture.1);
                (y, gx, columns, activation, gate, mixture)
            };
            assert!(run() == parallel::serial(run));
        });
    }
}
