#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod complete;
mod coupling;
mod density;
mod dequantise;
mod glow;
mod histogram;
mod layer;
mod logit;
mod maf;
mod masked;
mod mix;
mod multiscale;
mod net;
mod nice;
mod norm;
mod options;
mod prior;
mod realnvp;
mod shape;
mod solve;

pub use coupling::{Coupling, MOST, Partition, Transform};
pub use density::FlowModel;
pub use dequantise::Dequantise;
pub use glow::glow;
pub use histogram::Histogram;
pub use layer::{At, Flow, FlowLayer, Inverse, Layer, Precision};
pub use logit::{Logit, Shift};
pub use maf::{iaf, maf};
pub use masked::Masked;
pub use mix::Mix;
pub use net::{ConvSizes, Net};
pub use nice::nice;
use nn::model::Entry;
pub use norm::{ActNorm, BatchNorm, Fit};
pub use prior::Prior;
pub use realnvp::realnvp;
pub use shape::{FactorOut, Flatten, Permute, Squeeze};

/// The models of this crate: one paper, one file, one name here.
pub const MODELS: &[Entry] = &[nice::ENTRY, realnvp::ENTRY, glow::ENTRY, maf::MAF, maf::IAF];
