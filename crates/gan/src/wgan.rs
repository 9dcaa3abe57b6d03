//! Wasserstein GAN with clipped weights.
//!
//! M. Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875, algorithm 1: RMSProp at 5e-5, five
//! steps of the critic for each of the generator, its weights clipped to [-0.01, 0.01] after every
//! step, batches of 64; DCGAN's players. The long turns at the beginning and at every 500th
//! generator step are those of the authors' code.

use crate::options::{self, BATCH_NORM, CONV, Defaults, SMALL_TURNS, WASSERSTEIN};
use nn::hyper::Hyper;
use nn::model::{Entry, Recipe, Setup};
use nn::optim::Optimiser;

const HYPERS: &[Hyper] = &options::table(&Defaults {
    network: CONV,
    loss: WASSERSTEIN,
    latents: 100,
    discriminator_steps: 5,
    long_discriminator_steps: 100,
    lr: [5e-5, 5e-5],
    discriminator_norm: BATCH_NORM,
    generator_norm: BATCH_NORM,
    clip: 0.01,
    penalty: 0.0,
    conditional: false,
});

pub(crate) const ENTRY: Entry =
    Entry::new("wgan", "Wasserstein GAN, clipped weights", options::build)
        .paper("Arjovsky et al. 2017, arXiv:1701.07875")
        .hypers(HYPERS)
        .recipe(recipe)
        .small(SMALL_TURNS);

fn recipe(setup: &Setup) -> Recipe {
    options::recipe(setup, Optimiser::rms_prop)
        .batch_size(64)
        .epochs(30)
}
