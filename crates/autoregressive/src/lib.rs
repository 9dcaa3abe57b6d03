#![forbid(unsafe_code)]
//! Autoregressive generative models with exact likelihoods.

pub mod density;
mod fvsbn;
mod masked;
mod nade;
pub mod pixels;
pub mod sequential;

pub use density::{Autoregressive, Density};
pub use fvsbn::Fvsbn;
pub use nade::Nade;
pub use pixels::Pixels;

use nn::model::Entry;

/// The models of this crate: one paper, one file, one name here.
pub const MODELS: &[Entry] = &[fvsbn::ENTRY, nade::ENTRY];
