//! What a prediction looks at.

use crate::params::Bound;
use grad::{Tensor, Var};
use std::sync::Arc;

/// A model that predicts one dimension after the other, and can be asked what it looks at.
pub trait Inspector: Sync {
    /// The dimension that comes i-th in the order of the model, a position in `[H, W, C]`.
    fn dimension(&self, i: usize) -> usize;

    /// The parameters of the distribution of one dimension, a position in `[H, W, C]`, given those
    /// before it: `[B, K]` for images x `[B, H, W, C]` with pixels in [0, 1]. Differentiable by x.
    /// A conditional model is told the class of each image.
    fn prediction(
        &self,
        p: &Bound<f32>,
        x: &Var<f32>,
        labels: Option<&Arc<[u32]>>,
        dimension: usize,
    ) -> Var<f32>;

    /// What each layer of attention looks at, the first one first: `[B, heads, T, T]`, from a
    /// dimension to those it sees, in the order of `[H, W, C]`. None of a model without attention.
    fn attention(
        &self,
        _p: &Bound<f32>,
        _x: &Tensor<f32>,
        _labels: Option<&Arc<[u32]>>,
    ) -> Vec<Tensor<f32>> {
        Vec::new()
    }
}
