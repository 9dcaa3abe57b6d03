//! What a model sees of the data.

use crate::random::{self, Stream};
use grad::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// What the images of a data set look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ImageSpec {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for RGB.
    pub channels: usize,
    /// How many values a pixel can take: 2 for binary, 256 for 8 bits.
    pub levels: usize,
    /// How many classes the labels have, if there are labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
}

impl ImageSpec {
    /// Images without labels.
    pub const fn new(height: usize, width: usize, channels: usize, levels: usize) -> ImageSpec {
        ImageSpec {
            height,
            width,
            channels,
            levels,
            classes: None,
        }
    }

    /// The same with labels of so many classes.
    pub const fn with_classes(self, classes: usize) -> ImageSpec {
        ImageSpec {
            classes: Some(classes),
            ..self
        }
    }

    /// The same without labels.
    pub const fn without_classes(self) -> ImageSpec {
        ImageSpec {
            classes: None,
            ..self
        }
    }

    /// The same with images of this size.
    pub const fn with_size(self, height: usize, width: usize) -> ImageSpec {
        ImageSpec {
            height,
            width,
            ..self
        }
    }

    /// The same with pixels of so many channels.
    pub const fn with_channels(self, channels: usize) -> ImageSpec {
        ImageSpec { channels, ..self }
    }

    /// The same with so many values a pixel.
    pub const fn with_levels(self, levels: usize) -> ImageSpec {
        ImageSpec { levels, ..self }
    }

    /// Images like those of binary MNIST: 28x28, two levels, ten classes.
    pub const fn binary_mnist() -> ImageSpec {
        ImageSpec::new(28, 28, 1, 2).with_classes(10)
    }

    /// The number of dimensions D = H W C of an image.
    pub const fn dims(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The shape of `count` images: `[count, H, W, C]`.
    pub const fn shape(&self, count: usize) -> [usize; 4] {
        [count, self.height, self.width, self.channels]
    }

    /// Whether pixels are 0 or 1.
    pub const fn is_binary(&self) -> bool {
        self.levels == 2
    }
}

/// Some images with what belongs to each.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// Pixel values in [0, 1], level / (levels - 1): `[B, H, W, C]`.
    pub images: Tensor<f32>,
    /// The class of each image, where the data has labels.
    pub labels: Option<Arc<[u32]>>,
    /// For each image the word its noise comes from: a function of (seed, epoch, example).
    pub noise: Arc<[u64]>,
}

impl Batch {
    /// Images `[B, H, W, C]` with a word of noise for each.
    ///
    /// # Panics
    /// If there is not one word for each image.
    #[track_caller]
    pub fn new(images: Tensor<f32>, noise: impl Into<Arc<[u64]>>) -> Batch {
        let noise = noise.into();
        assert_eq!(
            images.shape().first().copied(),
            Some(noise.len()),
            "batch: expected a word of noise for each image"
        );
        Batch {
            images,
            labels: None,
            noise,
        }
    }

    /// The same with the class of each image.
    ///
    /// # Panics
    /// If there is not one for each.
    #[track_caller]
    pub fn with_labels(self, labels: impl Into<Arc<[u32]>>) -> Batch {
        let labels = labels.into();
        assert_eq!(
            labels.len(),
            self.len(),
            "batch: expected a class for each image"
        );
        Batch {
            labels: Some(labels),
            ..self
        }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.noise.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.noise.is_empty()
    }

    /// The images as rows: `[B, D]`.
    pub fn rows(&self) -> Tensor<f32> {
        let dims = self.images.len() / self.len().max(1);
        self.images.reshape([self.len(), dims])
    }

    /// The random stream of image `i` for one purpose.
    pub fn stream(&self, i: usize, purpose: u64) -> Stream {
        random::stream(&[self.noise[i], purpose])
    }

    /// Standard normal noise, `[B, n]`: row i from image i's own stream.
    pub fn normal(&self, n: usize, purpose: u64) -> Tensor<f32> {
        self.draw(n, purpose, |stream| random::normal(stream) as f32)
    }

