//! Numbers that describe an image, and its class.

use crate::model::Step;
use crate::params::Bound;
use grad::{Tensor, Var};

/// A model that describes images by numbers that another model can work with.
pub trait Features: Sync {
    /// How many numbers an image has.
    fn width(&self) -> usize;

    /// The numbers of each image of the step's batch, `[B, width]`.
    fn features(&self, step: &Step) -> Tensor<f32>;
}

/// A model that tells the class of an image.
pub trait Classifier: Sync {
    /// The logits of the classes, `[B, classes]`, for images x, `[B, H, W, C]` with pixels in
    /// [0, 1]. Differentiable by x as well as by the parameters; batch norm and dropout follow the
    /// mode of the parameters ([`Bound::mode`]).
    fn logits(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32>;

    /// What the hidden layers answer to such images, `[B, .., C]` each, from the image inward; as
    /// differentiable as the logits. Nothing where a model does not tell.
    fn layers(&self, _p: &Bound<f32>, _x: &Var<f32>) -> Vec<Var<f32>> {
        Vec::new()
    }
}
