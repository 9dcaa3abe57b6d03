//! A flow as the engine and the command see it: a density over images.

use crate::complete;
use crate::dequantise::Dequantise;
use crate::histogram::Histogram;
use crate::layer::{At, Flow, Layer, Precision};
use crate::prior::Prior;
use grad::{Tensor, Var};
use nn::model::{
    Ask, Batch, Better, Completer, CompletionRequest, Encoder, ImageSpec, Kind, Latent, Loss,
    Model, Prepared, SampleRequest, Sampler, Score, ScoreInfo, Scored, SetAsk, Spread, Step, Takes,
};
use nn::random::{stream, word};
use nn::stats::{bits_per_dim, log_mean_exp};
use nn::{Bound, Params};
use rayon::prelude::*;
use std::sync::Arc;

/// A flow with what makes it a distribution over images of so many levels.
pub struct FlowModel {
    /// What the images look like.
    pub spec: ImageSpec,
    /// Noise between the levels.
    pub dequantise: Dequantise,
    /// From y `[B, H, W, C]` in [0, 1] to the code `[B, D]`.
    pub flow: Flow,
    /// What the code is distributed as.
    pub prior: Prior,
    /// How many classes there are, if the flow is conditional.
    pub classes: Option<usize>,
    /// How a training batch of this size is spread over the cores.
    pub spread: fn(usize) -> Spread,
    /// Whether the density has a cheap gradient by the image, so that ascent can complete one.
    pub ascends: bool,
}

/// Images that go through the inverse together, on one thread.
const TOGETHER: usize = 8;

impl FlowModel {
    /// log p(y) in nats, `[B]`, for y `[B, H, W, C]`.
    pub fn log_density<T: Precision>(&self, at: &At<T>, y: &Var<T>) -> Var<T> {
        let (z, log_det) = self.flow.forward(at, y);
        self.prior.log_density(&z) + log_det
    }

    /// A bound on -log P(x) in nats, `[B]`, from one draw of noise: x `[B, H, W, C]` in [0, 1], the
    /// noise uniform in [0, 1), of the same shape.
    pub fn bound<T: Precision>(&self, at: &At<T>, x: &Tensor<T>, noise: &Tensor<T>) -> Var<T> {
        let levels = self.spec.levels;
        let (y, log_q) = self.dequantise.noisy(at, x, levels, noise);
        let steps = self.spec.dims() as f64 * (levels as f64).ln();
        log_q - self.log_density(at, &y) + steps
    }

    fn at<'a>(&self, p: &'a Bound<f32>, labels: Option<&'a Arc<[u32]>>) -> At<'a, f32> {
        At::new(p).classes(labels.filter(|_| self.classes.is_some()))
    }

    fn bound_of(&self, p: &Bound<f32>, batch: &Batch, purpose: u64) -> Var<f32> {
        let noise = batch.uniform(self.spec.dims(), purpose);
        self.bound(&self.at(p, batch.labels.as_ref()), &batch.images, &noise)
    }

    /// Sets the first values that follow the data, from at most this many training images.
    pub fn begin(&self, params: &mut Params<f32>, batch: &Batch) {
        let p = params.constants();
        let labels = batch.labels.as_ref().filter(|_| self.classes.is_some());
        let noise = batch.uniform(self.spec.dims(), word("begin"));
        let levels = self.spec.levels;
        let (y, _) = self
            .dequantise
            .noisy(&At::new(&p), &batch.images, levels, &noise);
        drop(p);
        self.flow.begin(params, labels, &y);
    }

    /// The images of these codes, `[count, H, W, C]`, each pixel one of the levels.
    fn images(&self, p: &Bound<f32>, z: &Tensor<f32>, classes: Option<&Arc<[u32]>>) -> Tensor<f32> {
        let dims = self.spec.dims();
        let top = (self.spec.levels - 1) as f32;
        let flow = |p: &Bound<f32>, part: Part| {
            let codes = &z.data()[part.first * dims..][..part.len * dims];
            let z = Var::constant(Tensor::new([part.len, dims], codes));
            let labels = classes.map(|all| all[part.first..][..part.len].into());
            let y = self.flow.inverse(&self.at(p, labels.as_ref()), &z);
            let level = |y: f32| (y * (top + 1.0)).floor().clamp(0.0, top) / top;
            y.value().data().iter().map(|&y| level(y)).collect()
        };
        let pixels = in_parts(p, z.shape()[0], flow);
        Tensor::new(self.spec.shape(z.shape()[0]), &pixels)
    }

    /// The classes of a request, if the flow is conditional.
    pub(crate) fn chosen(&self, of: &nn::model::Classes, count: usize) -> Option<Arc<[u32]>> {
        self.classes.map(|classes| of.list(count, classes))
    }
}

/// Some images of a list.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) first: usize,
    pub(crate) len: usize,
}

