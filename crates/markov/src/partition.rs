//! The partition function of the parameters at hand, once for all images: exact where a machine is
//! small, else estimated from both ends of the path; and the figures that are told of it.

use crate::ais::{self, Annealed};
use crate::exact;
use crate::machine::{Machine, Path};
use grad::Tensor;
use nn::hyper::{Hyper, Hypers, Value};
use nn::model::{Batch, Better, Figure, ImageSource, Kind, NATS, ScoreInfo, SetAsk, Step};
use nn::random::{self, word};

/// How much is spent on an estimate.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Chains, each way.
    pub chains: usize,
    /// Steps of each chain from one end of the path to the other.
    pub temperatures: usize,
    /// Whether all is told of how an estimate came about, and not log Z alone.
    pub told: bool,
}

/// The hyper-parameter [`Effort::chains`].
pub(crate) const CHAINS: Hyper = Hyper {
    name: "ais_chains",
    meaning: "chains of annealed importance sampling, each way, by which `eval` estimates log Z",
    default: Value::Count(512),
};
/// The hyper-parameter [`Effort::temperatures`].
pub(crate) const TEMPERATURES: Hyper = Hyper {
    name: "ais_temperatures",
    meaning: "temperatures that each of these chains passes through; during a training a tenth, with a quarter of the chains",
    default: Value::Count(10_000),
};

impl Effort {
    /// What the hyper-parameters say.
    pub(crate) fn of(hypers: &Hypers) -> Effort {
        Effort {
            chains: hypers.count(CHAINS.name),
            temperatures: hypers.count(TEMPERATURES.name),
            told: true,
        }
    }

    /// The same, or a small part of it for a figure along a training.
    pub(crate) fn when(self, thorough: bool) -> Effort {
        match thorough {
            true => self,
            false => Effort {
                chains: self.chains.div_ceil(4),
                temperatures: self.temperatures.div_ceil(10),
                told: false,
            },
        }
    }
}

/// log Z.
pub enum Partition {
    /// By going through all states of one side.
    Exact(f64),
    /// By annealed importance sampling.
    Estimated {
        /// From the independent units to the machine.
        forward: Annealed,
        /// From the machine to the independent units.
        reverse: Annealed,
        /// With how many chains and temperatures.
        effort: Effort,
    },
}

/// Steps of Gibbs sampling between a training image and the beginning of a chain that walks back.
const BURN_IN: usize = 100;

impl Partition {
    /// Of this machine: base rates `means` `[D]`, and `starts` `[n, D]`, visible units as the data
    /// have them, for the chains that walk back.
    pub fn of(machine: Machine, effort: Effort, means: &[f32], starts: &[f32], seed: u64) -> Self {
        if let Some(log_z) = exact::log_z(&machine) {
            return Partition::Exact(log_z);
        }
        let machine = machine.packed();
        let path = Path::new(&machine, means);
        let betas = ais::schedule(effort.temperatures);
        Partition::Estimated {
            forward: ais::forward(&path, &betas, effort.chains, seed),
            reverse: ais::reverse(&path, &betas, starts, BURN_IN, seed),
            effort,
        }
    }

    /// log Z as the likelihood is told with it.
    pub fn log_z(&self) -> f64 {
        match self {
            Partition::Exact(log_z) => *log_z,
            Partition::Estimated { forward, .. } => forward.log_z,
        }
    }

    /// The columns of [`about`]: energies F(v), or what stands in their place, with log Z added.
    pub(crate) fn columns(&self, energies: &[f64]) -> Vec<Vec<f64>> {
        let with = |log_z: f64| energies.iter().map(|f| f + log_z).collect();
        match self {
            Partition::Exact(log_z) => vec![with(*log_z)],
            Partition::Estimated {
                forward, reverse, ..
            } => vec![with(forward.log_z), with(reverse.log_z)],
        }
    }

    /// What is told beside the likelihood.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let figure = |name, unit, value, standard_error| Figure {
            info: ScoreInfo::metric(name, unit, Better::Neither),
            value,
            standard_error,
        };
        match self {
            Partition::Exact(log_z) => vec![figure("log_z", NATS, *log_z, f64::NAN)],
            Partition::Estimated {
                forward,
                reverse,
                effort,
            } => {
                if !effort.told {
                    let forward = (forward.log_z, forward.standard_error);
                    return vec![figure("log_z_forward", NATS, forward.0, forward.1)];
                }
                // The interval of the two directions together: each by two standard errors.
                let low = forward.log_z - 2.0 * forward.standard_error;
                let high = reverse.log_z + 2.0 * reverse.standard_error;
                let count = |name, unit, n: f64| figure(name, unit, n, f64::NAN);
                vec![
                    figure("log_z_forward", NATS, forward.log_z, forward.standard_error),
                    figure("log_z_reverse", NATS, reverse.log_z, reverse.standard_error),
                    count("log_z_low", NATS, low),
                    count("log_z_high", NATS, high),
                    count("ais_temperatures", "count", effort.temperatures as f64),
                    count("ais_chains", "count", effort.chains as f64),
                    count("ais_chains_that_count_forward", "count", forward.effective),
                    count("ais_chains_that_count_reverse", "count", reverse.effective),
                ]
            }
        }
    }
}

/// The figures of images that a likelihood with such a log Z gives; `told` is what it would be if
/// log Z were known.
pub(crate) fn about(exact: bool, told: Kind) -> Vec<ScoreInfo> {
    if exact {
        return vec![ScoreInfo::nats(told)];
    }
    let reverse = ScoreInfo {
        name: "reverse",
        ..ScoreInfo::nats(Kind::Estimate)
    };
    vec![ScoreInfo::nats(Kind::Estimate), reverse]
}

/// `count` of these images, drawn at random, as rows `[count, D]`; none of no images.
fn some_images(source: &dyn ImageSource, count: usize, seed: u64) -> Batch {
    let mut stream = random::stream(&[seed, word("some images")]);
    let len = source.len() as f64;
    let one = |_| (random::uniform(&mut stream) * len) as u32;
    let indices: Vec<u32> = match source.is_empty() {
        true => Vec::new(),
        false => (0..count).map(one).collect(),
    };
    source.batch(&indices)
}

/// The mean of each visible unit over some training images, and these units: what the chains of
/// annealed importance sampling begin with.
pub(crate) fn beginnings(
    ask: &SetAsk,
    effort: Effort,
    units: impl Fn(&Step) -> Tensor<f32>,
) -> (Vec<f32>, Tensor<f32>) {
    /// Images that base rates are taken from.
    const RATES: usize = 4096;
    let bound = ask.params.constants();
    let tape = grad::Tape::new();
    let draw = |source: &dyn ImageSource, count: usize, seed: u64| {
        let batch = some_images(source, count, seed);
        units(&Step::new(&tape, &bound, &batch))
    };
    let source = if ask.train.is_empty() {
        ask.split
    } else {
        ask.train
    };
    let rates = draw(source, RATES, ask.seed);
    let d = rates.shape()[1];
    let mut means = vec![0.0f32; d];
    for row in rates.data().chunks_exact(d) {
        means
            .iter_mut()
            .zip(row)
            .for_each(|(sum, x)| *sum += x / RATES as f32);
    }
    (means, draw(source, effort.chains, ask.seed.wrapping_add(1)))
}
