#![doc = include_str!("../README.md")]

pub mod attention;
pub mod autoregressive;
pub mod buffer;
mod cache;
mod compiled;
pub mod conv;
mod cut;
pub mod element;
pub mod elementwise;
pub mod flops;
pub mod gemm;
pub mod optim;
pub mod parallel;
pub mod peak;
pub mod recurrent;
pub mod reduce;
pub mod reference;
pub mod simd;
#[doc(hidden)]
pub mod testing;

pub use compiled::Compiled;
pub use element::Element;
pub use elementwise::{Binary, Unary};
pub use simd::Isa;
