//! Deep belief network.
//!
//! G. E. Hinton, S. Osindero and Y. W. Teh 2006, "A fast learning algorithm for deep belief nets";
//! its likelihood: R. Salakhutdinov and I. Murray 2008, section 5.
//!
//! ```text
//! p(v, h1, .., hL) = p(v | h1) .. p(h_(L-2) | h_(L-1)) p_top(h_(L-1), hL)
//! q(h1, .., h_(L-1) | v) = q(h1 | v) q(h2 | h1) ..
//!
//! log p(v) >= E_q[log p(v | h1) - log q(h1 | v) + .. - F_top(h_(L-1))] - log Z_top
//! ```
//!
//! Each layer is a restricted Boltzmann machine; the one on top stays one, of those below only the
//! way down is left, and the way up guesses the hidden units. Layers are trained one after
//! another, each on draws that those below make of the images, for an equal share of the run
//! ([`Step::done`]) and with a learning rate that falls to 0 within it. Or all are
//! trained in each step, which then does not depend on how long the run is.

use crate::dbm::log_probability;
use crate::layer::Layer;
use crate::partition::{self, Effort, Partition, beginnings};
use crate::{exact, gibbs, noise, pixels, trainer};
use grad::kernels::elementwise::{Unary, unary_in_place};
use grad::{Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::model::{
    Ask, Batch, Built, Chain, Entry, Features, Figure, ImageSpec, Kind, Loss, Model, Phase,
    Prepared, Recipe, SampleRequest, Sampler, Score, ScoreInfo, Scored, SetAsk, Setup, Spread,
    Step, Takes,
};
use nn::optim::Optimiser;
use nn::random::{Stream, word};
use nn::schedule::Schedule;
use nn::stats::log_mean_exp;
use nn::{Bound, Builder, Params};

pub(crate) const ENTRY: Entry =
    Entry::new("dbn", "deep belief network, trained layer by layer", build)
        .paper("Hinton, Osindero & Teh 2006; Salakhutdinov & Murray 2008")
        .hypers(&[
            Hyper {
                name: "hidden",
                meaning: "units of the hidden layers, from the pixels up",
                default: Value::Counts(&[500, 1000]),
            },
            Hyper {
            name: "order",
            meaning: "layers one after another, each for an equal share of the run (greedy), or all in each step, upper ones on what lower ones make so far (joint)",
            default: Value::Choice(&["greedy", "joint"]),
        },
        trainer::ALGORITHM,
            trainer::STEPS,
            trainer::CHAINS,
            trainer::REPLICAS,
            trainer::CENTRING,
            partition::CHAINS,
            partition::TEMPERATURES,
        ])
        .recipe(recipe)
        .binary()
        .small(&[
            ("hidden", "8,5"),
        // What a step of a greedy run does depends on how long the run is.
        ("order", "joint"),
            ("chains", "7"),
            ("ais_chains", "20"),
            ("ais_temperatures", "50"),
        ]);

/// What the phases of the layers are called, and where their parameters are.
const LAYERS: [[&str; 2]; 6] = [
    ["layer_0", "layers.0."],
    ["layer_1", "layers.1."],
    ["layer_2", "layers.2."],
    ["layer_3", "layers.3."],
    ["layer_4", "layers.4."],
    ["layer_5", "layers.5."],
];

/// As a restricted Boltzmann machine for each layer.
fn recipe(setup: &Setup) -> Recipe {
    let layers = setup.hypers.counts("hidden").len().min(LAYERS.len());
    let phase =
        |[name, prefix]: [&'static str; 2]| Phase::new(name, Optimiser::sgd(0.05)).of(prefix);
    Recipe::of(LAYERS[..layers].iter().copied().map(phase).collect())
        .schedule(Schedule::Constant)
        .batch_size(100)
        .epochs(100)
        .ema(0.999)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let mut params = Params::new();
    let hidden = setup.hypers.counts("hidden");
    if hidden.len() > LAYERS.len() {
        let most = LAYERS.len();
        let reason = format!(
            "hidden: expected at most {most} layers, found {}",
            hidden.len()
        );
        return Err(setup.hypers.unfit(reason));
    }
    let model = Dbn::new(&mut Builder::new(&mut params, setup.seed), setup, &hidden);
    Ok((Box::new(model), params))
}

/// A deep belief network. The values of the parameters live in [`Params`].
pub struct Dbn {
    spec: ImageSpec,
    layers: Vec<Layer>,
    /// Whether all layers are trained in each step.
    joint: bool,
    effort: Effort,
}

impl Dbn {
    /// A network with hidden layers of these sizes for the images of `setup`.
    pub fn new(b: &mut Builder, setup: &Setup, hidden: &[usize]) -> Dbn {
        let mut means = setup.data.mean().to_vec();
        let mut layers = Vec::new();
        for (l, &h) in hidden.iter().enumerate() {
            let mut b = b.scope("layers");
            layers.push(Layer::new(&mut b.scope(l), setup, &means, None, h));
            means = vec![0.5; h];
        }
        Dbn {
            spec: setup.image,
            layers,
            joint: setup.hypers.choice("order") == "joint",
            effort: Effort::of(setup.hypers),
        }
    }

    /// Which layer is trained with the share `done` of the run behind it, and the share of its own
    /// time that is behind it.
    fn place(&self, done: f64) -> (usize, f64) {
        let at = done.clamp(0.0, 1.0) * self.layers.len() as f64;
        let layer = (at as usize).min(self.layers.len() - 1);
        (layer, at - layer as f64)
    }

    fn top(&self) -> &Layer {
        self.layers.last().expect("a network has a layer")
    }

    /// Draws of the visible units of layer `to` for these images, with the log-probability of the
    /// draws less that of the way back: `[B, D]` and `[B]`.
    fn up(
        &self,
        p: &Bound<f32>,
        batch: &Batch,
        to: usize,
        purpose: u64,
    ) -> (Tensor<f32>, Vec<f64>) {
        let mut units = batch.rows();
        let mut log_ratio = vec![0.0; batch.len()];
        let mut streams: Vec<Stream> = (0..batch.len()).map(|i| batch.stream(i, purpose)).collect();
        for layer in &self.layers[..to] {
            let machine = layer.machine(p);
            let [d, h] = layer.sizes;
            let means = machine.hidden_means(units.data());
            let mut draws = means.clone();
            noise::bernoulli(&mut draws, h, &mut streams);
            let mut logits = vec![0.0; units.len()];
            machine.visible_inputs(&draws, &mut logits);
            let rows = means.chunks_exact(h).zip(draws.chunks_exact(h));
            for (ratio, (means, draws)) in log_ratio.iter_mut().zip(rows) {
                *ratio += log_probability(means, draws);
            }
            let logits = Var::constant(Tensor::new([batch.len(), d], &logits));
            let nll = logits.bce_with_logits_sum_rows(&Var::constant(units));
            for (ratio, &nll) in log_ratio.iter_mut().zip(nll.value().data()) {
                *ratio += f64::from(nll);
            }
            units = Tensor::new([batch.len(), h], &draws);
        }
        (units, log_ratio)
    }

    /// Means of the pixels for means of the top layer's visible units, `[n, ..]`, by draws of the
    /// layers between.
    fn down(&self, p: &Bound<f32>, mut means: Vec<f32>, seed: u64) -> Tensor<f32> {
        let count = means.len() / self.top().sizes[0];
        let mut streams = noise::streams(&[seed, word("way down")], 0, count);
        for layer in self.layers.iter().rev().skip(1) {
            let [d, h] = layer.sizes;
            noise::bernoulli(&mut means, h, &mut streams);
            let mut inputs = vec![0.0; count * d];
            layer.machine(p).visible_inputs(&means, &mut inputs);
            unary_in_place(Unary::Sigmoid, &mut inputs);
            means = inputs;
        }
        pixels::pixels(&self.spec, means, false)
    }
}

impl Model for Dbn {
    fn loss(&self, step: &Step) -> Loss {
        let (_, done) = self.place(step.done);
        let rate = match self.joint {
            true => 1.0,
            false => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        };
        let (units, _) = self.up(step.p, step.batch, step.phase, word("way up"));
        self.layers[step.phase].loss(step, &units, rate)
    }

    fn takes_part(&self, phase: usize, _step: u64, done: f64) -> bool {
        self.joint || self.place(done).0 == phase
    }

    fn spread(&self, batch_size: usize) -> Spread {
        Spread::Lanes(batch_size.div_ceil(2).clamp(1, 64))
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self)]
    }

    fn sampler(&self) -> Option<&dyn Sampler> {
        Some(self)
    }

    fn chain(&self) -> Option<&dyn Chain> {
        Some(self)
    }

    fn features(&self) -> Option<&dyn Features> {
        Some(self)
    }
}

