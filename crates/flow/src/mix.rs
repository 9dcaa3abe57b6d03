//! The invertible 1x1 convolution: a learned mixture of channels.

use crate::layer::{At, Layer, each_row};
use grad::{Element, Tensor, Var};
use nn::init::Init;
use nn::{Bound, Builder, ParamId};

/// z = x W at every pixel, W = P L (U + diag(sign exp(log_s))): P a permutation, L unit lower
/// triangular, U strictly upper triangular. log |det| = H W sum(log_s). D. P. Kingma and P. Dhariwal
/// 2018, "Glow", arXiv:1807.03039, section 3.2, with the LU form of equation 10.
///
/// W begins as a random rotation. P and the signs stay as they begin. The inverse is computed in
/// f64, and derivatives do not reach the parameters through it.
///
/// Parameters: `lower: [C, C]` and `upper: [C, C]`, of which one triangle each is used, and
/// `log_s: [C]`; state: `permutation: [C, C]` and `sign: [C]`.
pub struct Mix {
    channels: usize,
    permutation: ParamId,
    lower: ParamId,
    upper: ParamId,
    log_s: ParamId,
    sign: ParamId,
}

impl Mix {
    /// For inputs whose last axis has extent `channels`.
    pub fn new(b: &mut Builder, channels: usize) -> Mix {
        let n = channels;
        let mut lu = None;
        let lower = b.param("lower", [n, n], |shape, stream| {
            let rotation = Init::Orthogonal { gain: 1.0 }.draw(shape, stream);
            let rotation = rotation.data().iter().map(|&x| f64::from(x)).collect();
            let found = lu.insert(Lu::of(rotation, n));
            Tensor::from_fn(shape, |i| found.lower[i] as f32)
        });
        // A builder that lacks the memory for a model draws nothing.
        let lu = lu.unwrap_or_else(|| Lu::of(identity(n), n));
        let diagonal = |i: usize| lu.upper[i * n + i];
        let log_s = |i: usize| diagonal(i).abs().ln() as f32;
        Mix {
            channels,
            lower,
            upper: b.param("upper", [n, n], |s, _| {
                Tensor::from_fn(s, |i| lu.upper[i] as f32)
            }),
            log_s: b.param("log_s", [n], |s, _| Tensor::from_fn(s, log_s)),
            sign: b.state(
                "sign",
                Tensor::from_fn([n], |i| diagonal(i).signum() as f32),
            ),
            permutation: b.state("permutation", lu.permutation()),
        }
    }

    /// W `[C, C]`.
    fn weight<T: Element>(&self, p: &Bound<T>) -> Var<T> {
        let n = self.channels;
        let where_is = |f: fn(usize, usize) -> bool| {
            let of = |i: usize| if f(i / n, i % n) { T::ONE } else { T::ZERO };
            Var::constant(Tensor::from_fn([n, n], of))
        };
        let one = where_is(|i, j| i == j);
        let lower = &p[self.lower] * where_is(|i, j| i > j) + &one;
        let diagonal = &p[self.sign] * p[self.log_s].exp();
        let upper = &p[self.upper] * where_is(|i, j| i < j) + one * diagonal;
        p[self.permutation].matmul(&lower).matmul(&upper)
    }

    /// W^-1 `[C, C]`, by substitution in f64.
    fn inverse_weight<T: Element>(&self, p: &Bound<T>) -> Tensor<T> {
        let n = self.channels;
        let read =
            |id: ParamId| -> Vec<f64> { p[id].value().data().iter().map(|x| x.to_f64()).collect() };
        let (lower, upper, permutation) =
            (read(self.lower), read(self.upper), read(self.permutation));
        let diagonal: Vec<f64> = (read(self.log_s).iter().zip(read(self.sign)))
            .map(|(log_s, sign)| sign * log_s.exp())
            .collect();
        // Column j of W^-1 solves P L U x = e_j.
        let mut inverse = vec![0.0; n * n];
        for j in 0..n {
            // P^T e_j: P is a permutation, so its transpose is its inverse.
            let mut x: Vec<f64> = (0..n).map(|i| permutation[j * n + i]).collect();
            for i in 0..n {
                let known: f64 = (0..i).map(|k| lower[i * n + k] * x[k]).sum();
                x[i] -= known;
            }
            for i in (0..n).rev() {
                let known: f64 = (i + 1..n).map(|k| upper[i * n + k] * x[k]).sum();
                x[i] = (x[i] - known) / diagonal[i];
            }
            for (i, x) in x.into_iter().enumerate() {
                inverse[i * n + j] = x;
            }
        }
        Tensor::from_fn([n, n], |i| T::from_f64(inverse[i]))
    }
}

