//! What fools a classifier, and what it looks for.
//!
//! All of it differentiates by the image and leaves the parameters alone: small changes of an image
//! that change its class ([`Attack`]), images that a class or a unit answers to most ([`Ascent`]),
//! and which pixels an answer depends on ([`saliency`]). Images are `[N, H, W, C]` in [0, 1], and
//! what comes out of here is, too: steps are taken in the units of pixels.

mod ascent;
mod attack;
mod fourier;
mod saliency;

pub use ascent::{Ascent, Goal};
pub use attack::{Answer, Attack, Ball, answers};
pub use saliency::{saliency, smooth_saliency};

use grad::Tensor;
use grad::kernels::parallel;
use rayon::prelude::*;

/// Images that one task works on.
const TOGETHER: usize = 64;

/// Images `[N, ..]` in parts that run side by side, each told where it begins; the results are in
/// order, whatever the threads.
fn in_parts<R: Send>(
    images: &Tensor<f32>,
    f: impl Fn(usize, Tensor<f32>) -> Vec<R> + Sync,
) -> Vec<R> {
    let count = images.shape()[0];
    let dims = images.len() / count.max(1);
    let starts: Vec<usize> = (0..count).step_by(TOGETHER).collect();
    let part = |&start: &usize| {
        let rows = TOGETHER.min(count - start);
        let mut shape = images.shape().to_vec();
        shape[0] = rows;
        let part = &images.data()[start * dims..(start + rows) * dims];
        parallel::serial(|| f(start, Tensor::new(&shape[..], part)))
    };
    let parts: Vec<Vec<R>> = starts.par_iter().map(part).collect();
    parts.into_iter().flatten().collect()
}
