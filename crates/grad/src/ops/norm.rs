//! Layer normalisation over the last axis.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::{Binary, elementwise, reduce};

pub(super) const LAYER_NORM: Entry = Entry {
    name: "layer_norm",
    formula: "(x - mean) / sqrt(var + eps) over the last axis",
    samples: || {
        vec![
            sample!("2-D", [uniform([2, 4], -1.0, 1.0)], |x| x[0]
                .layer_norm(1e-5)),
            sample!("3-D, large eps", [uniform([2, 2, 3], -1.0, 1.0)], |x| x[0]
                .layer_norm(0.5)),
        ]
    },
};

struct LayerNorm {
    eps: f64,
}

impl<T: Element> Op<T> for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }
    fn saves(&self) -> Saves {
        Saves {
            output: true,
            ..Saves::input(0)
        }
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let columns = x[0].shape().last_extent();
        let count = columns as f64;
        Tensor::build(*x[0].shape(), |out| {
            for (y, x) in (out.chunks_exact_mut(columns)).zip(x[0].data().chunks_exact(columns)) {
                let mean = reduce::sum(x).to_f64() / count;
                elementwise::binary_scalar(Binary::Sub, x, T::from_f64(mean), y);
                let variance = reduce::dot(y, y).to_f64() / count;
                elementwise::scale(T::from_f64(1.0 / (variance + self.eps).sqrt()), y);
            }
        })
    }
    /// dx = (g - mean(g) - y mean(g y)) / sqrt(var + eps).
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let (x, y) = (at.input(0), at.output());
            let last = [x.shape().rank() - 1];
            let mean = |x: &Var<T>| x.mean_axes_keep(&last);
            let variance = mean(&(&x - mean(&x)).square());
            let centred = &g - mean(&g);
            (centred - &y * mean(&(&g * &y))) / variance.shift(self.eps).sqrt()
        });
    }
}

impl<T: Element> Var<T> {
    /// (x - mean) / sqrt(var + eps) over the last axis, with the variance of the row itself
    /// (divided by its length).
    ///
    /// # Panics
    /// If this is a scalar, or the last axis is empty.
    #[track_caller]
    pub fn layer_norm(&self, eps: f64) -> Var<T> {
        self.assert_rows("layer_norm");
        Var::apply(LayerNorm { eps }, &[self])
    }
}
