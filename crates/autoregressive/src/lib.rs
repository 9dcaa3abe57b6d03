#![forbid(unsafe_code)]
//! Autoregressive generative models with exact likelihoods.

pub mod sequential;

use nn::model::Entry;

/// The models of this crate: one paper, one file, one name here. There is none yet.
pub const MODELS: &[Entry] = &[];
