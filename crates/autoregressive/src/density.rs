//! What an autoregressive model defines, and what follows from it for all of them: training,
//! likelihood, ensembles over orderings, samples.

use crate::ordered::Ordered;
use crate::sequential::{Conditionals, Draw, Given, Ready, code, draw, draw_of};
use grad::{Element, Tensor, Var};
use nn::Bound;
use nn::dist::pixels::Pixels;
use nn::model::{
    Ask, Batch, Coder, Completer, CompletionRequest, ImageSpec, Inspector, Kind, Loss, Model,
    SampleRequest, Sampler, Score, ScoreInfo, Scored, Spread, Step, Takes,
};
use nn::random::{mix, word};
use nn::stats::log_mean_exp;
use std::sync::Arc;

pub use crate::ordered::Naive;

/// A model of p(x) = prod_i p(x_o(i) | x_o(0), .., x_o(i-1)) for one or several orders o of the D
/// dimensions.
///
/// [`Density`] makes it a [`Model`].
pub trait Autoregressive: Send + Sync + 'static {
    /// What the images look like.
    fn spec(&self) -> ImageSpec;

    /// The distribution of one dimension.
    fn pixels(&self) -> Pixels {
        Pixels::of(&self.spec())
    }

    /// How many classes there are, if the model is conditional.
    fn classes(&self) -> Option<usize> {
        None
    }

    /// How many orderings there are: each is a density of its own, with shared parameters.
    fn orderings(&self) -> usize {
        1
    }

    /// The dimension that comes i-th, as a position in `[H, W, C]`.
    fn dimension(&self, _ordering: usize, i: usize) -> usize {
        i
    }

    /// The parameters of each dimension's distribution given those before it in the ordering: x
    /// `[B, H, W, C]` in `[0, 1]` -> `[B, D K]`, dimensions as in x.
    fn logits<T: Element>(&self, p: &Bound<T>, x: &Var<T>, ordering: usize) -> Var<T>;

    /// The same for images of these classes, one for each: what a conditional model defines
    /// instead.
    fn logits_of<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        _labels: Option<&Arc<[u32]>>,
        ordering: usize,
    ) -> Var<T> {
        self.logits(p, x, ordering)
    }

    /// The model with these parameters, ready to tell one dimension after the other, each at the
    /// cost of what it adds.
    fn ready<'a>(&'a self, p: &Bound<f32>, ordering: usize) -> Box<dyn Ready + 'a>;

    /// The same with all that sampling, completion and coding need to know.
    fn conditionals<'a>(&'a self, p: &Bound<f32>, ordering: usize) -> Box<dyn Conditionals + 'a>
    where
        Self: Sized,
    {
        Box::new(Ordered::new(self, self.ready(p, ordering), ordering))
    }

    /// What a training step minimises, summed over the images, with the ordering it drew: the
    /// exact [`nll`] unless a model has a cheaper estimate of it.
    fn loss(&self, p: &Bound<f32>, batch: &Batch, ordering: usize) -> Var<f32> {
        nll_of(self, p, &batch.images, batch.labels.as_ref(), ordering).sum()
    }

    /// What each layer of attention looks at, the first one first: `[B, heads, T, T]`, from a
    /// token to those it sees, in the order of `[H, W, C]`. None of a model without attention.
    fn attention_maps(
        &self,
        _p: &Bound<f32>,
        _x: &Tensor<f32>,
        _labels: Option<&Arc<[u32]>>,
    ) -> Vec<Tensor<f32>> {
        Vec::new()
    }

    /// How to spread a batch over the cores.
    fn spread(&self, batch_size: usize) -> Spread;
}

/// -log p(x) in nats, `[B]`, for x `[B, H, W, C]`, each number one of the levels.
pub fn nll<T: Element, M: Autoregressive + ?Sized>(
    model: &M,
    p: &Bound<T>,
    x: &Tensor<T>,
    ordering: usize,
) -> Var<T> {
    nll_of(model, p, x, None, ordering)
}

/// [`nll`] given the images' classes, where they have any and the model is conditional:
/// -log p(x | class).
pub fn nll_of<T: Element, M: Autoregressive + ?Sized>(
    model: &M,
    p: &Bound<T>,
    x: &Tensor<T>,
    labels: Option<&Arc<[u32]>>,
    ordering: usize,
) -> Var<T> {
    let logits = model.logits_of(p, &Var::constant(x.clone()), labels, ordering);
    model.pixels().nll(&logits, x)
}

/// An [`Autoregressive`] model as the engine and the command see it.
///
/// With several orderings, a training step uses one of them, drawn anew for each part of a
/// batch, and the likelihood is that of their equal mixture: log p = logsumexp log p_o - log n.
pub struct Density<M>(pub M);

impl<M: Autoregressive> Model for Density<M> {
    fn loss(&self, step: &Step) -> Loss {
        let batch = step.batch;
        let drawn = mix(&[batch.noise.first().copied().unwrap_or(0), word("ordering")]);
        let ordering = (drawn % self.0.orderings() as u64) as usize;
        Loss::nats(self.0.loss(step.p, batch, ordering))
    }

    fn spread(&self, batch_size: usize) -> Spread {
        self.0.spread(batch_size)
    }

