//! Deep Boltzmann machine of two hidden layers.
//!
//! R. Salakhutdinov and G. Hinton 2009, "Deep Boltzmann machines"; trained jointly and without
//! pretraining by centred gradients: G. Montavon and K.-R. Mueller 2012; J. Melchior, A. Fischer
//! and L. Wiskott 2016.
//!
//! ```text
//! p(v, h1, h2) = e^(v W1 h1 + h1 W2 h2 + b v + c1 h1 + c2 h2) / Z
//! ```
//!
//! The first hidden layer stands between the pixels and the second one, so this is a restricted
//! Boltzmann machine with hidden units h1 and visible units [v, h2], of which the images show v
//! alone. Chains and log Z are those of that machine. What an image does not show is filled in by
//! mean field, which maximises a bound over independent h1 and h2:
//!
//! ```text
//! mu1 = sigmoid(c1 + v W1 + W2 mu2),   mu2 = sigmoid(c2 + mu1 W2), in turn
//! log p(v) >= E_q[log p*(v, h1, h2)] + entropy of q - log Z
//! ```
//!
//! With several draws of h2 an image the bound is that of Burda et al. 2016 instead, h1 summed out.

use crate::layer::weight;
use crate::machine::{Machine, base_rate};
use crate::partition::{self, Effort, Partition, beginnings};
use crate::trainer::{self, Sides, Trainer, Vars};
use crate::{exact, gibbs, noise, pixels};

use grad::kernels::reduce::dot;
use grad::{Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::model::{
    Ask, Built, Chain, Completer, CompletionRequest, Entry, Features, Figure, ImageSpec, Kind,
    Loss, Model, Prepared, Recipe, SampleRequest, Sampler, Score, ScoreInfo, Scored, SetAsk, Setup,
    Spread, Step, Takes,
};
use nn::optim::Optimiser;
use nn::random::word;
use nn::schedule::Schedule;
use nn::stats::log_mean_exp;
use nn::{Bound, Builder, ParamId, Params};

pub(crate) const ENTRY: Entry =
    Entry::new("dbm", "deep Boltzmann machine, two hidden layers", build)
        .paper("Salakhutdinov & Hinton 2009; Montavon & Mueller 2012")
        .hypers(&[
            Hyper {
                name: "hidden",
                meaning: "units of the two hidden layers, from the pixels up",
                default: Value::Counts(&[500, 500]),
            },
            Hyper {
                name: "mean_field",
                meaning: "updates of mean field an image",
                default: Value::Count(10),
            },
            trainer::PERSISTENT,
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
            ("chains", "7"),
            ("ais_chains", "20"),
            ("ais_temperatures", "50"),
        ]);

/// As a restricted Boltzmann machine, at a smaller rate.
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("free_energy", Optimiser::sgd(0.02))
        .schedule(Schedule::Cosine)
        .batch_size(100)
        .epochs(100)
        .ema(0.999)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let mut params = Params::new();
    let hidden = setup.hypers.counts("hidden");
    let &[first, second] = &hidden[..] else {
        let reason = format!("hidden: expected two layers, found {}", hidden.len());
        return Err(setup.hypers.unfit(reason));
    };
    let model = Dbm::new(
        &mut Builder::new(&mut params, setup.seed),
        setup,
        [first, second],
    );
    Ok((Box::new(model), params))
}

/// A deep Boltzmann machine. The values of the parameters live in [`Params`].
pub struct Dbm {
    spec: ImageSpec,
    hidden: [usize; 2],
    /// W1 `[D, H1]` and W2 `[H1, H2]`.
    weights: [ParamId; 2],
    visible_bias: ParamId,
    /// c1 and c2.
    biases: [ParamId; 2],
    mean_field: usize,
    trainer: Trainer,
    effort: Effort,
}

/// Updates of mean field where a bound is told.
const TO_JUDGE: usize = 50;

impl Dbm {
    /// A machine with hidden layers of these sizes for the images of `setup`.
    pub fn new(b: &mut Builder, setup: &Setup, [h1, h2]: [usize; 2]) -> Dbm {
        let d = setup.image.dims();
        let means = setup.data.mean();
        let logits: Vec<f32> = means.iter().copied().map(base_rate).collect();
        let zeros =
            |b: &mut Builder, n: usize| b.param("bias", [n], |shape, _| Tensor::zeros(shape));
        let sides = Sides {
            means: &[means, &vec![0.5; h2]].concat(),
            hidden: h1,
            gaussian: false,
        };
        Dbm {
            spec: setup.image,
            hidden: [h1, h2],
            weights: [
                weight(&mut b.scope("layers.0"), "weight", d, h1),
                weight(&mut b.scope("layers.1"), "weight", h1, h2),
            ],
            visible_bias: b.param("visible_bias", [d], |shape, _| Tensor::new(shape, &logits)),
            biases: [
                zeros(&mut b.scope("layers.0"), h1),
                zeros(&mut b.scope("layers.1"), h2),
            ],
            mean_field: setup.hypers.count("mean_field"),
            trainer: Trainer::new(b, setup, &sides),
            effort: Effort::of(setup.hypers),
        }
    }

