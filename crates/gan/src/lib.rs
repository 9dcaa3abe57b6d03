#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod cgan;
mod conv;
mod dcgan;
mod game;
mod gan;
mod health;
mod layers;
mod mlp;
mod objective;
mod options;
mod penalty;
mod players;
mod spectral;
mod turns;
mod wgan;
mod wgan_gp;

pub use game::{Examined, Gan, Images};
pub use objective::Objective;
pub use penalty::gradient_penalty;
pub use players::{Discriminator, Generator, Sizes};
pub use turns::Turns;

use nn::model::Entry;

/// The models of this crate: one paper, one file, one name here.
pub const MODELS: &[Entry] = &[
    gan::ENTRY,
    dcgan::ENTRY,
    cgan::ENTRY,
    wgan::ENTRY,
    wgan_gp::ENTRY,
];
