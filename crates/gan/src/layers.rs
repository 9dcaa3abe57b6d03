//! What both players are made of: a weight, perhaps spectrally normalised, and what follows it.

use crate::spectral::Spectral;
use grad::{Element, Tensor, Var};
use nn::init::Init;
use nn::layers::{Activation, BatchNorm, Conv, ConvTranspose, LayerNorm, Linear, sums};
use nn::{Bound, Builder};
use std::sync::Arc;

/// The slope of the leaky ReLU: A. Radford et al. 2016, arXiv:1511.06434, section 4.
pub(crate) const SLOPE: f32 = 0.2;
/// First values of DCGAN's weights: the same section.
pub(crate) const NARROW: Init = Init::Normal {
    mean: 0.0,
    std: 0.02,
};

/// What follows a layer's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormKind {
    None,
    /// Over the batch: images see each other.
    Batch,
    /// Over all numbers of an image.
    Layer,
}

impl NormKind {
    pub(crate) fn named(name: &str) -> NormKind {
        match name {
            "batch" => NormKind::Batch,
            "layer" => NormKind::Layer,
            _ => NormKind::None,
        }
    }
}

/// A normalisation with its parameters.
#[derive(Clone, Debug)]
pub(crate) enum Norm {
    None,
    Batch(BatchNorm),
    Layer(LayerNorm),
}

impl Norm {
    /// For outputs of `numbers` numbers an image, `channels` of them in each pixel. The gain of a
    /// batch norm begins as N(1, 0.02^2) beside weights that begin as N(0, 0.02^2).
    pub(crate) fn new(
        b: &mut Builder,
        kind: NormKind,
        channels: usize,
        numbers: usize,
        narrow: bool,
    ) -> Norm {
        let gain = match narrow {
            true => Init::Normal {
                mean: 1.0,
                std: 0.02,
            },
            false => Init::ONES,
        };
        match kind {
            NormKind::None => Norm::None,
            NormKind::Batch => Norm::Batch(BatchNorm::with(b, channels, gain)),
            NormKind::Layer => Norm::Layer(LayerNorm::new(b, numbers)),
        }
    }

    fn forward<T: Element>(&self, p: &Bound<T>, x: Var<T>) -> Var<T> {
        match self {
            Norm::None => x,
            Norm::Batch(norm) => norm.forward(p, &x, p.mode()),
            Norm::Layer(norm) => {
                let shape = *x.shape();
                let count = shape[0];
                let rows = x.reshape([count, shape.elements() / count.max(1)]);
                norm.forward(p, &rows).reshape(shape)
            }
        }
    }

    /// The normalised x through the activation.
    pub(crate) fn then<T: Element>(&self, p: &Bound<T>, x: Var<T>, act: Activation) -> Var<T> {
        activate(self.forward(p, x), act)
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Norm::None)
    }
}

fn activate<T: Element>(x: Var<T>, activation: Activation) -> Var<T> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.relu(),
        Activation::LeakyRelu(slope) => x.leaky_relu(f64::from(slope)),
        other => panic!("no player has the activation {other:?}"),
    }
}

/// A layer with a weight.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    Dense(Linear),
    Filter(Conv),
    /// Never spectrally normalised: only generators have it.
    Up(ConvTranspose),
}

/// A layer and what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) layer: Layer,
    pub(crate) spectral: Option<Spectral>,
    pub(crate) norm: Norm,
    pub(crate) activation: Activation,
}

impl Block {
    pub(crate) fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        // Only without a norm in between is the activation a part of the same pass.
        let fused = match self.norm.is_none() {
            true => self.activation,
            false => Activation::Identity,
        };
        let y = match (&self.layer, &self.spectral) {
            (Layer::Dense(layer), None) => layer.forward_with(p, x, fused),
            (Layer::Dense(layer), Some(spectral)) => {
                let weight = spectral.of(p, &p[layer.weight()]);
                x.linear(&weight, layer.bias().map(|bias| &p[bias]), fused)
            }
            (Layer::Filter(layer), None) => layer.forward_with(p, x, fused),
            (Layer::Filter(layer), Some(spectral)) => {
                let weight = spectral.of(p, &p[layer.weight()]);
                let geometry = layer.geometry(x.shape());
                let bias = layer.bias().map(|bias| &p[bias]);
                x.conv2d_with(&weight, [bias, None], fused, geometry, sums(p.mode()))
            }
            (Layer::Up(layer), _) => {
                let y = layer.forward(p, x);
                if self.norm.is_none() {
                    return activate(y, self.activation);
                }
                y
            }
        };
        match self.norm.is_none() {
            true => y,
            false => self.norm.then(p, y, self.activation),
        }
    }
}

/// A row of zeros with a one at the class of each image: `[B, classes]`.
pub(crate) fn one_hot<T: Element>(list: &Arc<[u32]>, classes: usize) -> Var<T> {
    let row = |i: usize| list[i / classes] as usize == i % classes;
    Var::constant(Tensor::from_fn([list.len(), classes], |i| {
        T::from_f64(f64::from(u8::from(row(i))))
    }))
}

/// The same as planes of an image: `[B, H, W, classes]`.
pub(crate) fn one_hot_planes<T: Element>(
    list: &Arc<[u32]>,
    classes: usize,
    [height, width]: [usize; 2],
) -> Var<T> {
    let of_image = height * width * classes;
    let shape = [list.len(), height, width, classes];
    Var::constant(Tensor::from_fn(shape, |i| {
        let is = list[i / of_image] as usize == i % classes;
        T::from_f64(f64::from(u8::from(is)))
    }))
}
