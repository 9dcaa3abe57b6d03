//! Restricted Boltzmann machine.
//!
//! P. Smolensky 1986; G. E. Hinton 2002, "Training products of experts by minimizing contrastive
//! divergence"; persistent chains: T. Tieleman 2008; Gaussian visible units with a deviation each:
//! K. Cho, A. Ilin and T. Raiko 2011.
//!
//! ```text
//! p(v, h) = e^(v W h + b v + c h) / Z          v: pixels, h: hidden units, all in {0, 1}
//! -log p(v) = F(v) + log Z,   F(v) = -b v - sum_j log(1 + e^(c_j + (v W)_j))
//! ```
//!
//! `visible=gaussian` takes grey levels: see [`Machine`] for the energy. log Z comes from the
//! [partition function](crate::Partition) of the parameters.

use crate::gibbs;
use crate::layer::Layer;
use crate::machine::Machine;
use crate::partition::{self, Effort, Partition, beginnings};
use crate::{exact, pixels, trainer};
use grad::Tensor;
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::{
    Accepts, Ask, Built, Chain, Completer, CompletionRequest, Entry, Features, Figure, ImageSpec,
    Kind, Loss, Model, Prepared, Recipe, SampleRequest, Sampler, Score, ScoreInfo, Scored, SetAsk,
    Setup, Spread, Step, Takes,
};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Bound, Builder, Params};

