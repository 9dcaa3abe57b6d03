#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod autoencoder;
mod bound;
mod corrupt;
mod fitted;
mod generate;
mod judge;
mod loss;
mod model;
mod network;
mod output;
mod pca;
mod prior;
#[cfg(test)]
mod proofs;
mod stage;
mod table;

pub use autoencoder::Autoencoder;
pub use bound::{Objective, importance_bound, kl_of_dimensions, with_free_bits};
pub use model::{Elbo, Vae};
pub use network::{Decoder, Encoder, Layout, one_hot};
use nn::model::Entry;
pub use output::Output;
pub use pca::{Pca, leading_eigenvectors};
pub use prior::{Mixture, Prior, log_normal};

/// The models of this crate.
pub const MODELS: &[Entry] = &[
    table::VAE,
    table::CONV_VAE,
    autoencoder::AUTOENCODER,
    autoencoder::CONV_AUTOENCODER,
];
