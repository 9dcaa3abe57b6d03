//! The baseline that knows nothing of the other pixels: how often each pixel has each level.

use nn::model::{Batch, ImageSource, ImageSpec};

/// P(x) = prod_d (n_d(x_d) + 1) / (N + L): of N training images n_d(v) have level v at dimension d,
/// and one more of each level is added, so that no level is impossible.
pub struct Histogram {
    levels: usize,
    /// -log P in nats, `[D, L]`.
    nats: Vec<f64>,
}

/// Images that are counted together.
const TOGETHER: usize = 512;

impl Histogram {
    /// Of these images.
    pub fn of(images: &dyn ImageSource) -> Histogram {
        let ImageSpec { levels, .. } = images.spec();
        let dims = images.spec().dims();
        let mut counts = vec![1u32; dims * levels];
        let all: Vec<u32> = (0..images.len() as u32).collect();
        for indices in all.chunks(TOGETHER) {
            let batch = images.batch(indices);
            for image in batch.images.data().chunks_exact(dims) {
                for (d, &x) in image.iter().enumerate() {
                    counts[d * levels + level(x, levels)] += 1;
                }
            }
        }
        let total = ((images.len() + levels) as f64).ln();
        let nats = counts.iter().map(|&n| total - f64::from(n).ln());
        Histogram {
            levels,
            nats: nats.collect(),
        }
    }

    /// -log P(x) in nats of each image.
    pub fn nats(&self, batch: &Batch) -> Vec<f64> {
        let dims = self.nats.len() / self.levels;
        let of = |(d, &x): (usize, &f32)| self.nats[d * self.levels + level(x, self.levels)];
        let images = batch.images.data().chunks_exact(dims);
        images
            .map(|image| image.iter().enumerate().map(of).sum())
            .collect()
    }
}

fn level(x: f32, levels: usize) -> usize {
    let top = (levels - 1) as f32;
    (x * top).round().clamp(0.0, top) as usize
}
