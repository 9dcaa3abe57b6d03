//! Layers that bring numbers to mean 0 and spread 1, channel by channel.

use crate::layer::{At, Layer, each_row};
use grad::{Element, Tensor, Var};
use nn::init::Init;
use nn::layers::Mode;
use nn::{Bound, Builder, ParamId, Params};
use std::sync::Arc;

/// What [`ActNorm`] makes of the first images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Mean 0 and variance 1, the best under a normal prior.
    Normal,
    /// Mean 0 and a mean distance from it of 2 ln 2, that of the logistic distribution: less
    /// moved by single numbers far away than the variance is.
    Logistic,
}

/// z = (x + shift) exp(log_scale) for each position of the last axis, first set so that some
/// training images have mean 0 and spread 1. D. P. Kingma and P. Dhariwal 2018, "Glow",
/// arXiv:1807.03039, section 3.1. On `[B, D]` it is a shift and the diagonal scaling of NICE.
///
/// A position that is constant in those images keeps the scale 1.
///
/// Parameters: `shift: [C]` and `log_scale: [C]`, 0 until [`Layer::begin`].
pub struct ActNorm {
    shift: ParamId,
    log_scale: ParamId,
    fit: Fit,
}

/// A spread below this counts as none.
const CONSTANT: f64 = 1e-5;

impl ActNorm {
    /// For inputs whose last axis has extent `channels`.
    pub fn new(b: &mut Builder, channels: usize) -> ActNorm {
        ActNorm::fitted(b, channels, Fit::Normal)
    }

    /// As [`new`](Self::new), set for this prior.
    pub fn fitted(b: &mut Builder, channels: usize, fit: Fit) -> ActNorm {
        let zeros =
            |b: &mut Builder, name| b.param(name, [channels], |s, r| Init::ZEROS.draw(s, r));
        ActNorm {
            shift: zeros(b, "shift"),
            log_scale: zeros(b, "log_scale"),
            fit,
        }
    }
}

/// How many positions share a number of the last axis, in one row.
fn positions<T: Element>(x: &Var<T>) -> f64 {
    (x.shape().elements() / x.shape()[0].max(1) / x.shape().last_extent().max(1)) as f64
}

impl<T: Element> Layer<T> for ActNorm {
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let log_scale = &at.p[self.log_scale];
        let log_det = log_scale.sum() * positions(x);
        let z = (x + &at.p[self.shift]) * log_scale.exp();
        (z, each_row(&log_det, x))
    }

    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T> {
        z * (-&at.p[self.log_scale]).exp() - &at.p[self.shift]
    }

    fn begin(&self, params: &mut Params<T>, _: Option<&Arc<[u32]>>, x: &Var<T>) {
        let (mean, variance) = moments(x.value());
        let spread: Vec<f64> = match self.fit {
            Fit::Normal => variance.iter().map(|v| v.sqrt()).collect(),
            Fit::Logistic => {
                let distance = means(x.value(), |x, c| (x - mean[c]).abs());
                distance
                    .iter()
                    .map(|d| d / (2.0 * std::f64::consts::LN_2))
                    .collect()
            }
        };
        let log_scale = |c: usize| match spread[c] > CONSTANT {
            true => -spread[c].ln(),
            false => 0.0,
        };
        let n = mean.len();
        params.get_mut(self.shift).value = Tensor::from_fn([n], |c| T::from_f64(-mean[c]));
        params.get_mut(self.log_scale).value = Tensor::from_fn([n], |c| T::from_f64(log_scale(c)));
    }
}

/// The mean of f(x, c) for each position c of the last axis.
fn means<T: Element>(x: &Tensor<T>, f: impl Fn(f64, usize) -> f64) -> Vec<f64> {
    let channels = x.shape().last_extent();
    let mut sums = vec![0.0; channels];
    for row in x.data().chunks_exact(channels.max(1)) {
        for (c, (sum, x)) in sums.iter_mut().zip(row).enumerate() {
            *sum += f(x.to_f64(), c);
        }
    }
    let count = (x.len() / channels.max(1)).max(1) as f64;
    sums.iter().map(|sum| sum / count).collect()
}

fn moments<T: Element>(x: &Tensor<T>) -> (Vec<f64>, Vec<f64>) {
    let mean = means(x, |x, _| x);
    let variance = means(x, |x, c| (x - mean[c]).powi(2));
    (mean, variance)
}

/// z = (x - mean) / sqrt(variance + eps) exp(log_gain) + bias for each position of the last axis:
/// batch normalisation as a layer of a flow, with its log-determinant. Dinh et al. 2017,
/// arXiv:1605.08803, section 3.7.
///
/// In training, mean and variance are the batch's, and rows are not independent: there the
/// log-determinant is that of the map with both held fixed, as in the paper. In evaluation and for
/// the inverse, they are running averages, and the layer is a plain map of each row.
///
/// Parameters: `log_gain: [C]`, `bias: [C]`; state: `running_mean: [C]`, `running_var: [C]`.
pub struct BatchNorm {
    log_gain: ParamId,
    bias: ParamId,
    running_mean: ParamId,
    running_var: ParamId,
}

/// Keeps the scale of a constant position finite.
const EPS: f64 = 1e-4;
/// The share of a batch in the running averages.
const MOMENTUM: f64 = 0.1;

impl BatchNorm {
    /// For inputs whose last axis has extent `channels`.
    pub fn new(b: &mut Builder, channels: usize) -> BatchNorm {
        let zeros =
            |b: &mut Builder, name| b.param(name, [channels], |s, r| Init::ZEROS.draw(s, r));
        BatchNorm {
            log_gain: zeros(b, "log_gain"),
            bias: zeros(b, "bias"),
            running_mean: b.state("running_mean", Tensor::zeros([channels])),
            running_var: b.state("running_var", Tensor::ones([channels])),
        }
    }

    /// (mean, variance) of the batch in training, else the running ones.
    fn moments<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        if p.mode() == Mode::Evaluate {
            return (p[self.running_mean].clone(), p[self.running_var].clone());
        }
        let axes: Vec<usize> = (0..x.shape().rank() - 1).collect();
        let mean = x.mean_axes(&axes);
        let variance = (x - &mean).square().mean_axes(&axes);
        for (id, value) in [(self.running_mean, &mean), (self.running_var, &variance)] {
            let (old, new) = (p.latest(id), value.value());
            let next = Tensor::from_fn(*old.shape(), |c| {
                let (old, new) = (old.data()[c].to_f64(), new.data()[c].to_f64());
                T::from_f64(old + MOMENTUM * (new - old))
            });
            p.update(id, next);
        }
        (mean, variance)
    }
}

impl<T: Element> Layer<T> for BatchNorm {
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let (mean, variance) = self.moments(at.p, x);
        let log_scale = &at.p[self.log_gain] - (variance + EPS).log() * 0.5;
        let z = (x - mean) * log_scale.exp() + &at.p[self.bias];
        (z, each_row(&(log_scale.sum() * positions(x)), x))
    }

    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T> {
        let scale = (&at.p[self.running_var] + EPS).sqrt() * (-&at.p[self.log_gain]).exp();
        (z - &at.p[self.bias]) * scale + &at.p[self.running_mean]
    }

    fn begin(&self, params: &mut Params<T>, _: Option<&Arc<[u32]>>, x: &Var<T>) {
        let (mean, variance) = moments(x.value());
        for (id, values) in [(self.running_mean, mean), (self.running_var, variance)] {
            let value = Tensor::from_fn([values.len()], |c| T::from_f64(values[c]));
            params.get_mut(id).value = value;
        }
    }
}
