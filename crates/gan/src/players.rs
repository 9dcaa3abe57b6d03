//! The two players: networks of either kind behind one face.

use crate::conv::{ConvDiscriminator, ConvGenerator};
use crate::layers::NormKind;
use crate::mlp::{MlpDiscriminator, MlpGenerator};
use grad::{Element, Var};
use nn::model::ImageSpec;
use nn::{Bound, Builder};
use std::sync::Arc;

/// What the players are built from.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// What images look like. With classes, both players are told the class of each image.
    pub spec: ImageSpec,
    /// Dimensions of z.
    pub latents: usize,
    /// Units of the generator's hidden layers from z outward, where it is a perceptron; the
    /// discriminator's are the same from the image inward.
    pub hidden: Vec<usize>,
    /// Channels of the convolutions nearest to the image; twice as many a step further in.
    pub channels: usize,
    pub(crate) convolutions: bool,
    pub(crate) generator_norm: NormKind,
    pub(crate) discriminator_norm: NormKind,
    pub(crate) spectral: bool,
}

impl Sizes {
    /// Perceptrons with these hidden layers, without normalisation.
    pub fn perceptrons(spec: ImageSpec, latents: usize, hidden: &[usize]) -> Sizes {
        Sizes {
            spec,
            latents,
            hidden: hidden.into(),
            channels: 1,
            convolutions: false,
            generator_norm: NormKind::None,
            discriminator_norm: NormKind::None,
            spectral: false,
        }
    }

    /// Convolutions as in DCGAN, with batch norm in both players.
    pub fn convolutions(spec: ImageSpec, latents: usize, channels: usize) -> Sizes {
        Sizes {
            channels,
            convolutions: true,
            generator_norm: NormKind::Batch,
            discriminator_norm: NormKind::Batch,
            ..Sizes::perceptrons(spec, latents, &[])
        }
    }

    /// The same with layer norm in the discriminator, over all numbers of an image.
    pub fn layer_norm(self) -> Sizes {
        Sizes {
            discriminator_norm: NormKind::Layer,
            ..self
        }
    }

    /// The same without normalisation in the discriminator.
    pub fn bare_discriminator(self) -> Sizes {
        Sizes {
            discriminator_norm: NormKind::None,
            ..self
        }
    }

    /// The same with the discriminator's weights divided by their largest singular values.
    pub fn spectral(self) -> Sizes {
        Sizes {
            spectral: true,
            ..self
        }
    }

    /// Whether an image's fate depends on the others of its batch.
    pub fn mixes(&self) -> bool {
        [self.generator_norm, self.discriminator_norm].contains(&NormKind::Batch)
    }

    /// Height and width after each halving from the image inward, the image first: as long as both
    /// are even and what is left has at least 3 rows and columns.
    pub(crate) fn halvings(&self) -> Vec<[usize; 2]> {
        let halves = |n: usize| n.is_multiple_of(2) && n >= 6;
        let mut list = vec![[self.spec.height, self.spec.width]];
        while let Some(&[height, width]) = list.last()
            && halves(height)
            && halves(width)
        {
            list.push([height / 2, width / 2]);
        }
        list
    }
}

/// G: from z to images.
#[derive(Clone, Debug)]
pub enum Generator {
    #[doc(hidden)]
    Mlp(MlpGenerator),
    #[doc(hidden)]
    Conv(ConvGenerator),
}

impl Generator {
    /// With parameters under `generator.`.
    pub fn new(b: &mut Builder, sizes: &Sizes) -> Generator {
        let mut b = b.scope("generator");
        match sizes.convolutions {
            true => Generator::Conv(ConvGenerator::new(&mut b, sizes)),
            false => Generator::Mlp(MlpGenerator::new(&mut b, sizes)),
        }
    }

    /// z `[B, latents]` -> images `[B, H, W, C]` in [-1, 1]. `classes`: the class of each, where
    /// the players are told.
    pub fn forward<T: Element>(
        &self,
        p: &Bound<T>,
        z: &Var<T>,
        classes: Option<&Arc<[u32]>>,
    ) -> Var<T> {
        match self {
            Generator::Mlp(player) => player.forward(p, z, classes),
            Generator::Conv(player) => player.forward(p, z, classes),
        }
    }
}

/// D: from images to a number that is high where an image seems real.
#[derive(Clone, Debug)]
pub enum Discriminator {
    #[doc(hidden)]
    Mlp(MlpDiscriminator),
    #[doc(hidden)]
    Conv(ConvDiscriminator),
}

impl Discriminator {
    /// With parameters under `discriminator.`.
    pub fn new(b: &mut Builder, sizes: &Sizes) -> Discriminator {
        let mut b = b.scope("discriminator");
        match sizes.convolutions {
            true => Discriminator::Conv(ConvDiscriminator::new(&mut b, sizes)),
            false => Discriminator::Mlp(MlpDiscriminator::new(&mut b, sizes)),
        }
    }

    /// Images `[B, H, W, C]` in [-1, 1] -> `[B]`, without bounds.
    pub fn forward<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        classes: Option<&Arc<[u32]>>,
    ) -> Var<T> {
        match self {
            Discriminator::Mlp(player) => player.forward(p, x, classes),
            Discriminator::Conv(player) => player.forward(p, x, classes),
        }
    }
}
