//! A code, both ways: from it follow reconstruction, traversal, interpolation and arithmetic.

use crate::model::Step;
use crate::params::Bound;
use grad::{Tensor, Var};
use std::sync::Arc;

/// A model whose images are made from a code.
pub trait Latent: Sync {
    /// The shape of one image's code, without the axis of the images.
    fn shape(&self) -> Vec<usize>;

    /// `count` codes from the model's prior, `[count, ..shape]`. Code i of a seed does not depend
    /// on how many are asked for.
    fn prior(&self, p: &Bound<f32>, count: usize, seed: u64) -> Tensor<f32>;

    /// The images of these codes, `[count, H, W, C]`, pixels in [0, 1]: means, where the model
    /// gives a distribution. A conditional model is told the class of each.
    fn decode(&self, p: &Bound<f32>, z: &Tensor<f32>, classes: Option<&Arc<[u32]>>) -> Tensor<f32>;

    /// The way from images to codes, if there is one.
    fn encoder(&self) -> Option<&dyn Encoder> {
        None
    }
}

/// The way from images to codes.
pub trait Encoder: Sync {
    /// The code of each image of the step's batch, `[B, ..shape]`: the mean, where the model gives
    /// a distribution. It does not depend on the other images of the batch.
    fn encode(&self, step: &Step) -> Tensor<f32>;

    /// The standard deviation of each number of the code, where the model gives a distribution.
    fn spread(&self, _step: &Step) -> Option<Tensor<f32>> {
        None
    }

    /// The code with derivatives, where it depends on nothing but the image: what a classifier is
    /// put on.
    fn embedder(&self) -> Option<&dyn Embedder> {
        None
    }
}

/// The way from images to codes, with derivatives.
pub trait Embedder: Sync {
    /// What [`Encoder::encode`] gives, `[B, ..shape]`, for images x, `[B, H, W, C]` with pixels in
    /// [0, 1]. Differentiable by x as well as by the parameters.
    fn embed(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32>;
}
