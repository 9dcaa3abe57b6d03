//! Generative stochastic network: a chain that corrupts an image and draws a new one from what the
//! network makes of it, trained so that it comes back to the data.
//!
//! Y. Bengio, E. Laufer, G. Alain and J. Yosinski 2014, "Deep generative stochastic networks
//! trainable by backprop", arXiv:1306.1091; walkback: section 3 and Y. Bengio et al. 2013,
//! arXiv:1305.6663, algorithm 1.
//!
//! ```text
//! x~  = x, each pixel replaced by a fair coin with probability `corruption`
//! h1  = tanh(x~ W1 + h2 W2^T + c1)                  odd layers first, from the layers beside them
//! h2  = tanh(h1 W2 + c2 + noise) + noise            then even ones; noise: N(0, sigma^2)
//! x' ~ Bernoulli(sigmoid(h1 W1^T + b))
//! ```
//!
//! Training walks `walkback` steps from an image and asks each x' to be that image; samples are
//! states of the same chain. There is no likelihood: the chain's stationary distribution is the
//! model. With one hidden layer the chain is one of x alone, whose transition matrix can be written
//! down where images are tiny.

use crate::machine::base_rate;
use crate::noise;
use crate::parzen;
use crate::pixels::{pixels, restore};
use grad::{Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::init::Init;
use nn::model::{
    Ask, Better, Built, Chain, Completer, CompletionRequest, Entry, Features, Figure, ImageSpec,
    Loss, Model, NATS, Preset, Recipe, SampleRequest, Sampler, Score, ScoreInfo, Scored, SetAsk,
    SetScore, Setup, Spread, Step, Takes,
};
use nn::optim::Optimiser;
use nn::random::{self, Stream, word};
use nn::schedule::Schedule;
use nn::{Bound, Builder, ParamId, Params};

pub(crate) const ENTRY: Entry = Entry::new("gsn", "generative stochastic network, a denoising chain with walkback", build)
    .paper("Bengio, Laufer, Alain & Yosinski 2014, arXiv:1306.1091")
    .hypers(&[
        Hyper {
            name: "hidden",
            meaning: "units of the hidden layers, from the pixels up",
            default: Value::Counts(&[500, 500]),
        },
        Hyper {
            name: "walkback",
            meaning: "steps of the chain from each training image",
            default: Value::Count(4),
        },
        Hyper {
            name: "corruption",
            meaning: "probability of a pixel to be replaced by a fair coin before each step",
            default: Value::Number(0.4),
        },
        Hyper {
            name: "sigma",
            meaning: "deviation of the noise before and after the activation of hidden layers above the first",
            default: Value::Number(2.0),
        },
    ])
    .recipe(recipe)
    .presets(&[Preset {
        name: "paper",
        about: "two layers of 1,500 units: nine times the work a step",
        settings: "hypers.hidden = [1500, 1500]",
    }])
    .binary()
    .small(&[("hidden", "12,9"), ("walkback", "2")]);

/// Adam instead of the paper's gradient descent with momentum.
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("denoising", Optimiser::adam(1e-3))
        .schedule(Schedule::Cosine)
        .batch_size(100)
        .epochs(30)
        .ema(0.999)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let corruption = setup.hypers.number("corruption");
    if !(0.0..=1.0).contains(&corruption) {
        let reason = format!("corruption: expected a probability, found {corruption}");
        return Err(setup.hypers.unfit(reason));
    }
    let sigma = setup.hypers.number("sigma");
    if sigma < 0.0 {
        let reason = format!("sigma: expected a deviation of at least 0, found {sigma}");
        return Err(setup.hypers.unfit(reason));
    }
    let mut params = Params::new();
    let model = Gsn::new(&mut Builder::new(&mut params, setup.seed), setup);
    Ok((Box::new(model), params))
}

/// A generative stochastic network. The values of the parameters live in [`Params`].
pub struct Gsn {
    spec: ImageSpec,
    /// Units of each layer, the pixels first.
    sizes: Vec<usize>,
    /// W_l between layers l and l + 1.
    weights: Vec<ParamId>,
    /// A bias for each layer, the pixels' first.
    biases: Vec<ParamId>,
    walkback: usize,
    corruption: f32,
    sigma: f64,
}

