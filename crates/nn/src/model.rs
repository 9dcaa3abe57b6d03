//! What a model offers to those who train, evaluate and sample it without knowing its name.

use crate::hyper::{Hyper, HyperError, Hypers};
use crate::optim::Optimiser;
use crate::params::{Bound, Params};
use crate::random::{self, Stream};
use crate::schedule::Schedule;
use grad::{Tensor, Var};
use std::sync::Arc;

/// What the images of a data set look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub classes: Option<usize>,
}

impl ImageSpec {
    /// The number of dimensions D = H W C of an image.
    pub fn dims(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether pixels are 0 or 1.
    pub fn is_binary(&self) -> bool {
        self.levels == 2
    }
}

/// Some images with what belongs to each.
pub struct Batch {
    /// Pixel values in [0, 1], level / (levels - 1): `[B, H, W, C]`.
    pub images: Tensor<f32>,
    /// The class of each image, where the data has labels.
    pub labels: Option<Arc<[u32]>>,
    /// For each image the word its noise comes from: a function of (seed, epoch, example).
    pub noise: Arc<[u64]>,
}

impl Batch {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.noise.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.noise.is_empty()
    }

    /// The random stream of image `i` for one purpose.
    pub fn stream(&self, i: usize, purpose: u64) -> Stream {
        random::stream(&[self.noise[i], purpose])
    }

    /// Standard normal noise, [B, n]: row i from image i's own stream.
    pub fn normal(&self, n: usize, purpose: u64) -> Tensor<f32> {
        Tensor::build([self.len(), n], |out| {
            for (i, row) in out.chunks_exact_mut(n).enumerate() {
                let mut stream = self.stream(i, purpose);
                row.fill_with(|| random::normal(&mut stream) as f32);
            }
        })
    }
}

/// What one phase of a training step minimises, on one batch or a part of it.
pub struct Loss {
    /// Sum over the images; one number. The engine divides by the size of the whole batch.
    pub sum: Var<f32>,
    /// What to report: names and sums over the images, in nats where it is a likelihood.
    pub parts: Vec<(&'static str, f64)>,
}

/// A part of a training step with its own loss, parameters and optimiser: one for most models,
/// two for a GAN.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What metrics call it.
    pub name: &'static str,
    /// It trains the parameters whose names begin so; all of them if empty.
    pub prefix: &'static str,
    /// How.
    pub optimiser: Optimiser,
}

/// How a model is trained unless the user says otherwise: the paper's figures.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// In the order they run within a step.
    pub phases: Vec<Phase>,
    /// How the learning rate changes over the run.
    pub schedule: Schedule,
    /// Images a step.
    pub batch_size: usize,
    /// Passes over the training split.
    pub epochs: usize,
    /// Largest norm of all gradients together, if they are clipped.
    pub clip_norm: Option<f32>,
    /// Decay of the exponential moving average that is evaluated instead of the parameters.
    pub ema: Option<f32>,
}

/// How the engine spreads a batch over the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Micro-batches of this many images run side by side, each on one thread.
    Lanes(usize),
    /// The whole batch at once, each kernel on all threads: for batch statistics, and where one
    /// gradient for each lane would cost more than it saves.
    IntraOp,
}

/// A model as the engine and the command see it.
pub trait Model: Send + Sync {
    /// The loss of one phase of a training step.
    fn loss(&self, phase: usize, p: &Bound<f32>, batch: &Batch) -> Loss;

    /// Whether a phase takes part in step `step` (0-based); a critic runs more often.
    fn is_active(&self, _phase: usize, _step: u64) -> bool {
        true
    }

    /// How to spread a batch of `batch_size` over the cores.
    fn spread(&self, batch_size: usize) -> Spread;

    /// How many classes there are, if the model is given the class of each image.
    fn classes(&self) -> Option<usize> {
        None
    }

    /// -log p(x), if the model can tell it or a bound on it.
    fn likelihood(&self) -> Option<&dyn Likelihood> {
        None
    }

    /// New images, if the model can make them.
    fn sampler(&self) -> Option<&dyn Sampler> {
        None
    }