    /// Noise that is uniform in [0, 1), `[B, n]`: row i from image i's own stream.
    pub fn uniform(&self, n: usize, purpose: u64) -> Tensor<f32> {
        self.draw(n, purpose, |stream| random::uniform(stream) as f32)
    }

    fn draw(&self, n: usize, purpose: u64, one: impl Fn(&mut Stream) -> f32) -> Tensor<f32> {
        Tensor::build([self.len(), n], |out| {
            for (i, row) in out.chunks_exact_mut(n.max(1)).enumerate() {
                let mut stream = self.stream(i, purpose);
                row.fill_with(|| one(&mut stream));
            }
        })
    }
}

/// Images that can be asked for by number: a split of a data set, as evaluation sees it.
pub trait ImageSource: Sync {
    /// What they look like.
    fn spec(&self) -> ImageSpec;

    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// These of them, each with its own noise.
    ///
    /// # Panics
    /// If there is no such image.
    fn batch(&self, indices: &[u32]) -> Batch;
}

/// What is known of the training images before a model is made: enough to begin from their mean,
/// or to let a first batch fix the first values of a layer.
///
/// A model may draw its *first values* from it and nothing else, since whoever reads a run's
/// parameters later may not have the data at hand. What must stay known goes into a state
/// ([`Builder::state`](crate::Builder::state)).
pub struct DataSummary<'a> {
    source: Option<&'a dyn ImageSource>,
    mean: OnceLock<Vec<f32>>,
    spec: ImageSpec,
}

/// The most images that a mean is taken over.
const MEAN_OF: usize = 1 << 16;
/// Images that are looked at together.
const TOGETHER: u32 = 256;

impl<'a> DataSummary<'a> {
    /// Of these training images.
    pub fn of(source: &'a dyn ImageSource) -> DataSummary<'a> {
        DataSummary {
            spec: source.spec(),
            source: Some(source),
            mean: OnceLock::new(),
        }
    }

    /// Of images that are not at hand: none are counted, and each pixel's mean is 1/2.
    pub fn unknown(spec: ImageSpec) -> DataSummary<'static> {
        DataSummary {
            source: None,
            mean: OnceLock::new(),
            spec,
        }
    }

    /// How many training images there are; 0 if that is not known.
    pub fn count(&self) -> usize {
        self.source.map_or(0, ImageSource::len)
    }

    /// The mean of each dimension over the first 65,536 training images, in [0, 1].
    pub fn mean(&self) -> &[f32] {
        self.mean.get_or_init(|| {
            let dims = self.spec.dims();
            let count = self.count().min(MEAN_OF) as u32;
            let Some(source) = self.source.filter(|_| count > 0) else {
                return vec![0.5; dims];
            };
            let mut sums = vec![0.0f64; dims];
            for first in (0..count).step_by(TOGETHER as usize) {
                let indices: Vec<u32> = (first..count.min(first + TOGETHER)).collect();
                for image in source.batch(&indices).images.data().chunks_exact(dims) {
                    for (sum, &x) in sums.iter_mut().zip(image) {
                        *sum += f64::from(x);
                    }
                }
            }
            sums.iter()
                .map(|sum| (sum / f64::from(count)) as f32)
                .collect()
        })
    }

    /// The first training images, at most `n` of them, if they are at hand.
    pub fn first(&self, n: usize) -> Option<Batch> {
        let source = self.source?;
        let indices: Vec<u32> = (0..source.len().min(n) as u32).collect();
        (!indices.is_empty()).then(|| source.batch(&indices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_each_images_own() {
        let batch = |noise: &[u64]| {
            let images = Tensor::zeros([noise.len(), 3, 4, 1]);
            Batch::new(images, noise)
        };
        let whole = batch(&[0, 1, 2, 3]);
        let part = batch(&[2]);
        assert_eq!(part.normal(3, 7).data(), &whole.normal(3, 7).data()[6..9]);
        assert_eq!(
            part.uniform(5, 7).data(),
            &whole.uniform(5, 7).data()[10..15]
        );
        assert_ne!(part.normal(3, 7), part.normal(3, 8));
        let uniform = whole.uniform(100, 1);
        assert!(uniform.data().iter().all(|x| (0.0..1.0).contains(x)));
    }
}
