#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod conv_cache;
mod conv_gate;
mod conv_masked;
pub mod density;
mod fvsbn;
mod gated_pixelcnn;
mod made;
mod masked;
mod nade;
mod ordering;
mod orderless;
mod pixelcnn;
pub mod sequential;

pub use density::{Autoregressive, Density};
pub use fvsbn::Fvsbn;
pub use gated_pixelcnn::{GatedPixelCnn, Sizes as GatedSizes};
pub use made::{Made, Options as MadeOptions};
pub use nade::Nade;
pub use nn::dist::pixels::{self, Pixels};
pub use orderless::OrderlessNade;
pub use pixelcnn::PixelCnn;

use nn::model::Entry;

/// The models of this crate: one paper, one file, one name here.
pub const MODELS: &[Entry] = &[
    fvsbn::ENTRY,
    nade::ENTRY,
    orderless::ENTRY,
    made::ENTRY,
    pixelcnn::ENTRY,
    gated_pixelcnn::ENTRY,
];
