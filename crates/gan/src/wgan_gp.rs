//! Wasserstein GAN with gradient penalty.
//!
//! I. Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", arXiv:1704.00028, algorithm
//! 1: lambda = 10, five critic steps, Adam at 1e-4 with betas 0.5 (table 2; the algorithm says 0)
//! and 0.9, batches of 64. The critic has no batch norm, since the penalty is on the gradient of
//! each image alone; `discriminator_norm=layer` is what section 4 recommends in its place.

use crate::options::{self, BATCH_NORM, CONV, Defaults, NO_NORM, SMALL_TURNS, WASSERSTEIN};
use nn::hyper::Hyper;
use nn::model::{Entry, Recipe, Setup};

const HYPERS: &[Hyper] = &options::table(&Defaults {
    network: CONV,
    loss: WASSERSTEIN,
    latents: 100,
    discriminator_steps: 5,
    long_discriminator_steps: 1,
    lr: [1e-4, 1e-4],
    discriminator_norm: NO_NORM,
    generator_norm: BATCH_NORM,
    clip: 0.0,
    penalty: 10.0,
    conditional: false,
});

pub(crate) const ENTRY: Entry = Entry::new(
    "wgan-gp",
    "Wasserstein GAN, gradient penalty by true second derivatives",
    options::build,
)
.paper("Gulrajani et al. 2017, arXiv:1704.00028")
.hypers(HYPERS)
.recipe(recipe)
.small(SMALL_TURNS);

fn recipe(setup: &Setup) -> Recipe {
    options::recipe(setup, |lr| options::adam(setup, lr, 0.9))
        .batch_size(64)
        .epochs(30)
}
