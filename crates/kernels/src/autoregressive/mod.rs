//! Kernels of autoregressive models: each output sees only some of the inputs before it, and the
//! work on the others is left out.

pub mod nade;
pub mod staircase;

pub use nade::Nade;
pub use staircase::Staircase;
