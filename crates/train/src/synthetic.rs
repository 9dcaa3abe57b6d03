//! Images to measure a model with.

use grad::Tensor;
use nn::model::{Batch, ImageSpec};
use nn::random;
use std::ops::Range;

/// The share of pixels that are white, as in binary MNIST.
const WHITE: f64 = 0.2;

/// A batch that is the same at every step: independent pixels, a fifth of them 1, which is the
/// highest level, and the others 0; classes in turn. What a training step costs does not depend on what
/// is in the images.
pub struct Synthetic {
    spec: ImageSpec,
    pixels: Vec<f32>,
}

impl Synthetic {
    /// `count` images.
    pub fn new(spec: ImageSpec, count: usize) -> Synthetic {
        let mut stream = random::stream(&[random::word("bench")]);
        let pixel = |_| f32::from(random::uniform(&mut stream) < WHITE);
        Synthetic {
            pixels: (0..count * spec.dims()).map(pixel).collect(),
            spec,
        }
    }

    /// Images like those of binary MNIST: 28x28, two levels, ten classes.
    pub fn binary_mnist(count: usize) -> Synthetic {
        Synthetic::new(ImageSpec::binary_mnist(), count)
    }

    /// What the images are like.
    pub fn spec(&self) -> &ImageSpec {
        &self.spec
    }

    /// Some of them, as the engine asks for.
    pub fn batch(&self, range: Range<usize>) -> Batch {
        let spec = &self.spec;
        let pixels = &self.pixels[range.start * spec.dims()..range.end * spec.dims()];
        let images = Tensor::new(spec.shape(range.len()), pixels);
        let batch = Batch::new(images, range.clone().map(|i| i as u64).collect::<Vec<_>>());
        match spec.classes {
            Some(n) => batch.with_labels(range.map(|i| (i % n) as u32).collect::<Vec<_>>()),
            None => batch,
        }
    }
}
