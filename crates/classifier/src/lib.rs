#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod augment;
mod classify;
mod conv;
mod headed;
mod mlp;

pub use classify::{Classify, Network};
pub use conv::ConvNet;
pub use headed::{Encoded, Headed, NoEncoder};
pub use mlp::Perceptron;
use nn::model::Entry;

/// The models of this crate: one network, one file, one name here.
pub const MODELS: &[Entry] = &[mlp::ENTRY, conv::ENTRY];