/// Where chains are: values of the layers above the pixels, and the streams of the rows.
struct Walkers {
    hidden: Vec<Var<f32>>,
    /// Deviation of the noise of hidden layers.
    sigma: f64,
    streams: Vec<Stream>,
}

impl Gsn {
    /// A network for the images and the hyper-parameters of `setup`.
    pub fn new(b: &mut Builder, setup: &Setup) -> Gsn {
        let hypers = setup.hypers;
        let sizes = [vec![setup.image.dims()], hypers.counts("hidden")].concat();
        // Upper layers begin as if they were not there: their noise would else drown the images.
        let weight = |b: &mut Builder, l: usize| {
            let init = match l {
                0 => Init::FanIn,
                _ => Init::Normal {
                    mean: 0.0,
                    std: 0.005,
                },
            };
            let shape = [sizes[l], sizes[l + 1]];
            b.scope(l)
                .param("weight", shape, |shape, stream| init.draw(shape, stream))
        };
        let bias =
            |b: &mut Builder, n: usize| b.param("bias", [n], |shape, _| Tensor::zeros(shape));
        let layers = sizes.len() - 1;
        let mut b = b.scope("layers");
        let weights = (0..layers).map(|l| weight(&mut b, l)).collect();
        // Logits of -3 are far away for an optimiser that goes 0.001 a step.
        let rates: Vec<f32> = setup.data.mean().iter().copied().map(base_rate).collect();
        let visible = b.param("visible_bias", [sizes[0]], |shape, _| {
            Tensor::new(shape, &rates)
        });
        let mut biases = vec![visible];
        biases.extend((0..layers).map(|l| bias(&mut b.scope(l), sizes[l + 1])));
        Gsn {
            spec: setup.image,
            weights,
            biases,
            sizes,
            walkback: hypers.count("walkback"),
            corruption: hypers.number("corruption") as f32,
            sigma: hypers.number("sigma"),
        }
    }

    /// Chains whose hidden layers are 0.
    fn begin(&self, streams: Vec<Stream>) -> Walkers {
        let zeros = |&n: &usize| Var::constant(Tensor::zeros([streams.len(), n]));
        Walkers {
            sigma: self.sigma,
            hidden: self.sizes[1..].iter().map(zeros).collect(),
            streams,
        }
    }

    /// Images with some pixels replaced by coins, `[n, D]`.
    fn corrupt(&self, x: &Tensor<f32>, streams: &mut [Stream]) -> Tensor<f32> {
        let d = self.sizes[0];
        let mut replaced = vec![self.corruption; x.len()];
        noise::bernoulli(&mut replaced, d, streams);
        let mut coins = vec![0.5; x.len()];
        noise::bernoulli(&mut coins, d, streams);
        Tensor::from_fn(*x.shape(), |i| {
            if replaced[i] > 0.5 {
                coins[i]
            } else {
                x.data()[i]
            }
        })
    }

    /// Logits of the next image of each chain for corrupted images `[n, D]`: `[n, D]`.
    fn walk(&self, p: &Bound<f32>, corrupted: &Tensor<f32>, at: &mut Walkers) -> Var<f32> {
        let layers = self.weights.len();
        let corrupted = Var::constant(corrupted.clone());
        // hidden[l - 1] is layer l.
        let odd = (1..=layers).step_by(2);
        for l in odd.chain((2..=layers).step_by(2)) {
            let below = if l == 1 {
                &corrupted
            } else {
                &at.hidden[l - 2]
            };
            let mut a = below.matmul(&p[self.weights[l - 1]]) + &p[self.biases[l]];
            if l < layers {
                a = a + at.hidden[l].matmul_with(&p[self.weights[l]], false, true);
            }
            let noisy = l > 1 && at.sigma > 0.0;
            at.hidden[l - 1] = match noisy {
                false => a.tanh(),
                true => {
                    let before = self.noise(at, l);
                    let after = self.noise(at, l);
                    (a + before).tanh() + after
                }
            };
        }
        at.hidden[0].matmul_with(&p[self.weights[0]], false, true) + &p[self.biases[0]]
    }

