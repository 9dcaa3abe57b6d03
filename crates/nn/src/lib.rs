#![forbid(unsafe_code)]
//! Layers, distributions, optimisers and parameters on top of `grad`, and the traits by which a
//! model is trained, evaluated and sampled without being known by name.

pub mod hyper;
pub mod model;
pub mod optim;
pub mod params;
pub mod random;
pub mod schedule;

pub use params::{Bound, Builder, ParamId, Params};
