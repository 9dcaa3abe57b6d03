//! Generative adversarial network.
//!
//! I. Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv:1406.2661. Perceptrons play;
//! `loss=minimax` is equation 1, the default the loss that section 3 advises for its gradient;
//! `discriminator_steps` is the k of algorithm 1. Adam and leaky ReLU in place of momentum and
//! maxout.

use crate::options::{self, Defaults, MLP, NO_NORM, NON_SATURATING, SMALL};
use nn::hyper::Hyper;
use nn::model::{Entry, Recipe, Setup};

const HYPERS: &[Hyper] = &options::table(&Defaults {
    network: MLP,
    loss: NON_SATURATING,
    latents: 64,
    discriminator_steps: 1,
    long_discriminator_steps: 1,
    lr: [2e-4, 2e-4],
    discriminator_norm: NO_NORM,
    generator_norm: NO_NORM,
    clip: 0.0,
    penalty: 0.0,
    conditional: false,
});

pub(crate) const ENTRY: Entry = Entry::new(
    "gan",
    "generative adversarial network, multilayer perceptrons",
    options::build,
)
.paper("Goodfellow et al. 2014, arXiv:1406.2661")
.hypers(HYPERS)
.recipe(recipe)
.small(SMALL);

fn recipe(setup: &Setup) -> Recipe {
    options::recipe(setup, |lr| options::adam(setup, lr, 0.999))
        .batch_size(128)
        .epochs(40)
}
