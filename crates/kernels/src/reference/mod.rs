//! Naive twins of the kernels: loops as in the definition, sums in f64. The oracle of every test.

pub mod attention;
pub mod autoregressive;
mod conv;
mod gemm;
pub mod normal;
pub mod pool;
pub mod recurrent;
pub mod rows;

pub use conv::{conv_forward, conv_input_gradient, conv_weight_gradient};
pub use gemm::gemm;