    /// W and b of the machine with visible units [v, h2].
    fn joint(&self, p: &Bound<f32>) -> [Var<f32>; 2] {
        let [w1, w2] = self.weights.map(|id| &p[id]);
        [
            Var::concat(&[w1, &w2.transpose()], 0),
            Var::concat(&[&p[self.visible_bias], &p[self.biases[1]]], 0),
        ]
    }

    fn vars<'a>(&self, p: &'a Bound<f32>, [weight, bias]: &'a [Var<f32>; 2]) -> Vars<'a> {
        Vars {
            weight,
            visible_bias: bias,
            hidden_bias: &p[self.biases[0]],
            log_deviations: None,
        }
    }

    /// The machine with visible units [v, h2] that these parameters make.
    pub fn machine(&self, p: &Bound<f32>) -> Machine {
        self.vars(p, &self.joint(p)).machine()
    }

    /// mu2 of each image v `[n, D]` after so many updates, and mu1 from which the last came:
    /// `[n, H1]` and `[n, H2]`.
    pub fn mean_field(&self, p: &Bound<f32>, v: &Tensor<f32>, updates: usize) -> [Tensor<f32>; 2] {
        let [w1, w2] = self.weights.map(|id| Var::constant(p[id].value().clone()));
        let [c1, c2] = self.biases.map(|id| Var::constant(p[id].value().clone()));
        let below = Var::constant(v.clone()).matmul(&w1) + &c1;
        // The second layer begins at what its biases say.
        let n = v.shape()[0];
        let mut mu2 = c2
            .sigmoid()
            .reshape([1, self.hidden[1]])
            .broadcast_to([n, self.hidden[1]]);
        let mut mu1 = below.clone();
        for _ in 0..updates {
            mu1 = (&below + mu2.matmul_with(&w2, false, true)).sigmoid();
            mu2 = (mu1.matmul(&w2) + &c2).sigmoid();
        }
        [mu1.into_value(), mu2.into_value()]
    }

    /// [v, h2] for images and what fills them in, `[n, D + H2]`.
    fn filled(&self, v: &Tensor<f32>, second: &Tensor<f32>) -> Tensor<f32> {
        let parts = [v, second].map(|part| Var::constant(part.clone()));
        Var::concat(&[&parts[0], &parts[1]], 1).into_value()
    }

    /// The pixels of visible units [v, h2].
    fn pixels(&self, units: &[f32]) -> Tensor<f32> {
        let d = self.spec.dims();
        let rows = units.chunks_exact(d + self.hidden[1]);
        pixels::pixels(
            &self.spec,
            rows.flat_map(|row| &row[..d]).copied().collect(),
            false,
        )
    }

    /// The bound on -log p(v) less log Z of each image, by mean field.
    pub fn energies(&self, p: &Bound<f32>, v: &Tensor<f32>) -> Vec<f64> {
        let [mu1, mu2] = self.mean_field(p, v, TO_JUDGE);
        let machine = self.machine(p);
        let filled = self.filled(v, &mu2);
        let mut inputs = vec![0.0; mu1.len()];
        machine.hidden_inputs(filled.data(), &mut inputs);
        let (d, [h1, h2]) = (machine.visible(), self.hidden);
        let rows = (filled.data().chunks_exact(d).zip(inputs.chunks_exact(h1)))
            .zip(mu1.data().chunks_exact(h1).zip(mu2.data().chunks_exact(h2)));
        rows.map(|((visible, inputs), (mu1, mu2))| {
            let energy = dot(machine.visible_bias(), visible) + dot(inputs, mu1);
            -f64::from(energy) - entropy(mu1) - entropy(mu2)
        })
        .collect()
    }

    /// -log of the mean of p*(v, h2) / q(h2) over draws of h2 from mean field, h1 summed out.
    fn drawn_energies(&self, step: &Step, samples: usize) -> Vec<f64> {
        let v = step.batch.rows();
        let [_, mu2] = self.mean_field(step.p, &v, TO_JUDGE);
        let machine = self.machine(step.p);
        let h2 = self.hidden[1];
        let mut streams: Vec<_> = (0..v.shape()[0])
            .map(|i| step.batch.stream(i, word("evaluation")))
            .collect();
        let mut log_weights = vec![Vec::with_capacity(samples); v.shape()[0]];
        for _ in 0..samples {
            let mut draws = mu2.clone();
            noise::bernoulli(draws.make_mut(), h2, &mut streams);
            let energies = machine.free_energy(self.filled(&v, &draws).data());
            let rows = mu2
                .data()
                .chunks_exact(h2)
                .zip(draws.data().chunks_exact(h2));
            for ((list, energy), (mu, draw)) in log_weights.iter_mut().zip(energies).zip(rows) {
                list.push(-energy - log_probability(mu, draw));
            }
        }
        log_weights.iter().map(|list| -log_mean_exp(list)).collect()
    }
}

