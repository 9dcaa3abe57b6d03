//! A network with a linear layer to the logits of the classes, as a model.
//!
//! ```text
//! p(class | x) = softmax(h(x) W + b)
//! ```
//!
//! What all classifiers have in common is here: the loss, the scores, the features.

use crate::augment;
use grad::{Tensor, Var};
use nn::hyper::HyperError;
use nn::layers::{Dropout, Linear, Mode};
use nn::model::{
    Ask, Batch, Better, Classifier, Features, Loss, Model, Score, ScoreInfo, Scored, Setup, Spread,
    Step,
};
use nn::random::word;
use nn::{Bound, Builder};

/// Images to the numbers that the last layer classifies.
pub trait Network: Send + Sync {
    /// How many numbers an image has.
    fn width(&self) -> usize;

    /// The last hidden layer, `[B, width]`, of images `[B, H, W, C]` with pixels in [0, 1].
    /// Differentiable by both; batch norm follows the mode of the parameters.
    fn hidden(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32>;

    /// What all hidden layers answer, `[B, .., C]` each, from the image inward to the last.
    fn layers(&self, p: &Bound<f32>, x: &Var<f32>) -> Vec<Var<f32>> {
        vec![self.hidden(p, x)]
    }

    /// How to spread a batch over the cores.
    fn spread(&self, batch_size: usize) -> Spread;
}

/// A network with a head: a classifier.
pub struct Classify<N> {
    network: N,
    head: Linear,
    classes: usize,
    dropout: f64,
    /// Pixels by which training images are moved at most.
    shift: usize,
}

/// How many classes the images of a setup have.
pub(crate) fn classes(setup: &Setup) -> Result<usize, HyperError> {
    let unfit = || {
        setup
            .hypers
            .unfit("a classifier needs images with labels, these have none")
    };
    setup.image.classes.ok_or_else(unfit)
}

impl<N: Network> Classify<N> {
    /// A head of `classes` logits under `head`, on a network that is there.
    pub fn new(b: &mut Builder, network: N, classes: usize) -> Classify<N> {
        Classify {
            head: Linear::new(&mut b.scope("head"), network.width(), classes),
            network,
            classes,
            dropout: 0.0,
            shift: 0,
        }
    }

    /// The same with this share of the last hidden layer left out in training.
    pub fn dropout(self, dropout: f64) -> Classify<N> {
        Classify { dropout, ..self }
    }

    /// The same with training images moved by up to so many pixels.
    pub fn shift(self, shift: usize) -> Classify<N> {
        Classify { shift, ..self }
    }

    /// The network below the head.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The logits `[B, classes]` of a step's images as training sees them: moved, with dropout.
    fn training_logits(&self, step: &Step) -> Var<f32> {
        let x = Var::constant(augment::shifted(step.batch, self.shift));
        let mut h = self.network.hidden(step.p, &x);
        if self.dropout > 0.0 {
            let stream = |i| step.batch.stream(i, word("dropout"));
            h = Dropout::new(self.dropout).forward(&h, stream);
        }
        self.head.forward(step.p, &h)
    }

    /// The logits of a step's images, and their classes.
    ///
    /// # Panics
    /// If the images have no labels.
    fn judged(&self, step: &Step) -> (Var<f32>, std::sync::Arc<[u32]>) {
        let labels = step.batch.labels.clone();
        let labels = labels.expect("a classifier is given images with labels");
        let logits = match step.mode() {
            Mode::Train => self.training_logits(step),
            Mode::Evaluate => self.logits(step.p, &images(step.batch)),
        };
        (logits, labels)
    }
}

fn images(batch: &Batch) -> Var<f32> {
    Var::constant(batch.images.clone())
}

/// For each row of logits `[B, classes]` whether the largest is that of the label: 1 or 0. Of equal
/// ones the first counts.
fn hits<'a>(logits: &'a Tensor<f32>, labels: &'a [u32]) -> impl Iterator<Item = f64> + 'a {
    let rows = logits.data().chunks_exact(logits.shape().last_extent());
    rows.zip(labels).map(|(row, &label)| {
        let best = (1..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        f64::from(best as u32 == label)
    })
}

impl<N: Network> Model for Classify<N> {
    /// The cross entropy, -log p(class | x).
    fn loss(&self, step: &Step) -> Loss {
        let (logits, labels) = self.judged(step);
        let right = hits(logits.value(), &labels).sum();
        Loss::of(logits.softmax_cross_entropy(labels).sum()).with("accuracy", right)
    }

    fn spread(&self, batch_size: usize) -> Spread {
        self.network.spread(batch_size)
    }

    fn classes(&self) -> Option<usize> {
        Some(self.classes)
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self)]
    }

    fn features(&self) -> Option<&dyn Features> {
        Some(self)
    }

    fn classifier(&self) -> Option<&dyn Classifier> {
        Some(self)
    }
}

impl<N: Network> Score for Classify<N> {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![
            ScoreInfo::metric("accuracy", "share", Better::Higher),
            ScoreInfo::metric("cross_entropy", "nats", Better::Lower),
        ]
    }

    fn of(&self, step: &Step, _: &Ask) -> Vec<Vec<f64>> {
        let (logits, labels) = self.judged(step);
        let accuracy = hits(logits.value(), &labels).collect();
        let nats = logits.softmax_cross_entropy(labels);
        let nats = nats.value().data().iter().map(|&nats| f64::from(nats));
        vec![accuracy, nats.collect()]
    }
}

impl<N: Network> Features for Classify<N> {
    fn width(&self) -> usize {
        self.network.width()
    }

    /// The last hidden layer.
    fn features(&self, step: &Step) -> Tensor<f32> {
        self.network
            .hidden(step.p, &images(step.batch))
            .into_value()
    }
}

impl<N: Network> Classifier for Classify<N> {
    fn logits(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        self.head.forward(p, &self.network.hidden(p, x))
    }

    fn layers(&self, p: &Bound<f32>, x: &Var<f32>) -> Vec<Var<f32>> {
        self.network.layers(p, x)
    }
}