/// Runs `f` on parts of `count` images, side by side, each on one thread, and joins what it gives.
/// The parts do not depend on the threads.
pub(crate) fn in_parts(
    p: &Bound<f32>,
    count: usize,
    f: impl Fn(&Bound<f32>, Part) -> Vec<f32> + Sync,
) -> Vec<f32> {
    // A tape's handles stay on their thread; values may go.
    let values = p.values();
    let firsts: Vec<usize> = (0..count).step_by(TOGETHER).collect();
    let parts = firsts.into_par_iter().map(|first| {
        grad::kernels::parallel::serial(|| {
            let p = Bound::from_vars(values.iter().cloned().map(Var::constant));
            let len = TOGETHER.min(count - first);
            f(&p, Part { first, len })
        })
    });
    parts.collect::<Vec<_>>().concat()
}

impl Model for FlowModel {
    fn loss(&self, step: &Step) -> Loss {
        Loss::nats(self.bound_of(step.p, step.batch, word("dequantise")).sum())
    }

    fn spread(&self, batch_size: usize) -> Spread {
        (self.spread)(batch_size)
    }

    fn classes(&self) -> Option<usize> {
        self.classes
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self)]
    }

    fn sampler(&self) -> Option<&dyn Sampler> {
        Some(self)
    }

    fn latent(&self) -> Option<&dyn Latent> {
        Some(self)
    }

    fn completer(&self) -> Option<&dyn Completer> {
        self.ascends.then_some(self)
    }
}

impl Score for FlowModel {
    /// The bound, in nats; the mean log-density of pixels in [0, 1], as NICE reports it; and the
    /// baseline.
    fn about(&self) -> Vec<ScoreInfo> {
        vec![
            ScoreInfo::nats(Kind::UpperBound),
            ScoreInfo::metric("log_density", "nats of pixels in [0, 1]", Better::Higher),
            ScoreInfo::metric(
                "histogram",
                "bits a dimension of each pixel's histogram in the training images",
                Better::Lower,
            ),
        ]
    }

    fn is_stochastic(&self) -> bool {
        true
    }

    fn prepare(&self, ask: &SetAsk) -> Prepared {
        Box::new(Histogram::of(ask.train))
    }

    /// With several draws, P(x) is the mean over them of p(y) / (q(u | x) L^D): a tighter bound.
    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        let dims = self.spec.dims();
        let mut log_p = vec![Vec::with_capacity(ask.samples); step.batch.len()];
        for k in 0..ask.samples.max(1) {
            let purpose = word("evaluation").wrapping_add(k as u64);
            let nats = self.bound_of(step.p, step.batch, purpose);
            for (list, &nats) in log_p.iter_mut().zip(nats.value().data()) {
                list.push(-f64::from(nats));
            }
        }
        let nats: Vec<f64> = log_p.iter().map(|list| -log_mean_exp(list)).collect();
        let steps = dims as f64 * (self.spec.levels as f64).ln();
        let density = nats.iter().map(|nats| steps - nats).collect();
        let histogram = ask.prepared::<Histogram>().nats(step.batch);
        let histogram = histogram.into_iter().map(|nats| bits_per_dim(nats, dims));
        vec![nats, density, histogram.collect()]
    }
}

impl FlowModel {
    /// Codes of a seed: code i does not depend on how many there are.
    pub(crate) fn codes(
        &self,
        count: usize,
        seed: u64,
        temperature: f32,
        truncation: Option<f32>,
    ) -> Tensor<f32> {
        let of = |i: usize| stream(&[seed, word("prior"), i as u64]);
        (self.prior).codes(count, self.spec.dims(), temperature, truncation, of)
    }
}

impl Sampler for FlowModel {
    fn takes(&self) -> Takes {
        Takes::NOTHING.temperature().truncation()
    }

    /// Codes from the prior, times the temperature, through the inverse.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        let SampleRequest {
            count,
            seed,
            temperature,
            truncation,
            ..
        } = *request;
        let z = self.codes(count, seed, temperature, truncation);
        let classes = self.chosen(&request.classes, count);
        self.images(p, &z, classes.as_ref())
    }
}

impl Latent for FlowModel {
    fn shape(&self) -> Vec<usize> {
        vec![self.spec.dims()]
    }

    fn prior(&self, _: &Bound<f32>, count: usize, seed: u64) -> Tensor<f32> {
        self.codes(count, seed, 1.0, None)
    }

    fn decode(&self, p: &Bound<f32>, z: &Tensor<f32>, classes: Option<&Arc<[u32]>>) -> Tensor<f32> {
        self.images(p, z, classes)
    }

    fn encoder(&self) -> Option<&dyn Encoder> {
        Some(self)
    }
}

impl Encoder for FlowModel {
    /// The code of the middle of each level's step: exact, so that decoding gives the image back.
    fn encode(&self, step: &Step) -> Tensor<f32> {
        let levels = self.spec.levels as f32;
        let middle = |x: f32| ((x * (levels - 1.0)).round() + 0.5) / levels;
        let y = Var::constant(step.batch.images.map(middle));
        let at = self.at(step.p, step.batch.labels.as_ref());
        self.flow.forward(&at, &y).0.into_value()
    }
}

impl Completer for FlowModel {
    fn complete(&self, p: &Bound<f32>, request: &CompletionRequest) -> Tensor<f32> {
        complete::ascend(self, p, request)
    }
}
