//! Visible units and pixels.
//!
//! Binary pixels are the units. Grey levels become continuous by adding noise: v = (level + u) /
//! levels with u uniform in [0, 1), whose density, with log levels a dimension, bounds the
//! probability of the level. L. Theis, A. van den Oord and M. Bethge 2016, arXiv:1511.01844,
//! section 3.1.

use grad::Tensor;
use nn::model::{Batch, CompletionRequest, ImageSpec};
use nn::random::word;

/// Visible units of these images, `[B, D]`.
pub(crate) fn units(spec: &ImageSpec, batch: &Batch, gaussian: bool) -> Tensor<f32> {
    let rows = batch.rows();
    if !gaussian {
        return rows;
    }
    let noise = batch.uniform(spec.dims(), word("dequantise"));
    let levels = spec.levels as f32;
    let level = |i: usize| rows.data()[i] * (levels - 1.0) + noise.data()[i];
    Tensor::from_fn(*rows.shape(), |i| level(i) / levels)
}

/// Pixels in [0, 1] of visible units or their means: `[n, H, W, C]`.
pub(crate) fn pixels(spec: &ImageSpec, mut units: Vec<f32>, gaussian: bool) -> Tensor<f32> {
    if gaussian {
        let levels = spec.levels as f32;
        for v in &mut units {
            *v = ((*v * levels - 0.5) / (levels - 1.0)).clamp(0.0, 1.0);
        }
    }
    Tensor::new(spec.shape(units.len() / spec.dims()), &units)
}

/// The unit in the middle of a pixel's level.
pub(crate) fn middle(spec: &ImageSpec, pixel: f32, gaussian: bool) -> f32 {
    let levels = spec.levels as f32;
    match gaussian {
        true => (pixel * (levels - 1.0) + 0.5) / levels,
        false => pixel,
    }
}

/// The same images with the known pixels of a request exactly as they were given.
pub(crate) fn restore(images: Tensor<f32>, request: &CompletionRequest) -> Tensor<f32> {
    let d = request.known.len();
    let given = request.images.data();
    Tensor::from_fn(*images.shape(), |i| match request.known[i % d] {
        true => given[i],
        false => images.data()[i],
    })
}
