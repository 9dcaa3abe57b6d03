#![forbid(unsafe_code)]
//! Generative adversarial networks.

use nn::model::Entry;

/// The models of this crate: one paper, one file, one name here. There is none yet.
pub const MODELS: &[Entry] = &[];
