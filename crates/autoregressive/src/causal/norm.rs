//! Layer normalisation as a causal layer.

use super::{At, Begin, Cached, Causal, Pass, Steps};
use grad::kernels::reduce;
use grad::{Element, Tensor, Var};
use nn::layers::LayerNorm;
use nn::{Bound, Builder};

/// Layer normalisation of each place by itself: see [`LayerNorm`].
pub struct Norm(LayerNorm);

impl Norm {
    /// For so many channels.
    pub fn new(b: &mut Builder, channels: usize) -> Norm {
        Norm(LayerNorm::new(b, channels))
    }
}

impl Causal for Norm {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        self.0.forward(pass.p, x)
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        let [gain, bias] = self.0.parameters().map(|id| p[id].value().clone());
        let eps = self.0.epsilon() as f32;
        Box::new(NormSteps { gain, bias, eps })
    }
}

struct NormSteps {
    gain: Tensor<f32>,
    bias: Tensor<f32>,
    eps: f32,
}

struct NormCache<'a> {
    of: &'a NormSteps,
    y: Vec<f32>,
    /// The mean and the inverse standard deviation of each image.
    moments: [Vec<f32>; 2],
}

impl Steps for NormSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        let numbers = |n: usize| vec![0.0; images.count * n];
        Box::new(NormCache {
            of: self,
            y: numbers(self.gain.len()),
            moments: [numbers(1), numbers(1)],
        })
    }
}

impl Cached for NormCache<'_> {
    fn step<'a>(&'a mut self, _: At, x: &'a [f32]) -> &'a [f32] {
        let NormSteps { gain, bias, eps } = self.of;
        let [mean, inverse] = &mut self.moments;
        reduce::layer_norm(
            x,
            gain.data(),
            bias.data(),
            *eps,
            &mut self.y,
            mean,
            inverse,
        );
        &self.y
    }
}
