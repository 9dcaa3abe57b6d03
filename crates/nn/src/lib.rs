#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod clip;
pub mod dist;
pub mod ema;
pub mod hyper;
pub mod init;
pub mod lanes;
pub mod layers;
pub mod masks;
pub mod memory;
pub mod model;
pub mod optim;
pub mod params;
pub mod random;
pub mod save;
pub mod schedule;
pub mod stats;

pub use params::{Bound, Builder, ParamId, Params, Update};
