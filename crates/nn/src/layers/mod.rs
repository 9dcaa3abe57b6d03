//! Layers: plain immutable data that holds parameter ids.
//!
//! A layer is made with a [`Builder`](crate::Builder), which gives its parameters names and first
//! values, and applied with the [`Bound`](crate::Bound) parameters of a step. One layer may be
//! applied any number of times, in f32 and in f64. Images are `[B, H, W, C]`.

mod batch_norm;
mod conv;
mod conv_transpose;
mod dropout;
mod embedding;
mod layer_norm;
mod linear;
mod pool;
#[cfg(test)]
mod tests;

pub use batch_norm::BatchNorm;
pub use conv::Conv;
pub use conv_transpose::ConvTranspose;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pool::{AveragePool, MaxPool, global_average_pool};

pub use grad::kernels::conv::{Padding, Sums, Taps};
pub use grad::kernels::gemm::Activation;

/// What a layer whose training differs from its use is applied for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A training step.
    Train,
    /// Evaluation and sampling.
    Evaluate,
}

/// How convolutions add in this mode. Training takes the fastest sums. In evaluation and sampling
/// one pixel at a time must give the same bits as all at once, so there is one order.
pub fn sums(mode: Mode) -> Sums {
    match mode {
        Mode::Train => Sums::Fast,
        Mode::Evaluate => Sums::InOrder,
    }
}
