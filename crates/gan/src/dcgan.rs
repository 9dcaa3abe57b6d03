//! Deep convolutional GAN.
//!
//! A. Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional
//! Generative Adversarial Networks", arXiv:1511.06434: fractionally strided convolutions, batch
//! norm in both players, weights from N(0, 0.02^2), Adam at 2e-4 with beta1 = 0.5, batches of 128.
//! z is normal here, not uniform, so that its codes can be averaged and walked along.

use crate::options::{self, BATCH_NORM, CONV, Defaults, NON_SATURATING, SMALL};
use nn::hyper::Hyper;
use nn::model::{Entry, Preset, Recipe, Setup};

const HYPERS: &[Hyper] = &options::table(&Defaults {
    network: CONV,
    loss: NON_SATURATING,
    latents: 100,
    discriminator_steps: 1,
    long_discriminator_steps: 1,
    lr: [2e-4, 2e-4],
    discriminator_norm: BATCH_NORM,
    generator_norm: BATCH_NORM,
    clip: 0.0,
    penalty: 0.0,
    conditional: false,
});

const PRESETS: &[Preset] = &[Preset {
    name: "spectral",
    about: "hinge loss, spectral norm in place of the discriminator's batch norm, two rates, an \
            average of the generator: steadier, about as fast",
    settings: "hypers.loss = \"hinge\"\nhypers.spectral_norm = true\n\
               hypers.discriminator_norm = \"none\"\nhypers.discriminator_lr = 0.0004\n\
               hypers.generator_lr = 0.0001\nhypers.generator_ema = 0.999\n",
}];

pub(crate) const ENTRY: Entry = Entry::new(
    "dcgan",
    "deep convolutional GAN, batch norm in both players",
    options::build,
)
.paper("Radford et al. 2016, arXiv:1511.06434")
.hypers(HYPERS)
.recipe(recipe)
.presets(PRESETS)
.small(SMALL);

fn recipe(setup: &Setup) -> Recipe {
    options::recipe(setup, |lr| options::adam(setup, lr, 0.999))
        .batch_size(128)
        .epochs(20)
}
