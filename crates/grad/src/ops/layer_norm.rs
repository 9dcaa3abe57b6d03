//! Layer normalisation over the last axis.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::buffer::Buffer;
use kernels::reduce;
use std::cell::OnceCell;

pub(super) const LAYER_NORM: Entry = Entry {
    name: "layer_norm",
    formula: "(x - mean) / sqrt(var + eps) * gain + bias, over the last axis",
    samples: || {
        vec![
            sample!(
                "2-D",
                [
                    uniform([2, 4], -1.0, 1.0),
                    uniform([4], 0.5, 1.5),
                    uniform([4], -1.0, 1.0)
                ],
                |x| x[0].layer_norm(&x[1], &x[2], 1e-5)
            ),
            sample!(
                "3-D, large eps",
                [
                    uniform([2, 2, 3], -1.0, 1.0),
                    uniform([3], 0.5, 1.5),
                    uniform([3], -1.0, 1.0)
                ],
                |x| x[0].layer_norm(&x[1], &x[2], 0.5)
            ),
        ]
    },
};

/// Inputs x, gain and bias.
struct LayerNorm<T: Element> {
    eps: f64,
    /// The mean and 1 / sqrt(var + eps) of each row, for the backward pass.
    moments: OnceCell<[Buffer<T>; 2]>,
}

impl<T: Element> Op<T> for LayerNorm<T> {
    fn name(&self) -> &'static str {
        "layer_norm"
    }
    fn saves(&self) -> Saves {
        Saves {
            inputs: 0b11,
            output: false,
        }
    }
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (x, gain, bias) = (inputs[0], inputs[1], inputs[2]);
        let rows = x.len() / gain.len();
        let [mut mean, mut inverse_std] = [Buffer::recycled(rows), Buffer::recycled(rows)];
        let eps = T::from_f64(self.eps);
        let y = Tensor::build(*x.shape(), |y| {
            let moments = (&mut mean[..], &mut inverse_std[..]);
            reduce::layer_norm(
                x.data(),
                gain.data(),
                bias.data(),
                eps,
                y,
                moments.0,
                moments.1,
            )
        });
        let _ = self.moments.set([mean, inverse_std]);
        y
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let (x, gain) = (at.input(0), at.input(1));
        if !at.records() {
            let [mean, inverse_std] = self.moments.get().expect("set by the forward pass");
            let mut gx = Buffer::recycled(x.value().len());
            let [mut g_gain, mut g_bias] = [(); 2].map(|()| Buffer::recycled(gain.value().len()));
            reduce::layer_norm_gradient(
                x.value().data(),
                gain.value().data(),
                mean,
                inverse_std,
                g.value().data(),
                &mut gx,
                &mut g_gain,
                &mut g_bias,
            );
            for (i, gradient) in [gx, g_gain, g_bias].into_iter().enumerate() {
                at.give(i, || {
                    Var::constant(Tensor::from_buffer(at.input_shape(i), gradient))
                });
            }
            return;
        }
        // With n = (x - mean) / deviation and h = g gain: dx = (h - mean(h) - n mean(h n)) /
        // deviation, dgain = sum g n, dbias = sum g.
        let last = [x.shape().rank() - 1];
        let mean = |x: &Var<T>| x.mean_axes_keep(&last);
        let centred = &x - mean(&x);
        let deviation = mean(&centred.square()).shift(self.eps).sqrt();
        let n = centred / &deviation;
        at.give(0, || {
            let h = &g * &gain;
            (&h - mean(&h) - &n * mean(&(&h * &n))) / deviation
        });
        at.give(1, || (&g * &n).sum_to(at.input_shape(1)));
        at.give(2, || g.sum_to(at.input_shape(2)));
    }
}

impl<T: Element> Var<T> {
    /// (x - mean) / sqrt(var + eps) * gain + bias over the last axis, with the variance of the row
    /// itself (divided by its length).
    ///
    /// Shapes: self `[.., C]`, gain and bias `[C]`.
    ///
    /// # Panics
    /// If the shapes do not fit, or the last axis is empty.
    #[track_caller]
    pub fn layer_norm(&self, gain: &Var<T>, bias: &Var<T>, eps: f64) -> Var<T> {
        self.assert_columns("layer_norm", gain, bias);
        let moments = OnceCell::new();
        Var::apply(LayerNorm { eps, moments }, &[self, gain, bias])
    }

    /// Panics unless gain and bias have one number for each of the last axis.
    #[track_caller]
    pub(super) fn assert_columns(&self, op: &str, gain: &Var<T>, bias: &Var<T>) {
        self.assert_rows(op);
        let columns = [self.shape().last_extent()];
        assert!(
            gain.shape()[..] == columns && bias.shape()[..] == columns,
            "{op}: gain {} and bias {} for {}",
            gain.shape(),
            bias.shape(),
            self.shape()
        );
    }
}