/// The entropy of independent units that are 1 with these probabilities, in nats.
fn entropy(means: &[f32]) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    means
        .iter()
        .map(|&p| term(f64::from(p)) + term(1.0 - f64::from(p)))
        .sum()
}

/// log of the probability of independent units, 1 with these probabilities, to be as they are.
pub(crate) fn log_probability(means: &[f32], units: &[f32]) -> f64 {
    let units = means.iter().zip(units);
    units
        .map(|(&p, &x)| {
            if x > 0.5 {
                f64::from(p).ln()
            } else {
                (-f64::from(p)).ln_1p()
            }
        })
        .sum()
}

impl Model for Dbm {
    fn loss(&self, step: &Step) -> Loss {
        let v = step.batch.rows();
        let [_, second] = self.mean_field(step.p, &v, self.mean_field);
        let joint = self.joint(step.p);
        // With mu2 in its place, the means of the hidden units are the next mu1.
        self.trainer.loss(
            step,
            &self.vars(step.p, &joint),
            &self.filled(&v, &second),
            1.0,
        )
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

    fn completer(&self) -> Option<&dyn Completer> {
        Some(self)
    }

    fn features(&self) -> Option<&dyn Features> {
        Some(self)
    }
}

impl Score for Dbm {
    fn about(&self) -> Vec<ScoreInfo> {
        let [h1, h2] = self.hidden;
        let small = exact::is_small(self.spec.dims() + h2, h1, false);
        partition::about(small, Kind::UpperBound)
    }

    fn is_stochastic(&self) -> bool {
        true
    }

    fn prepare(&self, ask: &SetAsk) -> Prepared {
        let effort = self.effort.when(ask.thorough);
        let (means, starts) = beginnings(ask, effort, |step| {
            let v = step.batch.rows();
            let [_, mut second] = self.mean_field(step.p, &v, self.mean_field);
            let streams = (0..v.shape()[0]).map(|i| step.batch.stream(i, word("second layer")));
            noise::bernoulli(
                second.make_mut(),
                self.hidden[1],
                &mut streams.collect::<Vec<_>>(),
            );
            self.filled(&v, &second)
        });
        let machine = self.machine(&ask.params.constants());
        Box::new(Partition::of(
            machine,
            effort,
            &means,
            starts.data(),
            ask.seed,
        ))
    }

    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        let energies = match ask.samples {
            0 | 1 => self.energies(step.p, &step.batch.rows()),
            samples => self.drawn_energies(step, samples),
        };
        ask.prepared::<Partition>().columns(&energies)
    }

    fn beside(&self, prepared: &Prepared) -> Vec<Figure> {
        let partition = prepared.downcast_ref::<Partition>();
        partition.map_or(Vec::new(), Partition::figures)
    }
}

impl Sampler for Dbm {
    fn takes(&self) -> Takes {
        gibbs::TAKES
    }

    /// Means of the pixels given the last units of the first hidden layer.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        self.pixels(&gibbs::samples(&self.machine(p).packed(), request))
    }
}

impl Chain for Dbm {
    fn frames(&self, p: &Bound<f32>, request: &SampleRequest, frames: usize) -> Tensor<f32> {
        self.pixels(&gibbs::frames(&self.machine(p).packed(), request, frames))
    }
}

impl Completer for Dbm {
    /// By clamped Gibbs sampling; the second hidden layer is unknown like the missing pixels.
    fn complete(&self, p: &Bound<f32>, request: &CompletionRequest) -> Tensor<f32> {
        let (d, h2) = (self.spec.dims(), self.hidden[1]);
        let rows = request.images.data().chunks_exact(d);
        let given: Vec<f32> = rows
            .flat_map(|row| [row, &vec![0.0; h2]].concat())
            .collect();
        let known = [&request.known[..], &vec![false; h2]].concat();
        let machine = self.machine(p).packed();
        let units = gibbs::complete(&machine, &given, &known, request.seed, gibbs::STEPS);
        pixels::restore(self.pixels(&units), request)
    }
}

impl Features for Dbm {
    fn width(&self) -> usize {
        self.hidden.iter().sum()
    }

    /// mu1 and mu2.
    fn features(&self, step: &Step) -> Tensor<f32> {
        let means = self.mean_field(step.p, &step.batch.rows(), TO_JUDGE);
        let [mu1, mu2] = means.map(Var::constant);
        Var::concat(&[&mu1, &mu2], 1).into_value()
    }
}
