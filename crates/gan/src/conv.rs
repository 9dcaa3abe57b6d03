//! Players of convolutions: those of DCGAN (A. Radford et al. 2016, arXiv:1511.06434, figure 1).
//!
//! The generator projects z to a small image of many channels and doubles its size with 4x4
//! transposed convolutions of stride 2 until it has that of the data: from 4x4 for 32 and 64
//! pixels, from 7x7 for 28. The discriminator is its mirror. Classes are further inputs beside z
//! and further planes of the image.

use crate::layers::{Block, Layer, NARROW, Norm, NormKind, SLOPE, one_hot, one_hot_planes};
use crate::players::Sizes;
use crate::spectral::Spectral;
use grad::{Element, Var};
use nn::layers::{Activation, Conv, ConvTranspose, Linear, Padding};
use nn::model::ImageSpec;
use nn::{Bound, Builder};
use std::sync::Arc;

const KERNEL: [usize; 2] = [4, 4];
const STRIDE: [usize; 2] = [2, 2];

/// From z to an image.
#[derive(Clone, Debug)]
pub struct ConvGenerator {
    spec: ImageSpec,
    /// Height, width and channels of the image that z is projected to.
    seed: [usize; 3],
    project: Linear,
    norm: Norm,
    up: Vec<Block>,
}

/// From an image to a number.
#[derive(Clone, Debug)]
pub struct ConvDiscriminator {
    spec: ImageSpec,
    down: Vec<Block>,
    verdict: Block,
}

/// One row and column of zeros on each side.
fn around() -> Padding {
    Padding::uniform(1)
}

impl ConvGenerator {
    pub(crate) fn new(b: &mut Builder, sizes: &Sizes) -> ConvGenerator {
        let halvings = sizes.halvings();
        let stages = halvings.len() - 1;
        // Channels of the image that stage i starts from; the last stage makes the picture.
        let channels = |i: usize| sizes.channels << (stages - 1 - i);
        let [height, width] = halvings[stages];
        let seed = [height, width, channels(0)];
        let inputs = sizes.latents + sizes.spec.classes.unwrap_or(0);
        let kind = sizes.generator_norm;
        let numbers = seed.iter().product();
        let bias = kind == NormKind::None;
        let mut first = b.scope("project");
        let project = Linear::with(&mut first, inputs, numbers, NARROW, bias);
        let norm = Norm::new(&mut first.scope("norm"), kind, seed[2], numbers, true);
        let up = (0..stages).map(|i| {
            let last = i + 1 == stages;
            let outputs = if last {
                sizes.spec.channels
            } else {
                channels(i + 1)
            };
            let kind = if last { NormKind::None } else { kind };
            let bias = kind == NormKind::None;
            let mut b = b.scope(i);
            let layer = ConvTranspose::with(&mut b, channels(i), outputs, KERNEL, NARROW, bias);
            let [height, width] = halvings[stages - 1 - i];
            let numbers = height * width * outputs;
            Block {
                layer: Layer::Up(layer.stride(STRIDE).padding(around())),
                spectral: None,
                norm: Norm::new(&mut b.scope("norm"), kind, outputs, numbers, true),
                activation: if last {
                    Activation::Identity
                } else {
                    Activation::Relu
                },
            }
        });
        ConvGenerator {
            spec: sizes.spec,
            seed,
            project,
            norm,
            up: up.collect(),
        }
    }

    pub(crate) fn forward<T: Element>(
        &self,
        p: &Bound<T>,
        z: &Var<T>,
        classes: Option<&Arc<[u32]>>,
    ) -> Var<T> {
        let z = match (self.spec.classes, classes) {
            (Some(n), Some(list)) => Var::concat(&[z, &one_hot(list, n)], 1),
            _ => z.clone(),
        };
        let [height, width, channels] = self.seed;
        let h = self
            .project
            .forward(p, &z)
            .reshape([z.shape()[0], height, width, channels]);
        let h = self.norm.then(p, h, Activation::Relu);
        self.up
            .iter()
            .fold(h, |h, block| block.forward(p, &h))
            .tanh()
    }
}

impl ConvDiscriminator {
    pub(crate) fn new(b: &mut Builder, sizes: &Sizes) -> ConvDiscriminator {
        let halvings = sizes.halvings();
        let mut inputs = sizes.spec.channels + sizes.spec.classes.unwrap_or(0);
        let mut down = Vec::new();
        for (i, &[height, width]) in halvings[1..].iter().enumerate() {
            let outputs = sizes.channels << i;
            // No norm right behind the image: section 3 of the paper.
            let kind = if i == 0 {
                NormKind::None
            } else {
                sizes.discriminator_norm
            };
            let mut b = b.scope(i);
            let bias = kind == NormKind::None;
            let layer = Conv::with(&mut b, inputs, outputs, KERNEL, NARROW, bias);
            let numbers = height * width * outputs;
            down.push(Block {
                layer: Layer::Filter(layer.stride(STRIDE).padding(around())),
                spectral: sizes.spectral.then(|| Spectral::new(&mut b, outputs)),
                norm: Norm::new(&mut b.scope("norm"), kind, outputs, numbers, true),
                activation: Activation::LeakyRelu(SLOPE),
            });
            inputs = outputs;
        }
        let [height, width] = halvings[halvings.len() - 1];
        let mut b = b.scope("verdict");
        let verdict = Block {
            layer: Layer::Dense(Linear::with(
                &mut b,
                height * width * inputs,
                1,
                NARROW,
                true,
            )),
            spectral: sizes.spectral.then(|| Spectral::new(&mut b, 1)),
            norm: Norm::None,
            activation: Activation::Identity,
        };
        ConvDiscriminator {
            spec: sizes.spec,
            down,
            verdict,
        }
    }

    pub(crate) fn forward<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        classes: Option<&Arc<[u32]>>,
    ) -> Var<T> {
        let size = [self.spec.height, self.spec.width];
        let x = match (self.spec.classes, classes) {
            (Some(n), Some(list)) => Var::concat(&[x, &one_hot_planes(list, n, size)], 3),
            _ => x.clone(),
        };
        let h = self.down.iter().fold(x, |h, block| block.forward(p, &h));
        let count = h.shape()[0];
        let flat = h.reshape([count, h.shape().elements() / count.max(1)]);
        self.verdict.forward(p, &flat).reshape([count])
    }
}
