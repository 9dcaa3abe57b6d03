#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod causal;
mod conv_cache;
mod conv_gate;
mod conv_masked;
pub mod density;
mod diagonal_bilstm;
mod fvsbn;
mod gated_pixelcnn;
mod image_transformer;
mod made;
pub mod masked;
mod nade;
mod ordered;
mod ordering;
mod orderless;
mod pixel_rnn;
mod pixelcnn;
mod row_lstm;
pub mod sequential;
pub mod walk;

pub use density::{Autoregressive, Density};
pub use fvsbn::Fvsbn;
pub use gated_pixelcnn::{Gated, GatedPixelCnn, Sizes as GatedSizes};
pub use image_transformer::{
    ImageTransformer, Layer as TransformerLayer, Local, Sizes as TransformerSizes,
    image_transformer,
};
pub use made::{Made, Options as MadeOptions};
pub use nade::Nade;
pub use nn::dist::pixels::{self, Pixels};
pub use orderless::OrderlessNade;
pub use pixel_rnn::{
    DiagonalBiLstmNetwork, Layers as RnnLayers, RowLstmNetwork, Sizes as RnnSizes, diagonal_bilstm,
    row_lstm,
};
pub use pixelcnn::{Block as PixelCnnBlock, PixelCnn};
pub use walk::Network;

use nn::model::Entry;

/// The models of this crate: one paper, one file, one name here.
pub const MODELS: &[Entry] = &[
    fvsbn::ENTRY,
    nade::ENTRY,
    orderless::ENTRY,
    made::ENTRY,
    pixelcnn::ENTRY,
    gated_pixelcnn::ENTRY,
    row_lstm::ENTRY,
    diagonal_bilstm::ENTRY,
    image_transformer::ENTRY,
];
