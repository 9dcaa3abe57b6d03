#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod check;
mod memory;
mod nodes;
mod op;
pub mod ops;
mod shape;
mod spare;
mod tape;
mod tensor;
mod var;

pub use kernels::{self, Element};
pub use op::{Op, Saves, Vjp};
pub use ops::BatchMoments;
pub use shape::{MAX_RANK, Shape};
pub use tape::Tape;
pub use tensor::Tensor;
pub use var::Var;
