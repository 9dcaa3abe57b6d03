#![forbid(unsafe_code)]
//! Reverse-mode autodiff on a tape: tensors, variables, higher derivatives.
//!
//! [`Tensor`] is an immutable block of numbers, [`Tape`] a list of what was computed, [`Var`] a
//! value with its place on that list. Every derivative rule is itself written in variables, so
//! derivatives can be differentiated again.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
