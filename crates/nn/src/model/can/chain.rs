//! How samples come about.

use super::SampleRequest;
use crate::params::Bound;
use grad::Tensor;

/// A model that makes its samples by a chain, and shows what it passes through.
pub trait Chain: Sync {
    /// `frames` images of each of `request.count` chains, a chain after the other:
    /// `[count * frames, H, W, C]`, pixels in [0, 1]. Between two frames lie `request.steps` steps,
    /// 1 unless it says how many. Chain i of a seed does not depend on how many are asked for.
    fn frames(&self, p: &Bound<f32>, request: &SampleRequest, frames: usize) -> Tensor<f32>;
}