    fn noise(&self, at: &mut Walkers, layer: usize) -> Var<f32> {
        let n = self.sizes[layer];
        let sigma = at.sigma;
        Var::constant(Tensor::build([at.streams.len(), n], |out| {
            for (row, stream) in out.chunks_exact_mut(n).zip(&mut at.streams) {
                row.fill_with(|| (sigma * random::normal(stream)) as f32);
            }
        }))
    }

    /// The probability of each pixel of the next image to be 1, for corrupted images `[n, D]` and
    /// hidden layers that are 0: `[n, D]`. With one hidden layer it is all that the chain does
    /// after corruption.
    pub fn next_means(&self, p: &Bound<f32>, corrupted: &Tensor<f32>, seed: u64) -> Tensor<f32> {
        let streams = noise::streams(&[seed, word("next")], 0, corrupted.shape()[0]);
        self.walk(p, corrupted, &mut self.begin(streams))
            .sigmoid()
            .into_value()
    }

    /// One step of the chain from images x `[n, D]`: means of the next images.
    fn step(&self, p: &Bound<f32>, x: &Tensor<f32>, at: &mut Walkers) -> Tensor<f32> {
        let corrupted = self.corrupt(x, &mut at.streams);
        self.walk(p, &corrupted, at).sigmoid().into_value()
    }

    fn draw(&self, means: &Tensor<f32>, at: &mut Walkers) -> Tensor<f32> {
        let mut draws = means.clone();
        noise::bernoulli(draws.make_mut(), self.sizes[0], &mut at.streams);
        draws
    }

    /// Means of the image of each chain at each of `frames`, `steps` steps apart, the first after
    /// `first` steps: frame by frame `[count, D]`.
    fn chain_means(
        &self,
        p: &Bound<f32>,
        request: &SampleRequest,
        [first, steps, frames]: [usize; 3],
    ) -> Vec<Tensor<f32>> {
        let streams = noise::streams(&[request.seed, word("chain")], 0, request.count);
        let mut at = self.begin(streams);
        let coins = Tensor::full([request.count, self.sizes[0]], 0.5);
        let mut x = self.draw(&coins, &mut at);
        let mut seen = Vec::with_capacity(frames);
        for n in 1..=first + steps * frames.saturating_sub(1) {
            let means = self.step(p, &x, &mut at);
            x = self.draw(&means, &mut at);
            if n >= first && (n - first).is_multiple_of(steps) {
                seen.push(means);
            }
        }
        seen
    }

    fn start(&self, step: &Step, purpose: &str) -> (Tensor<f32>, Walkers) {
        let streams = (0..step.batch.len()).map(|i| step.batch.stream(i, word(purpose)));
        (step.batch.rows(), self.begin(streams.collect()))
    }
}

/// Steps before a sample unless told otherwise.
const STEPS: usize = 200;

impl Model for Gsn {
    fn loss(&self, step: &Step) -> Loss {
        let (x, mut at) = self.start(step, "walkback");
        let target = Var::constant(x.clone());
        let mut state = x;
        let mut sums: Vec<Var<f32>> = Vec::with_capacity(self.walkback);
        for n in 0..self.walkback {
            let corrupted = self.corrupt(&state, &mut at.streams);
            let logits = self.walk(step.p, &corrupted, &mut at);
            sums.push(logits.bce_with_logits_sum_rows(&target).sum());
            if n + 1 < self.walkback {
                // Where the chain goes from here is data for the next step: no gradient.
                state = self.draw(&logits.sigmoid().into_value(), &mut at);
            }
        }
        let first = f64::from(sums[0].item());
        let steps = sums.len() as f64;
        let sum = sums
            .into_iter()
            .reduce(|a, b| a + b)
            .expect("a chain has a step");
        Loss::of(sum.scale(1.0 / steps)).with("first_step", first)
    }

