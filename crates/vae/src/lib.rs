#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod mlp;

pub use mlp::{Elbo, Vae};
use nn::model::Entry;

/// The models of this crate: one paper, one file, one name here.
pub const MODELS: &[Entry] = &[mlp::ENTRY];
