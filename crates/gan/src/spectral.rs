//! Spectral normalisation: a weight divided by its largest singular value.
//!
//! T. Miyato et al. 2018, arXiv:1802.05957. One step of power iteration for each training step
//! (algorithm 1) from a vector that is kept as a state; no gradient flows through that vector.

use grad::{Element, Tensor, Var};
use nn::layers::Mode;
use nn::{Bound, Builder, ParamId};

/// The kept vector of one weight.
#[derive(Clone, Debug)]
pub(crate) struct Spectral {
    /// An estimate of the first right singular vector, `[out]`.
    u: ParamId,
}

impl Spectral {
    /// For a weight `[.., out]`.
    pub(crate) fn new(builder: &mut Builder, outputs: usize) -> Spectral {
        // Not along an axis, where a weight may well be zero.
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let mut u: Vec<f64> = (0..outputs)
            .map(|i| sign(i) + i as f64 / outputs as f64)
            .collect();
        normalise(&mut u);
        let u = Tensor::from_fn([outputs], |i| u[i] as f32);
        Spectral {
            u: builder.state("spectral", u),
        }
    }

    /// The weight divided by the estimate of its largest singular value as a matrix
    /// `[everything else, out]`.
    pub(crate) fn of<T: Element>(&self, p: &Bound<T>, weight: &Var<T>) -> Var<T> {
        let columns = weight.shape().last_extent();
        let rows = weight.shape().elements() / columns;
        let w = weight.value().data();
        let u = p[self.u].value().data();
        let mut v: Vec<f64> = (w.chunks_exact(columns))
            .map(|row| {
                row.iter()
                    .zip(u)
                    .map(|(w, u)| w.to_f64() * u.to_f64())
                    .sum()
            })
            .collect();
        normalise(&mut v);
        let mut u = vec![0.0; columns];
        for (row, v) in w.chunks_exact(columns).zip(&v) {
            for (u, w) in u.iter_mut().zip(row) {
                *u += v * w.to_f64();
            }
        }
        normalise(&mut u);
        let column = |x: &[f64]| Tensor::from_fn([x.len(), 1], |i| T::from_f64(x[i]));
        let (u, v) = (column(&u), column(&v));
        if p.mode() == Mode::Train {
            p.update(self.u, u.reshape([columns]));
        }
        // sigma = v^T W u.
        let wu = weight.reshape([rows, columns]).matmul(&Var::constant(u));
        let sigma = (wu * Var::constant(v)).sum();
        weight / sigma
    }
}

fn normalise(x: &mut [f64]) {
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
    x.iter_mut().for_each(|x| *x /= norm);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::{Params, Update};

    /// diag(3, 2, 1): after some steps the largest number of the normalised weight is 1.
    #[test]
    fn the_largest_singular_value_becomes_one() {
        let mut params = Params::new();
        let layer = Spectral::new(&mut Builder::new(&mut params, 0), 3);
        let diagonal = [3.0, 2.0, 1.0];
        let weight = Tensor::from_fn([3, 3], |i| if i % 4 == 0 { diagonal[i / 4] } else { 0.0 });
        let mut params = params.cast::<f64>();
        for _ in 0..60 {
            let p = params.constants().in_mode(Mode::Train);
            layer.of(&p, &Var::constant(weight.clone()));
            for (id, update) in p.take_updates() {
                let Update::Mean(value) = update else {
                    panic!("a mean")
                };
                params.get_mut(id).value = value;
            }
        }
        let found = layer.of(&params.constants(), &Var::constant(weight));
        for (i, expected) in [1.0, 2.0 / 3.0, 1.0 / 3.0].into_iter().enumerate() {
            assert!((found.value().data()[4 * i] - expected).abs() < 1e-9);
        }
    }
}
