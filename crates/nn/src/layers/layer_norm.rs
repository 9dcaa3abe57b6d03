//! Layer normalisation.

use crate::init::Init;
use crate::params::{Bound, Builder, ParamId};
use grad::{Element, Var};

/// y = (x - mean) / sqrt(variance + eps) * gain + bias, mean and (biased) variance taken over the
/// last axis. Ba et al. 2016, arXiv:1607.06450.
///
/// Parameters: `weight: [C]`, the gain, which begins at 1, and `bias: [C]`, which begins at 0.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: ParamId,
    bias: ParamId,
    eps: f64,
}

impl LayerNorm {
    /// For inputs whose last axis has extent `channels`; eps is 1e-5.
    pub fn new(builder: &mut Builder, channels: usize) -> LayerNorm {
        LayerNorm {
            weight: builder.param("weight", [channels], |s, stream| Init::ONES.draw(s, stream)),
            bias: builder.param("bias", [channels], |s, stream| Init::ZEROS.draw(s, stream)),
            eps: 1e-5,
        }
    }

    /// The same layer with another eps.
    pub fn eps(self, eps: f64) -> LayerNorm {
        LayerNorm { eps, ..self }
    }

    /// x: `[.., C]` -> `[.., C]`.
    ///
    /// # Panics
    /// If the last extent of `x` is not C.
    #[track_caller]
    pub fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        let gain = &p[self.weight];
        assert!(
            x.shape().rank() > 0 && x.shape().last_extent() == gain.shape()[0],
            "layer_norm: expected x of shape [.., {}], found {}",
            gain.shape()[0],
            x.shape()
        );
        x.layer_norm(gain, &p[self.bias], self.eps)
    }

    /// The gain and the bias, each `[C]`.
    pub fn parameters(&self) -> [ParamId; 2] {
        [self.weight, self.bias]
    }

    /// What is added to the variance.
    pub fn epsilon(&self) -> f64 {
        self.eps
    }
}
