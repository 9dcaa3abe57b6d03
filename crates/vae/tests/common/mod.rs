//! Batches and splits of images that tests make up.

// Each file of tests uses a part of this.
#![allow(dead_code)]

use grad::Tensor;
use nn::model::{Batch, ImageSource, ImageSpec};
use nn::random::{stream, uniform};

/// Images of random levels with classes in turn.
pub(crate) fn batch_of(spec: ImageSpec, len: usize, seed: u64) -> Batch {
    let mut noise = stream(&[seed]);
    let top = (spec.levels - 1) as f64;
    let images = Tensor::from_fn(spec.shape(len), |_| {
        let level =
            (uniform(&mut noise) * 1.4 * spec.levels as f64).floor() - 0.4 * spec.levels as f64;
        (level.round().max(0.0).min(top) / top) as f32
    });
    let classes = spec.classes.unwrap_or(1);
    Batch::new(images, (0..len as u64).collect::<Vec<_>>())
        .with_labels((0..len).map(|i| (i % classes) as u32).collect::<Vec<_>>())
}

/// A batch as a split.
pub(crate) struct Source(pub(crate) ImageSpec, pub(crate) Batch);

impl ImageSource for Source {
    fn spec(&self) -> ImageSpec {
        self.0
    }

    fn len(&self) -> usize {
        self.1.len()
    }

    fn batch(&self, indices: &[u32]) -> Batch {
        let dims = self.0.dims();
        let images = self.1.images.data();
        let pixels: Vec<f32> = indices
            .iter()
            .flat_map(|&i| &images[i as usize * dims..][..dims])
            .copied()
            .collect();
        let noise: Vec<u64> = indices.iter().map(|&i| self.1.noise[i as usize]).collect();
        let batch = Batch::new(Tensor::new(self.0.shape(indices.len()), &pixels), noise);
        match &self.1.labels {
            Some(labels) => batch.with_labels(
                indices
                    .iter()
                    .map(|&i| labels[i as usize])
                    .collect::<Vec<_>>(),
            ),
            None => batch,
        }
    }
}
