//! The batches of an epoch, as plain numbers.

use crate::fill::{Binarize, gather, gather_labels};
use crate::open::View;
use crate::random::permutation;

/// Some examples of a split, in the order of `indices`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// Pixels in [0, 1], `[indices.len(), height, width, channels]`.
    pub images: Vec<f32>,
    /// The class of each, where the dataset has labels.
    pub labels: Option<Vec<u32>>,
    /// Which examples of the split they are.
    pub indices: Vec<u32>,
}

impl Batch {
    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// The batches of one epoch: every example once, the last batch with what is left.
///
/// [`View::batches`] makes one. The order depends on (number of examples, seed, epoch) alone, as
/// [`permutation`] says.
///
/// ```
/// use dataset::{Batches, Cache, Dataset, Source, Split};
///
/// # fn main() -> Result<(), dataset::Error> {
/// # let cache = Cache::new(std::env::temp_dir().join("dataset-batches"));
/// let data = Dataset::open(&Source::parse("glyphs")?, &cache)?;
/// let (seed, mut steps) = (1, 0);
/// for epoch in 0..2 {
///     for batch in data.split(Split::Valid).batches(64, seed, epoch) {
///         let labels = batch.labels.as_ref().expect("glyphs have labels");
///         assert_eq!(batch.images.len(), batch.len() * data.shape().len());
///         assert_eq!(labels.len(), batch.len());
///         steps += 1;
///     }
/// }
/// // 5,000 images are 78 batches of 64 and one of 8.
/// assert_eq!(steps, 2 * 79);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Batches<'d> {
    view: View<'d>,
    size: usize,
    binarize: Binarize,
    seed: u64,
    epoch: u64,
    order: Vec<u32>,
    /// How many examples were handed out.
    done: usize,
}

impl<'d> View<'d> {
    /// The examples in batches of `size`, shuffled anew in each epoch, in grey levels p / 255.
    ///
    /// # Panics
    /// Where `size` is 0.
    #[track_caller]
    pub fn batches(self, size: usize, seed: u64, epoch: u64) -> Batches<'d> {
        assert!(size > 0, "batches: expected a size of at least 1, found 0");
        Batches {
            view: self,
            size,
            binarize: Binarize::None,
            seed,
            epoch,
            order: permutation(self.len(), seed, epoch),
            done: 0,
        }
    }
}

impl Batches<'_> {
    /// The same batches with pixels as `binarize` says: drawn by (seed, epoch) where it is dynamic.
    #[must_use]
    pub fn binarize(self, binarize: Binarize) -> Self {
        Batches { binarize, ..self }
    }

    /// The same examples in the order of the split: to evaluate, or to compare with other figures.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.order.sort_unstable();
        self
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let left = &self.order[self.done..];
        let indices = left[..left.len().min(self.size)].to_vec();
        if indices.is_empty() {
            return None;
        }
        self.done += indices.len();
        let (seed, epoch) = (self.seed, self.epoch);
        let mut images = vec![0.0; indices.len() * self.view.shape().len()];
        gather(self.view, &indices, self.binarize, seed, epoch, &mut images);
        let mut labels = vec![0; indices.len()];
        let labelled = gather_labels(self.view, &indices, &mut labels);
        Some(Batch {
            images,
            labels: labelled.then_some(labels),
            indices,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.order.len() - self.done).div_ceil(self.size);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageShape, Split};
    use crate::open::{Dataset, Examples};

    /// Image k has pixels (10 k, 10 k + 1) and label k.
    fn data(labelled: bool) -> Dataset {
        let shape = ImageShape {
            height: 1,
            width: 2,
            channels: 1,
        };
        let pixels: Vec<u8> = (0..11).flat_map(|k| [10 * k, 10 * k + 1]).collect();
        let labels: Vec<u8> = (0..11).collect();
        let train = Examples {
            pixels: &pixels,
            labels: labelled.then_some(&labels),
        };
        let none = Examples {
            pixels: &[],
            labels: labelled.then_some(&[]),
        };
        Dataset::in_memory("eleven", shape, 256, [train, none, none]).unwrap()
    }

    #[test]
    fn an_epoch_has_every_example_once_with_its_label() {
        let data = data(true);
        for size in [1, 3, 4, 11, 50] {
            let batches = data.split(Split::Train).batches(size, 5, 2);
            assert_eq!(batches.len(), 11usize.div_ceil(size));
            let all: Vec<Batch> = batches.collect();
            let (last, full) = all.split_last().unwrap();
            assert!(full.iter().all(|batch| batch.len() == size));
            assert_eq!(full.len() * size + last.len(), 11);
            let indices: Vec<u32> = all.iter().flat_map(|batch| batch.indices.clone()).collect();
            assert_eq!(indices, permutation(11, 5, 2));
            for batch in &all {
                assert_eq!(batch.labels.as_ref(), Some(&batch.indices));
                for (image, k) in batch.images.chunks(2).zip(&batch.indices) {
                    let level = |p: u32| p as f32 * (1.0 / 255.0);
                    assert_eq!(image, [level(10 * k), level(10 * k + 1)]);
                }
            }
        }
    }

    #[test]
    fn order_and_bits_follow_seed_and_epoch() {
        let data = data(false);
        let train = data.split(Split::Train);
        let first = |seed, epoch| train.batches(11, seed, epoch).next().unwrap();
        assert_eq!(first(1, 0), first(1, 0));
        assert_ne!(first(1, 0).indices, first(1, 1).indices);
        assert_ne!(first(1, 0).indices, first(2, 0).indices);
        assert_eq!(first(1, 0).labels, None);
        let bits = train
            .batches(11, 1, 3)
            .binarize(Binarize::Dynamic)
            .in_order();
        let batch = bits.clone().next().unwrap();
        assert_eq!(batch.indices, (0..11).collect::<Vec<_>>());
        let mut expected = [0.0; 22];
        gather(
            train,
            &batch.indices,
            Binarize::Dynamic,
            1,
            3,
            &mut expected,
        );
        assert_eq!(batch.images, expected);
        assert_eq!(bits.count(), 1);
    }

    #[test]
    fn of_nothing_there_is_no_batch() {
        let data = data(true);
        let mut batches = data.split(Split::Test).batches(4, 0, 0);
        assert_eq!((batches.len(), batches.next()), (0, None));
    }
}
