//! Batch normalisation of each number of the last axis.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, MAX_RANK, Op, Saves, Tensor, Var, Vjp};
use kernels::buffer::Buffer;
use kernels::reduce;
use std::cell::OnceCell;
use std::rc::Rc;

pub(super) const BATCH_NORM: Entry = Entry {
    name: "batch_norm",
    formula: "(x - mean) / sqrt(var + eps) * gain + bias, over all axes but the last",
    samples: || {
        vec![
            sample!(
                "2-D",
                [
                    uniform([4, 3], -1.0, 1.0),
                    uniform([3], 0.5, 1.5),
                    uniform([3], -1.0, 1.0)
                ],
                |x| x[0].batch_norm(&x[1], &x[2], 1e-5).0
            ),
            sample!(
                "4-D, large eps",
                [
                    uniform([2, 1, 2, 2], -1.0, 1.0),
                    uniform([2], 0.5, 1.5),
                    uniform([2], -1.0, 1.0)
                ],
                |x| x[0].batch_norm(&x[1], &x[2], 0.5).0
            ),
        ]
    },
};

/// The statistics of a batch, `[C]` each.
#[derive(Clone, Debug)]
pub struct BatchMoments<T: Element> {
    /// The mean.
    pub mean: Tensor<T>,
    /// The mean squared distance from it.
    pub variance: Tensor<T>,
}

/// Inputs x, gain and bias.
struct BatchNorm<T: Element> {
    eps: f64,
    moments: Rc<OnceCell<BatchMoments<T>>>,
}

impl<T: Element> Op<T> for BatchNorm<T> {
    fn name(&self) -> &'static str {
        "batch_norm"
    }
    fn saves(&self) -> Saves {
        Saves {
            inputs: 0b11,
            output: false,
        }
    }
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (x, gain, bias) = (inputs[0], inputs[1], inputs[2]);
        let [mut mean, mut variance] = [(); 2].map(|()| Buffer::recycled(gain.len()));
        let eps = T::from_f64(self.eps);
        let y = Tensor::build(*x.shape(), |y| {
            let moments = (&mut mean[..], &mut variance[..]);
            reduce::batch_norm(
                x.data(),
                gain.data(),
                bias.data(),
                eps,
                y,
                moments.0,
                moments.1,
            )
        });
        let [mean, variance] = [mean, variance].map(|x| Tensor::from_buffer(*gain.shape(), x));
        let _ = self.moments.set(BatchMoments { mean, variance });
        y
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let (x, gain) = (at.input(0), at.input(1));
        if !at.records() {
            let moments = self.moments.get().expect("set by the forward pass");
            let mut gx = Buffer::recycled(x.value().len());
            let [mut g_gain, mut g_bias] = [(); 2].map(|()| Buffer::recycled(gain.value().len()));
            reduce::batch_norm_gradient(
                x.value().data(),
                gain.value().data(),
                moments.mean.data(),
                moments.variance.data(),
                T::from_f64(self.eps),
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
        // With n = (x - mean) / deviation: dx = (g - mean(g) - n mean(g n)) gain / deviation,
        // dgain = sum g n, dbias = sum g.
        const AXES: [usize; MAX_RANK] = [0, 1, 2, 3, 4, 5];
        let axes = &AXES[..x.shape().rank() - 1];
        let mean = |x: &Var<T>| x.mean_axes(axes);
        let centred = &x - mean(&x);
        let deviation = mean(&centred.square()).shift(self.eps).sqrt();
        let n = centred / &deviation;
        at.give(0, || {
            (&g - mean(&g) - &n * mean(&(&g * &n))) * (gain / deviation)
        });
        at.give(1, || (&g * &n).sum_to(at.input_shape(1)));
        at.give(2, || g.sum_to(at.input_shape(2)));
    }
}

impl<T: Element> Var<T> {
    /// (x - mean) / sqrt(var + eps) * gain + bias with the mean and the variance of each number of
    /// the last axis over all others (divided by their count), and these moments, for running
    /// statistics: gradients do not flow through those.
    ///
    /// Shapes: self `[.., C]`, gain and bias `[C]`.
    ///
    /// # Panics
    /// If the shapes do not fit, or the last axis is empty.
    #[track_caller]
    pub fn batch_norm(&self, gain: &Var<T>, bias: &Var<T>, eps: f64) -> (Var<T>, BatchMoments<T>) {
        self.assert_columns("batch_norm", gain, bias);
        let moments = Rc::new(OnceCell::new());
        let op = BatchNorm {
            eps,
            moments: moments.clone(),
        };
        let y = Var::apply(op, &[self, gain, bias]);
        let moments = moments.get().expect("set by the forward pass").clone();
        (y, moments)
    }
}
