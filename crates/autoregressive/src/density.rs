//! What an autoregressive model defines, and what follows from it for all of them: training,
//! likelihood, ensembles over orderings, samples.

use crate::sequential::{Conditionals, Draw, Given, Walk, code, draw, draw_of};
use grad::{Element, Tensor, Var};
use nn::Bound;
use nn::dist::pixels::Pixels;
use nn::model::{
    Ask, Batch, Coder, Completer, CompletionRequest, ImageSpec, Kind, Loss, Model, SampleRequest,
    Sampler, Score, ScoreInfo, Scored, Spread, Step, Takes,
};
use nn::random::{mix, word};
use nn::stats::log_mean_exp;
use std::sync::Arc;

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

    /// The same one dimension after the other, each at the cost of what it adds.
    fn conditionals<'a>(&'a self, p: &Bound<f32>, ordering: usize) -> Box<dyn Conditionals + 'a>;

    /// What a training step minimises, summed over the images, with the ordering it drew: the
    /// exact [`nll`] unless a model has a cheaper estimate of it.
    fn loss(&self, p: &Bound<f32>, batch: &Batch, ordering: usize) -> Var<f32> {
        nll_of(self, p, &batch.images, batch.labels.as_ref(), ordering).sum()
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

/// [`Conditionals`] the slow way: all logits computed anew for each dimension. What the models'
/// own are held against.
pub struct Naive<'a, M> {
    model: &'a M,
    parameters: Vec<Tensor<f32>>,
    ordering: usize,
}

impl<'a, M: Autoregressive> Naive<'a, M> {
    /// The model with these parameters.
    pub fn new(model: &'a M, p: &nn::Params<f32>, ordering: usize) -> Naive<'a, M> {
        let parameters = p.iter().map(|param| param.value.clone()).collect();
        Naive {
            model,
            parameters,
            ordering,
        }
    }
}

impl<M: Autoregressive> Conditionals for Naive<'_, M> {
    fn spec(&self) -> ImageSpec {
        self.model.spec()
    }

    fn dimension(&self, i: usize) -> usize {
        self.model.dimension(self.ordering, i)
    }

    fn classes(&self) -> Option<usize> {
        self.model.classes()
    }

    fn begin(&self, count: usize, classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        let ImageSpec {
            height,
            width,
            channels,
            ..
        } = self.spec();
        Box::new(NaiveWalk {
            of: self,
            p: Bound::from_vars(self.parameters.iter().cloned().map(Var::constant)),
            x: Tensor::zeros([count, height, width, channels]),
            labels: classes.map(Arc::from),
            known: 0,
            row: Vec::new(),
        })
    }

    fn draw(&self, parameters: &[f32], temperature: f32, stream: &mut nn::random::Stream) -> f32 {
        self.model.pixels().draw(parameters, temperature, stream)
    }
}

struct NaiveWalk<'a, M> {
    of: &'a Naive<'a, M>,
    p: Bound<f32>,
    x: Tensor<f32>,
    labels: Option<Arc<[u32]>>,
    known: usize,
    row: Vec<f32>,
}

impl<M: Autoregressive> Walk for NaiveWalk<'_, M> {
    fn conditional(&mut self) -> &[f32] {
        let dims = self.of.spec().dims();
        let d = self.of.dimension(self.known);
        let width = self.of.model.pixels().width();
        let x = Var::constant(self.x.clone());
        let labels = self.labels.as_ref();
        let logits = (self.of.model).logits_of(&self.p, &x, labels, self.of.ordering);
        self.row.clear();
        for row in logits.value().data().chunks_exact(dims * width) {
            self.row.extend_from_slice(&row[d * width..(d + 1) * width]);
        }
        &self.row
    }

    fn fix(&mut self, values: &[f32]) {
        let dims = self.of.spec().dims();
        let d = self.of.dimension(self.known);
        for (image, &value) in self.x.make_mut().chunks_exact_mut(dims).zip(values) {
            image[d] = value;
        }
        self.known += 1;
    }
}
