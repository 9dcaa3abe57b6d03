#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod ais;
mod chains;
pub mod contrast;
mod dbm;
mod dbn;
pub mod exact;
mod gibbs;
mod gsn;
mod layer;
mod machine;
mod noise;
mod partition;
mod parzen;
mod pixels;
mod rbm;
mod trainer;
mod walk;

pub use dbm::Dbm;
pub use dbn::Dbn;
pub use gsn::Gsn;
pub use machine::{Machine, Path};
use nn::model::Entry;
pub use partition::{Effort, Partition};
pub use rbm::Rbm;
pub use walk::Walk;

/// The models of this crate: one paper, one file, one name here.
pub const MODELS: &[Entry] = &[rbm::ENTRY, dbn::ENTRY, dbm::ENTRY, gsn::ENTRY];
