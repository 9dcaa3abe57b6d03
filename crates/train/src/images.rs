//! From a split of a dataset to the batches a model sees.

use dataset::{Binarize, Dataset, Split, View};
use grad::Tensor;
use nn::model::{Batch, ImageSource, ImageSpec};
use nn::random;

/// What a model sees of these data.
pub fn spec(data: &Dataset, binarize: Binarize) -> ImageSpec {
    let shape = data.shape();
    let levels = match binarize {
        Binarize::None => data.levels() as usize,
        Binarize::Static | Binarize::Dynamic => 2,
    };
    let spec = ImageSpec::new(shape.height, shape.width, shape.channels, levels);
    match data.classes() {
        Some(classes) => spec.with_classes(classes as usize),
        None => spec,
    }
}

/// The images of a split, binarised, with the noise that belongs to each.
///
/// Bits and noise are functions of (seed, epoch, split, example), so it does not matter who asks,
/// in which order, or for how many at once.
#[derive(Clone, Copy)]
pub struct Images<'d> {
    spec: ImageSpec,
    view: View<'d>,
    binarize: Binarize,
    seed: u64,
    epoch: u64,
}

impl<'d> Images<'d> {
    /// As they are drawn for training in this epoch (0 for the first).
    pub fn training(data: &'d Dataset, binarize: Binarize, seed: u64, epoch: u64) -> Images<'d> {
        Images {
            spec: spec(data, binarize),
            view: data.split(Split::Train),
            binarize,
            seed,
            epoch,
        }
    }

    /// As they are drawn for evaluation: the same for every run, so that figures compare.
    pub fn evaluation(data: &'d Dataset, split: Split, binarize: Binarize) -> Images<'d> {
        Images {
            spec: spec(data, binarize),
            view: data.split(split),
            binarize,
            seed: 0,
            epoch: u64::MAX,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.view.is_empty()
    }

    /// These examples as a batch.
    ///
    /// # Panics
    /// If there is no such example.
    #[track_caller]
    pub fn batch(&self, indices: &[u32]) -> Batch {
        let shape = self.view.shape();
        let Images {
            view,
            binarize,
            seed,
            epoch,
            ..
        } = *self;
        let images = Tensor::build(
            [indices.len(), shape.height, shape.width, shape.channels],
            |out| dataset::gather(view, indices, binarize, seed, epoch, out),
        );
        let labels = view.has_labels().then(|| {
            let label = |&index| view.label(index as usize).expect("a labelled view");
            indices.iter().map(label).collect::<Vec<u32>>()
        });
        let split = view.split() as u64;
        let noise = |&index| random::mix(&[seed, epoch, split, u64::from(index)]);
        let batch = Batch::new(images, indices.iter().map(noise).collect::<Vec<_>>());
        match labels {
            Some(labels) => batch.with_labels(labels),
            None => batch,
        }
    }
}

impl ImageSource for Images<'_> {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn len(&self) -> usize {
        self.view.len()
    }

    fn batch(&self, indices: &[u32]) -> Batch {
        Images::batch(self, indices)
    }
}
