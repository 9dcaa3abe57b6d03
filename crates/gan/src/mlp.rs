//! Players that are multilayer perceptrons.

use crate::layers::{Block, Layer, Norm, NormKind, SLOPE, one_hot};
use crate::players::Sizes;
use crate::spectral::Spectral;
use grad::{Element, Var};
use nn::layers::{Activation, Linear};
use nn::model::ImageSpec;
use nn::{Bound, Builder};
use std::sync::Arc;

/// z -> ReLU layers -> tanh.
#[derive(Clone, Debug)]
pub struct MlpGenerator {
    spec: ImageSpec,
    hidden: Vec<Block>,
    pixels: Linear,
}

/// The image -> leaky ReLU layers -> one number.
#[derive(Clone, Debug)]
pub struct MlpDiscriminator {
    spec: ImageSpec,
    hidden: Vec<Block>,
    verdict: Block,
}

fn block(
    b: &mut Builder,
    [inputs, outputs]: [usize; 2],
    norm: NormKind,
    spectral: bool,
    activation: Activation,
) -> Block {
    Block {
        layer: Layer::Dense(Linear::new(b, inputs, outputs)),
        spectral: spectral.then(|| Spectral::new(b, outputs)),
        norm: Norm::new(&mut b.scope("norm"), norm, outputs, outputs, false),
        activation,
    }
}

/// The rows with the class of each as further columns, where there are classes.
fn told<T: Element>(spec: &ImageSpec, x: Var<T>, list: Option<&Arc<[u32]>>) -> Var<T> {
    match (spec.classes, list) {
        (Some(classes), Some(list)) => Var::concat(&[&x, &one_hot(list, classes)], 1),
        _ => x,
    }
}

impl MlpGenerator {
    pub(crate) fn new(b: &mut Builder, sizes: &Sizes) -> MlpGenerator {
        let mut inputs = sizes.latents + sizes.spec.classes.unwrap_or(0);
        let mut hidden = Vec::new();
        for (i, &outputs) in sizes.hidden.iter().enumerate() {
            let io = [inputs, outputs];
            let norm = sizes.generator_norm;
            hidden.push(block(&mut b.scope(i), io, norm, false, Activation::Relu));
            inputs = outputs;
        }
        MlpGenerator {
            spec: sizes.spec,
            hidden,
            pixels: Linear::new(&mut b.scope("pixels"), inputs, sizes.spec.dims()),
        }
    }

    pub(crate) fn forward<T: Element>(
        &self,
        p: &Bound<T>,
        z: &Var<T>,
        classes: Option<&Arc<[u32]>>,
    ) -> Var<T> {
        let z = told(&self.spec, z.clone(), classes);
        let h = self.hidden.iter().fold(z, |h, block| block.forward(p, &h));
        let count = h.shape()[0];
        self.pixels
            .forward(p, &h)
            .tanh()
            .reshape(self.spec.shape(count))
    }
}

impl MlpDiscriminator {
    pub(crate) fn new(b: &mut Builder, sizes: &Sizes) -> MlpDiscriminator {
        let act = Activation::LeakyRelu(SLOPE);
        let mut inputs = sizes.spec.dims() + sizes.spec.classes.unwrap_or(0);
        let mut hidden = Vec::new();
        for (i, &outputs) in sizes.hidden.iter().rev().enumerate() {
            let io = [inputs, outputs];
            let norm = sizes.discriminator_norm;
            hidden.push(block(&mut b.scope(i), io, norm, sizes.spectral, act));
            inputs = outputs;
        }
        let (io, none) = ([inputs, 1], NormKind::None);
        let last = &mut b.scope("verdict");
        MlpDiscriminator {
            spec: sizes.spec,
            hidden,
            verdict: block(last, io, none, sizes.spectral, Activation::Identity),
        }
    }

    pub(crate) fn forward<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        classes: Option<&Arc<[u32]>>,
    ) -> Var<T> {
        let count = x.shape()[0];
        let x = told(&self.spec, x.reshape([count, self.spec.dims()]), classes);
        let h = self.hidden.iter().fold(x, |h, block| block.forward(p, &h));
        self.verdict.forward(p, &h).reshape([count])
    }
}
