//! How a model is trained.

use crate::optim::Optimiser;
use crate::schedule::Schedule;

/// A part of a training step with its own loss, parameters and optimiser: one for most models,
/// two for a GAN.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Phase {
    /// What metrics call it.
    pub name: &'static str,
    /// It trains the parameters whose names begin so; all of them if empty.
    pub prefix: &'static str,
    /// How.
    pub optimiser: Optimiser,
}

impl Phase {
    /// A phase that trains all parameters.
    pub const fn new(name: &'static str, optimiser: Optimiser) -> Phase {
        Phase {
            name,
            prefix: "",
            optimiser,
        }
    }

    /// The same for the parameters whose names begin so.
    pub const fn of(self, prefix: &'static str) -> Phase {
        Phase { prefix, ..self }
    }
}

/// How a model is trained unless the user says otherwise: the paper's figures.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
    /// Epochs between two evaluations of scores that judge a whole set of samples.
    pub judge_every: usize,
}

impl Recipe {
    /// One phase for all parameters, at a constant rate: batches of 128, 30 epochs.
    pub fn new(name: &'static str, optimiser: Optimiser) -> Recipe {
        Recipe::of(vec![Phase::new(name, optimiser)])
    }

    /// These phases, in the order they run within a step.
    pub fn of(phases: Vec<Phase>) -> Recipe {
        Recipe {
            phases,
            schedule: Schedule::Constant,
            batch_size: 128,
            epochs: 30,
            clip_norm: None,
            ema: None,
            judge_every: 1,
        }
    }

    /// The same with another schedule.
    pub fn schedule(self, schedule: Schedule) -> Recipe {
        Recipe { schedule, ..self }
    }

    /// The same with so many images a step.
    pub fn batch_size(self, batch_size: usize) -> Recipe {
        Recipe { batch_size, ..self }
    }

    /// The same with so many passes over the training split.
    pub fn epochs(self, epochs: usize) -> Recipe {
        Recipe { epochs, ..self }
    }

    /// The same with gradients clipped to this norm.
    pub fn clip_norm(self, norm: f32) -> Recipe {
        let clip_norm = Some(norm);
        Recipe { clip_norm, ..self }
    }

    /// The same with a moving average of this decay.
    pub fn ema(self, decay: f32) -> Recipe {
        let ema = Some(decay);
        Recipe { ema, ..self }
    }

    /// The same with so many epochs between two judgements of samples.
    pub fn judge_every(self, judge_every: usize) -> Recipe {
        Recipe {
            judge_every,
            ..self
        }
    }
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
