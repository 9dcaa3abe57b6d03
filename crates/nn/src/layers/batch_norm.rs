//! Batch normalisation.

use crate::init::Init;
use crate::layers::Mode;
use crate::params::{Bound, Builder, ParamId};
use grad::{Element, Tensor, Var};

/// y = (x - mean) / sqrt(variance + eps) * gain + bias, for each channel. Ioffe & Szegedy 2015,
/// arXiv:1502.03167.
///
/// In training, mean and (biased) variance are the batch's, over all axes but the last, and each
/// call moves the running statistics towards them by `momentum` (the variance unbiased, as in
/// PyTorch). In evaluation the running statistics are used. Batches of different origin (a GAN's
/// real and generated images) are passed in calls of their own.
///
/// Parameters: `weight: [C]`, the gain, which begins at 1, and `bias: [C]`, which begins at 0;
/// state: `running_mean: [C]` and `running_var: [C]`, which begin at 0 and 1.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    weight: ParamId,
    bias: ParamId,
    running_mean: ParamId,
    running_var: ParamId,
    eps: f64,
    momentum: f64,
}

impl BatchNorm {
    /// For inputs whose last axis has extent `channels`; eps is 1e-5, momentum 0.1.
    pub fn new(builder: &mut Builder, channels: usize) -> BatchNorm {
        BatchNorm::with(builder, channels, Init::ONES)
    }

    /// As [`new`](Self::new) with the gain drawn from `init`; DCGAN draws it from N(1, 0.02^2).
    pub fn with(builder: &mut Builder, channels: usize, init: Init) -> BatchNorm {
        BatchNorm {
            weight: builder.param("weight", [channels], |s, stream| init.draw(s, stream)),
            bias: builder.param("bias", [channels], |s, stream| Init::ZEROS.draw(s, stream)),
            running_mean: builder.state("running_mean", Tensor::zeros([channels])),
            running_var: builder.state("running_var", Tensor::ones([channels])),
            eps: 1e-5,
            momentum: 0.1,
        }
    }

    /// The same layer with another eps.
    pub fn eps(self, eps: f64) -> BatchNorm {
        BatchNorm { eps, ..self }
    }

    /// The same layer with another share of the new in the running statistics.
    pub fn momentum(self, momentum: f64) -> BatchNorm {
        BatchNorm { momentum, ..self }
    }

    /// x: `[.., C]` -> `[.., C]`.
    ///
    /// # Panics
    /// If the last extent of `x` is not C, or in training if there are fewer than two numbers for
    /// each channel.
    #[track_caller]
    pub fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>, mode: Mode) -> Var<T> {
        let gain = &p[self.weight];
        let channels = gain.shape()[0];
        assert!(
            x.shape().rank() > 0 && x.shape().last_extent() == channels,
            "batch_norm: expected x of shape [.., {channels}], found {}",
            x.shape()
        );
        let bias = &p[self.bias];
        match mode {
            Mode::Train => self.normalise_batch(p, x, gain, bias),
            Mode::Evaluate => {
                let scale = gain / p[self.running_var].shift(self.eps).sqrt();
                (x - &p[self.running_mean]) * scale + bias
            }
        }
    }

    #[track_caller]
    fn normalise_batch<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        gain: &Var<T>,
        bias: &Var<T>,
    ) -> Var<T> {
        let count = x.shape().elements() / gain.shape()[0].max(1);
        assert!(
            count > 1,
            "batch_norm: expected at least two numbers for each channel, found shape {}",
            x.shape()
        );
        let (y, moments) = x.batch_norm(gain, bias, self.eps);
        let unbiased = count as f64 / (count - 1) as f64;
        self.follow(p, self.running_mean, &moments.mean, 1.0);
        self.follow(p, self.running_var, &moments.variance, unbiased);
        y
    }

    /// running <- running + momentum (factor value - running).
    fn follow<T: Element>(&self, p: &Bound<T>, id: ParamId, value: &Tensor<T>, factor: f64) {
        let running = p.latest(id);
        let next = Tensor::from_fn(*running.shape(), |i| {
            let old = running.data()[i].to_f64();
            T::from_f64(old + self.momentum * (factor * value.data()[i].to_f64() - old))
        });
        p.update(id, next);
    }
}