impl Score for Dbn {
    fn about(&self) -> Vec<ScoreInfo> {
        let [d, h] = self.top().sizes;
        let told = match self.layers.len() {
            1 => Kind::Exact,
            _ => Kind::UpperBound,
        };
        partition::about(exact::is_small(d, h, false), told)
    }

    fn is_stochastic(&self) -> bool {
        self.layers.len() > 1
    }

    fn prepare(&self, ask: &SetAsk) -> Prepared {
        let effort = self.effort.when(ask.thorough);
        let below = self.layers.len() - 1;
        let (means, starts) = beginnings(ask, effort, |step| {
            self.up(step.p, step.batch, below, word("beginnings")).0
        });
        let machine = self.top().machine(&ask.params.constants());
        Box::new(Partition::of(
            machine,
            effort,
            &means,
            starts.data(),
            ask.seed,
        ))
    }

    /// With several draws an image, the mean of p*(v, h) / q(h | v) over them is a tighter bound
    /// (Burda et al. 2016).
    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        let samples = if self.is_stochastic() {
            ask.samples.max(1)
        } else {
            1
        };
        let top = self.top().machine(step.p);
        let mut log_weights = vec![Vec::with_capacity(samples); step.batch.len()];
        for k in 0..samples {
            let purpose = word("evaluation").wrapping_add(k as u64);
            let (units, ratios) = self.up(step.p, step.batch, self.layers.len() - 1, purpose);
            let energies = top.free_energy(units.data());
            for ((list, ratio), energy) in log_weights.iter_mut().zip(ratios).zip(energies) {
                list.push(-ratio - energy);
            }
        }
        let energies: Vec<f64> = log_weights.iter().map(|list| -log_mean_exp(list)).collect();
        ask.prepared::<Partition>().columns(&energies)
    }

    fn beside(&self, prepared: &Prepared) -> Vec<Figure> {
        let partition = prepared.downcast_ref::<Partition>();
        partition.map_or(Vec::new(), Partition::figures)
    }
}

impl Sampler for Dbn {
    fn takes(&self) -> Takes {
        gibbs::TAKES
    }

    /// Chains of the top machine, then the way down: means of the pixels given the layer above.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        let means = gibbs::samples(&self.top().machine(p).packed(), request);
        self.down(p, means, request.seed)
    }
}

impl Chain for Dbn {
    fn frames(&self, p: &Bound<f32>, request: &SampleRequest, frames: usize) -> Tensor<f32> {
        let means = gibbs::frames(&self.top().machine(p).packed(), request, frames);
        self.down(p, means, request.seed)
    }
}

impl Features for Dbn {
    fn width(&self) -> usize {
        self.layers.iter().map(|layer| layer.sizes[1]).sum()
    }

    /// The means of each layer's hidden units, given those of the layer below.
    fn features(&self, step: &Step) -> Tensor<f32> {
        let n = step.batch.len();
        let mut means = step.batch.rows().data().to_vec();
        let mut layers = Vec::new();
        for layer in &self.layers {
            means = layer.machine(step.p).hidden_means(&means);
            layers.push(Var::constant(Tensor::new([n, layer.sizes[1]], &means)));
        }
        Var::concat(&layers.iter().collect::<Vec<_>>(), 1).into_value()
    }
}
