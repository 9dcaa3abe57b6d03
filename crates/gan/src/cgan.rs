//! Conditional GAN.
//!
//! M. Mirza and S. Osindero 2014, "Conditional Generative Adversarial Nets", arXiv:1411.1784: both
//! players are told the class, as further inputs beside z and beside the image (figure 1). Here the
//! players are DCGAN's; `--set network=mlp` has perceptrons, as in the paper.

use crate::options::{self, BATCH_NORM, CONV, Defaults, NON_SATURATING, SMALL};
use nn::hyper::Hyper;
use nn::model::{Entry, Recipe, Setup};

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
    conditional: true,
});

pub(crate) const ENTRY: Entry = Entry::new(
    "cgan",
    "conditional GAN: both players are told the class",
    options::build,
)
.paper("Mirza & Osindero 2014, arXiv:1411.1784")
.hypers(HYPERS)
.recipe(recipe)
.labelled()
.small(SMALL);

fn recipe(setup: &Setup) -> Recipe {
    options::recipe(setup, |lr| options::adam(setup, lr, 0.999))
        .batch_size(128)
        .epochs(20)
}