pub(crate) const ENTRY: Entry = Entry::new("rbm", "restricted Boltzmann machine", build)
    .paper("Smolensky 1986; Hinton 2002; Tieleman 2008")
    .hypers(&[
        Hyper {
            name: "hidden",
            meaning: "hidden units",
            default: Value::Count(500),
        },
        Hyper {
            name: "visible",
            meaning: "units in {0, 1}, or Gaussian ones for grey levels",
            default: Value::Choice(&["binary", "gaussian"]),
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
    .accepts(accepts)
    .small(&[
        ("hidden", "8"),
        ("chains", "7"),
        ("ais_chains", "20"),
        ("ais_temperatures", "50"),
    ]);

fn accepts(hypers: &Hypers) -> Accepts {
    match hypers.choice("visible") {
        "gaussian" => Accepts::Levels,
        _ => Accepts::Binary,
    }
}

/// Gradient descent, which the centred gradient is made for, at a rate that falls to 0; the
/// average of the parameters is evaluated.
fn recipe(setup: &Setup) -> Recipe {
    let lr = match setup.hypers.choice("visible") {
        "gaussian" => 0.005,
        _ => 0.05,
    };
    Recipe::new("free_energy", Optimiser::sgd(lr))
        .schedule(Schedule::Cosine)
        .batch_size(100)
        .epochs(100)
        .ema(0.999)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let mut params = Params::new();
    let model = Rbm::new(&mut Builder::new(&mut params, setup.seed), setup);
    Ok((Box::new(model), params))
}

/// A restricted Boltzmann machine. The values of the parameters live in [`Params`].
pub struct Rbm {
    spec: ImageSpec,
    layer: Layer,
    effort: Effort,
}

impl Rbm {
    /// A machine for the images and the hyper-parameters of `setup`. Visible biases begin as the
    /// base rates of the pixels.
    pub fn new(b: &mut Builder, setup: &Setup) -> Rbm {
        let hypers = setup.hypers;
        let gaussian = hypers.choice("visible") == "gaussian";
        let deviations = gaussian.then(|| deviations(setup));
        let hidden = hypers.count("hidden");
        Rbm {
            spec: setup.image,
            layer: Layer::new(b, setup, setup.data.mean(), deviations, hidden),
            effort: Effort::of(hypers),
        }
    }

    /// The machine that these parameters make.
    pub fn machine(&self, p: &Bound<f32>) -> Machine {
        self.layer.machine(p)
    }

    fn is_gaussian(&self) -> bool {
        self.layer.log_deviations.is_some()
    }

    fn units(&self, step: &Step) -> Tensor<f32> {
        pixels::units(&self.spec, step.batch, self.is_gaussian())
    }

    fn pixels(&self, units: Vec<f32>) -> Tensor<f32> {
        pixels::pixels(&self.spec, units, self.is_gaussian())
    }

    fn is_exact(&self) -> bool {
        exact::is_small(self.spec.dims(), self.layer.sizes[1], self.is_gaussian())
    }
}

/// The smallest standard deviation of a Gaussian unit, in shares of the range of a pixel: pixels
/// that never change would else have a density without bounds.
const SMALLEST: f32 = 0.02;

/// The standard deviation of each pixel over the first training images; half of what is known
/// where none are at hand.
fn deviations(setup: &Setup) -> Vec<f32> {
    let d = setup.image.dims();
    let Some(batch) = setup.data.first(2048) else {
        return vec![0.5; d];
    };
    let means = setup.data.mean();
    let mut squares = vec![0.0f32; d];
    for image in batch.images.data().chunks_exact(d) {
        for ((sum, x), mean) in squares.iter_mut().zip(image).zip(means) {
            *sum += (x - mean).powi(2);
        }
    }
    let n = batch.len() as f32;
    squares
        .iter()
        .map(|sum| (sum / n).sqrt().max(2.0 * SMALLEST))
        .collect()
}

impl Model for Rbm {
    fn loss(&self, step: &Step) -> Loss {
        self.layer.loss(step, &self.units(step), 1.0)
    }

    /// Keeps deviations above the smallest that is allowed.
    fn after_update(&self, _phase: usize, _step: u64, params: &mut Params<f32>) {
        if let Some(id) = self.layer.log_deviations {
            let log = params.get_mut(id).value.make_mut();
            log.iter_mut().for_each(|log| *log = log.max(SMALLEST.ln()));
        }
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

impl Score for Rbm {
    fn about(&self) -> Vec<ScoreInfo> {
        let told = match self.is_gaussian() {
            true => Kind::UpperBound,
            false => Kind::Exact,
        };
        partition::about(self.is_exact(), told)
    }

    fn prepare(&self, ask: &SetAsk) -> Prepared {
        let machine = self.machine(&ask.params.constants());
        let effort = self.effort.when(ask.thorough);
        let (means, starts) = beginnings(ask, effort, |step| self.units(step));
        Box::new(Partition::of(
            machine,
            effort,
            &means,
            starts.data(),
            ask.seed,
        ))
    }

    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        let mut energies = self.machine(step.p).free_energy(self.units(step).data());
        if self.is_gaussian() {
            let levels = self.spec.dims() as f64 * (self.spec.levels as f64).ln();
            energies.iter_mut().for_each(|f| *f += levels);
        }
        ask.prepared::<Partition>().columns(&energies)
    }

    fn beside(&self, prepared: &Prepared) -> Vec<Figure> {
        let partition = prepared.downcast_ref::<Partition>();
        partition.map_or(Vec::new(), Partition::figures)
    }
}

impl Sampler for Rbm {
    fn takes(&self) -> Takes {
        gibbs::TAKES
    }

    /// Means of the pixels given the last hidden units: probabilities of binary pixels.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        self.pixels(gibbs::samples(&self.machine(p).packed(), request))
    }
}

impl Chain for Rbm {
    fn frames(&self, p: &Bound<f32>, request: &SampleRequest, frames: usize) -> Tensor<f32> {
        self.pixels(gibbs::frames(&self.machine(p).packed(), request, frames))
    }
}

impl Completer for Rbm {
    fn complete(&self, p: &Bound<f32>, request: &CompletionRequest) -> Tensor<f32> {
        let unit = |&pixel: &f32| pixels::middle(&self.spec, pixel, self.is_gaussian());
        let given: Vec<f32> = request.images.data().iter().map(unit).collect();
        let (machine, steps) = (self.machine(p).packed(), gibbs::STEPS);
        let units = gibbs::complete(&machine, &given, &request.known, request.seed, steps);
        pixels::restore(self.pixels(units), request)
    }
}

impl Features for Rbm {
    fn width(&self) -> usize {
        self.layer.sizes[1]
    }

    /// p(h = 1 | v).
    fn features(&self, step: &Step) -> Tensor<f32> {
        let means = self.machine(step.p).hidden_means(self.units(step).data());
        Tensor::new([step.batch.len(), self.layer.sizes[1]], &means)
    }
}