impl<T: Element> Layer<T> for Mix {
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let pixels = x.shape().elements() / (x.shape()[0] * self.channels).max(1);
        let log_det = at.p[self.log_s].sum() * pixels as f64;
        (x.matmul(&self.weight(at.p)), each_row(&log_det, x))
    }

    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T> {
        z.matmul(&Var::constant(self.inverse_weight(at.p)))
    }
}

/// The unit matrix.
fn identity(n: usize) -> Vec<f64> {
    (0..n * n).map(|i| f64::from(i / n == i % n)).collect()
}

/// P L U of a matrix, by elimination with row pivots.
struct Lu {
    n: usize,
    /// Row i of L U is row `rows[i]` of the matrix.
    rows: Vec<usize>,
    /// Unit lower triangular.
    lower: Vec<f64>,
    /// Upper triangular, with the diagonal.
    upper: Vec<f64>,
}

impl Lu {
    fn of(mut a: Vec<f64>, n: usize) -> Lu {
        let mut rows: Vec<usize> = (0..n).collect();
        let mut lower = vec![0.0; n * n];
        for k in 0..n {
            let larger = |&i: &usize, &j: &usize| a[i * n + k].abs().total_cmp(&a[j * n + k].abs());
            let pivot = (k..n).max_by(larger).expect("there are rows from k on");
            rows.swap(k, pivot);
            for j in 0..n {
                a.swap(k * n + j, pivot * n + j);
                lower.swap(k * n + j, pivot * n + j);
            }
            for i in k + 1..n {
                let factor = a[i * n + k] / a[k * n + k];
                lower[i * n + k] = factor;
                for j in k..n {
                    a[i * n + j] -= factor * a[k * n + j];
                }
            }
        }
        for i in 0..n {
            lower[i * n + i] = 1.0;
        }
        Lu {
            n,
            rows,
            lower,
            upper: a,
        }
    }

    /// P, with a = P L U.
    fn permutation(&self) -> Tensor<f32> {
        let n = self.n;
        Tensor::from_fn([n, n], |i| f32::from(self.rows[i % n] == i / n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::Params;
    use nn::random::stream;

    #[test]
    fn the_weight_begins_as_a_rotation_and_its_inverse_is_its_inverse() {
        for n in [1, 2, 5, 12] {
            let mut params = Params::new();
            let mix = Mix::new(&mut Builder::new(&mut params, 4), n);
            let params = params.cast::<f64>();
            let p = params.constants();
            let w = mix.weight(&p);
            let identity = |product: Var<f64>| {
                for (i, &x) in product.value().data().iter().enumerate() {
                    let expected = f64::from(u8::from(i / n == i % n));
                    assert!((x - expected).abs() < 1e-6, "{n}: {x} at {i}");
                }
            };
            identity(w.matmul(&w.transpose()));
            identity(w.matmul(&Var::constant(mix.inverse_weight(&p))));
        }
    }

    #[test]
    fn a_matrix_is_the_product_of_its_factors() {
        let n = 6;
        let mut stream = stream(&[8]);
        let a: Vec<f64> = (0..n * n)
            .map(|_| nn::random::normal(&mut stream))
            .collect();
        let lu = Lu::of(a.clone(), n);
        for i in 0..n {
            for j in 0..n {
                let product = |k: usize| lu.lower[i * n + k] * lu.upper[k * n + j];
                let sum: f64 = (0..=i.min(j)).map(product).sum();
                assert!((sum - a[lu.rows[i] * n + j]).abs() < 1e-12);
            }
        }
    }
}