    fn spread(&self, batch_size: usize) -> Spread {
        Spread::Lanes(batch_size.div_ceil(2).clamp(1, 64))
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self), Scored::Set(self)]
    }

    fn sampler(&self) -> Option<&dyn Sampler> {
        Some(self)
    }

    fn chain(&self) -> Option<&dyn Chain> {
        Some(self)
    }

    fn completer(&self) -> Option<&dyn Completer> {
        Some(self)
    }

    fn features(&self) -> Option<&dyn Features> {
        Some(self)
    }
}

impl Score for Gsn {
    /// The cross entropy of an image and what the chain makes of it, over the steps of walkback:
    /// what training minimises, and no likelihood.
    fn about(&self) -> Vec<ScoreInfo> {
        vec![ScoreInfo::metric("denoising", NATS, Better::Lower)]
    }

    fn is_stochastic(&self) -> bool {
        true
    }

    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        let mut column = vec![0.0; step.batch.len()];
        let samples = ask.samples.max(1);
        for k in 0..samples {
            let (x, mut at) = self.start(step, &format!("evaluation {k}"));
            let target = Var::constant(x.clone());
            let mut state = x;
            for _ in 0..self.walkback {
                let corrupted = self.corrupt(&state, &mut at.streams);
                let logits = self.walk(step.p, &corrupted, &mut at);
                let nats = logits.bce_with_logits_sum_rows(&target);
                for (sum, &nats) in column.iter_mut().zip(nats.value().data()) {
                    *sum += f64::from(nats) / (samples * self.walkback) as f64;
                }
                state = self.draw(&logits.sigmoid().into_value(), &mut at);
            }
        }
        vec![column]
    }
}

impl SetScore for Gsn {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![parzen::INFO]
    }

    fn of(&self, ask: &SetAsk) -> Vec<Figure> {
        parzen::figure(self, ask)
    }
}

impl Sampler for Gsn {
    fn takes(&self) -> Takes {
        Takes::NOTHING.steps(STEPS)
    }

    /// Means of the pixels after the steps of each chain, which begins with coins.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        let steps = request.steps.unwrap_or(STEPS);
        let means = self.chain_means(p, request, [steps, 1, 1]);
        pixels(&self.spec, means[0].data().to_vec(), false)
    }
}

impl Chain for Gsn {
    fn frames(&self, p: &Bound<f32>, request: &SampleRequest, frames: usize) -> Tensor<f32> {
        let steps = request.steps.unwrap_or(1);
        let seen = self.chain_means(p, request, [STEPS, steps, frames]);
        let d = self.sizes[0];
        let rows = (0..request.count).flat_map(|chain| {
            seen.iter()
                .flat_map(move |means| &means.data()[chain * d..][..d])
        });
        pixels(&self.spec, rows.copied().collect(), false)
    }
}

impl Completer for Gsn {
    /// The chain with the known pixels put back before every step: section 3.4 of the paper.
    fn complete(&self, p: &Bound<f32>, request: &CompletionRequest) -> Tensor<f32> {
        let (d, given) = (self.sizes[0], request.images.data());
        let count = given.len() / d;
        let mut at = self.begin(noise::streams(
            &[request.seed, word("completion")],
            0,
            count,
        ));
        let mut x = self.draw(&Tensor::full([count, d], 0.5), &mut at);
        let clamp = |x: &Tensor<f32>| {
            let one = |i: usize| {
                if request.known[i % d] {
                    given[i]
                } else {
                    x.data()[i]
                }
            };
            Tensor::from_fn(*x.shape(), one)
        };
        for _ in 0..STEPS {
            let means = self.step(p, &clamp(&x), &mut at);
            x = self.draw(&means, &mut at);
        }
        restore(pixels(&self.spec, x.data().to_vec(), false), request)
    }
}

impl Features for Gsn {
    fn width(&self) -> usize {
        self.sizes[1..].iter().sum()
    }

    /// The hidden layers of a step from the image as it is, without noise.
    fn features(&self, step: &Step) -> Tensor<f32> {
        let (x, mut at) = self.start(step, "features");
        at.sigma = 0.0;
        self.walk(step.p, &x, &mut at);
        Var::concat(&at.hidden.iter().collect::<Vec<_>>(), 1).into_value()
    }
}
