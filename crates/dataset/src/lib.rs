#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod batches;
mod cache;
mod error;
mod fill;
pub mod formats;
mod glyphs;
mod gz;
mod image;
mod listing;
mod map;
mod open;
mod pair;
mod parcel;
mod random;
mod recognise;
mod source;
mod store;

pub use batches::{Batch, Batches};
pub use cache::Cache;
pub use error::{Error, Malformed, ParseNameError};
pub use fill::{Binarize, fill, gather, gather_labels};
pub use image::{ImageShape, Split};
pub use open::{Dataset, Examples, View};
pub use parcel::{Form, Parcel};
pub use random::{Xoshiro256PlusPlus, permutation, stream};
pub use source::Source;