    fn classes(&self) -> Option<usize> {
        self.0.classes()
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self)]
    }

    fn sampler(&self) -> Option<&dyn Sampler> {
        Some(self)
    }

    fn completer(&self) -> Option<&dyn Completer> {
        Some(self)
    }

    fn coder(&self) -> Option<&dyn Coder> {
        Some(self)
    }

    fn inspector(&self) -> Option<&dyn Inspector> {
        Some(self)
    }
}

impl<M: Autoregressive> Score for Density<M> {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![ScoreInfo::nats(Kind::Exact)]
    }

    fn of(&self, step: &Step, _ask: &Ask) -> Vec<Vec<f64>> {
        vec![self.nats(step.p, step.batch)]
    }
}

impl<M: Autoregressive> Density<M> {
    /// -log p(x) of each image, in nats: that of the equal mixture of all orderings.
    pub fn nats(&self, p: &Bound<f32>, batch: &Batch) -> Vec<f64> {
        let of_each: Vec<Tensor<f32>> = (0..self.0.orderings())
            .map(|ordering| {
                nll_of(&self.0, p, &batch.images, batch.labels.as_ref(), ordering).into_value()
            })
            .collect();
        if let [nats] = &of_each[..] {
            return nats.data().iter().map(|&nats| f64::from(nats)).collect();
        }
        (0..batch.len())
            .map(|i| {
                let log_p: Vec<f64> = of_each.iter().map(|n| -f64::from(n.data()[i])).collect();
                -log_mean_exp(&log_p)
            })
            .collect()
    }

    /// Draws each image with an ordering of its own, which the seed and its number pick: images
    /// follow the mixture that [`nats`](Self::nats) tells.
    fn draw(&self, p: &Bound<f32>, what: &Draw) -> Tensor<f32> {
        let orderings = self.0.orderings();
        if orderings == 1 {
            return draw(&*self.0.conditionals(p, 0), what);
        }
        let picked = |i: usize| {
            let word = mix(&[what.seed, word("ordering"), i as u64]);
            (word % orderings as u64) as usize
        };
        let spec = self.0.spec();
        let dims = spec.dims();
        let mut images = vec![0.0; what.count * dims];
        for ordering in 0..orderings {
            let which: Vec<usize> = (0..what.count).filter(|&i| picked(i) == ordering).collect();
            if which.is_empty() {
                continue;
            }
            let drawn = draw_of(&*self.0.conditionals(p, ordering), what, &which);
            for (&i, image) in which.iter().zip(drawn.data().chunks_exact(dims)) {
                images[i * dims..][..dims].copy_from_slice(image);
            }
        }
        Tensor::new(spec.shape(what.count), &images)
    }
}

impl<M: Autoregressive> Sampler for Density<M> {
    fn takes(&self) -> Takes {
        Takes::NOTHING.temperature()
    }

    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        let what = Draw {
            count: request.count,
            seed: request.seed,
            classes: &request.classes,
            temperature: request.temperature,
            given: None,
        };
        self.draw(p, &what)
    }
}

impl<M: Autoregressive> Completer for Density<M> {
    fn complete(&self, p: &Bound<f32>, request: &CompletionRequest) -> Tensor<f32> {
        let given = Given {
            images: &request.images,
            known: &request.known,
        };
        let what = Draw {
            count: request.images.shape()[0],
            seed: request.seed,
            classes: &request.classes,
            temperature: request.temperature,
            given: Some(given),
        };
        self.draw(p, &what)
    }
}

impl<M: Autoregressive> Coder for Density<M> {
    /// The orderings.
    fn members(&self) -> usize {
        self.0.orderings()
    }

    /// By the first ordering.
    fn code(
        &self,
        p: &Bound<f32>,
        count: usize,
        classes: Option<&[u32]>,
        level: &mut dyn FnMut(usize, usize, &[f64]) -> u32,
    ) {
        let pixels = self.0.pixels();
        let mut probabilities = vec![0.0; pixels.levels()];
        let top = (pixels.levels() - 1) as f32;
        code(
            &*self.0.conditionals(p, 0),
            count,
            classes,
            |image, d, parameters| {
                pixels.probabilities(parameters, &mut probabilities);
                level(image, d, &probabilities) as f32 / top
            },
        );
    }
}

impl<M: Autoregressive> Inspector for Density<M> {
    fn dimension(&self, i: usize) -> usize {
        self.0.dimension(0, i)
    }

    /// By the first ordering.
    fn prediction(
        &self,
        p: &Bound<f32>,
        x: &Var<f32>,
        labels: Option<&Arc<[u32]>>,
        dimension: usize,
    ) -> Var<f32> {
        let (batch, dims) = (x.shape()[0], self.0.spec().dims());
        let width = self.0.pixels().width();
        let logits = self.0.logits_of(p, x, labels, 0);
        let logits = logits.reshape([batch, dims, width]);
        let own = logits.slice(1, dimension..dimension + 1);
        own.reshape([batch, width])
    }

    fn attention(
        &self,
        p: &Bound<f32>,
        x: &Tensor<f32>,
        labels: Option<&Arc<[u32]>>,
    ) -> Vec<Tensor<f32>> {
        self.0.attention_maps(p, x, labels)
    }
}