    /// Images through a bottleneck and back, if the model has one.
    fn reconstructor(&self) -> Option<&dyn Reconstructor> {
        None
    }

    /// What is missing in images, if the model can draw it given the rest.
    fn completer(&self) -> Option<&dyn Completer> {
        None
    }

    /// The distribution of each dimension given those before it, if the model can tell it.
    fn coder(&self) -> Option<&dyn Coder> {
        None
    }
}

/// A model that tells how likely an image is.
pub trait Likelihood {
    /// Whether [`nats`](Self::nats) is an upper bound on -log p(x), not -log p(x) itself.
    fn is_bound(&self) -> bool;

    /// -log p(x) of each image, in nats; with `samples` > 1 an estimate that draws so many times
    /// where the model is stochastic.
    fn nats(&self, p: &Bound<f32>, batch: &Batch, samples: usize) -> Vec<f64>;
}

/// What to sample.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// How many images.
    pub count: usize,
    /// Equal seeds give equal images.
    pub seed: u64,
    /// The class, where the model is conditional.
    pub class: Option<u32>,
}

/// A model that makes new images.
pub trait Sampler {
    /// Images `[count, H, W, C]` with pixels in [0, 1].
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32>;
}

/// A model with an encoder and a decoder.
pub trait Reconstructor {
    /// The images after encoding and decoding, `[B, H, W, C]`, pixels in [0, 1].
    fn reconstruct(&self, p: &Bound<f32>, batch: &Batch) -> Tensor<f32>;
}

/// Images of which a part is known.
#[derive(Clone, Debug)]
pub struct CompletionRequest {
    /// Pixels in [0, 1], `[count, H, W, C]`; what is not known does not matter.
    pub images: Tensor<f32>,
    /// Which dimensions are known, the same in each image: H W C flags.
    pub known: Vec<bool>,
    /// Equal seeds give equal images.
    pub seed: u64,
    /// The class, where the model is conditional.
    pub class: Option<u32>,
    /// 1 for the model's own distribution, less for more likely images.
    pub temperature: f32,
}

/// A model that draws what is missing in an image.
pub trait Completer {
    /// The images `[count, H, W, C]` with the missing pixels drawn and the known ones untouched.
    /// With nothing known, new images.
    fn complete(&self, p: &Bound<f32>, request: &CompletionRequest) -> Tensor<f32>;
}

/// A model that tells the distribution of one dimension after another, as an entropy coder needs
/// it: to write an image, and to read it again from the same numbers.
pub trait Coder {
    /// Goes through the dimensions of `count` images in the model's order.
    ///
    /// `level(image, dimension, probabilities)` gets the probability of every level, given what
    /// it said about earlier dimensions, and says which it is: known when an image is written,
    /// found in the code when it is read. A dimension is a position in `[H, W, C]`. The
    /// probabilities are the same to the last bit on any number of threads, but not on another
    /// instruction set. A conditional model is told the class of each image.
    fn code(
        &self,
        p: &Bound<f32>,
        count: usize,
        classes: Option<&[u32]>,
        level: &mut dyn FnMut(usize, usize, &[f64]) -> u32,
    );
}

/// A new model and its initial parameters.
pub type Built = (Box<dyn Model>, Params<f32>);

/// Settings under a name: a way to train a model that is known to work well.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is for and what it costs, in a line.
    pub about: &'static str,
    /// TOML with the keys of a run's configuration: what differs from the recipe.
    pub settings: &'static str,
}

/// A model's line in its crate's table.
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// Authors, year, arXiv number.
    pub paper: &'static str,
    /// What it can do, in a line: likelihood, sampling, reconstruction.
    pub abilities: &'static str,
    /// Its hyper-parameters.
    pub hypers: &'static [Hyper],
    /// How it is trained by default.
    pub recipe: fn() -> Recipe,
    /// Other ways to train it.
    pub presets: &'static [Preset],
    /// Whether its pixels must be 0 or 1.
    pub binary: bool,
    /// Makes one with fresh parameters from a seed.
    pub build: fn(&Hypers, &ImageSpec, u64) -> Result<Built, HyperError>,
}
