//! What a loss sees of its training step, and what it gives back.

use super::Batch;
use crate::layers::Mode;
use crate::params::Bound;
use grad::{Tape, Var};
use std::ops::Range;

/// What a loss or a score sees of its step: one batch, or the part of it that a lane has.
#[non_exhaustive]
pub struct Step<'a> {
    /// Which phase of the step, an index into [`Recipe::phases`](super::Recipe::phases).
    pub phase: usize,
    /// Where the recorded parameters are: gradients can be taken inside a loss
    /// ([`Tape::gradients_recorded`]), for a gradient penalty or score matching.
    pub tape: &'a Tape<f32>,
    /// The parameters. Those that the phase does not train are constants.
    pub p: &'a Bound<f32>,
    /// The images.
    pub batch: &'a Batch,
    /// How many steps were made before this one.
    pub step: u64,
    /// How much of the run is done, from 0 to 1, as the learning rate's schedule counts it. It is
    /// part of what resumes to the byte only where the run's length is set in epochs or steps.
    pub done: f64,
    /// Which images of the step's whole batch these are.
    pub part: Range<usize>,
    /// How many images the whole batch has.
    pub whole: usize,
}

impl<'a> Step<'a> {
    /// The whole of `batch` in the first phase of the first step.
    pub fn new(tape: &'a Tape<f32>, p: &'a Bound<f32>, batch: &'a Batch) -> Step<'a> {
        Step {
            phase: 0,
            tape,
            p,
            batch,
            step: 0,
            done: 0.0,
            part: 0..batch.len(),
            whole: batch.len(),
        }
    }

    /// The same in this phase.
    pub fn phase(self, phase: usize) -> Step<'a> {
        Step { phase, ..self }
    }

    /// The same after `step` steps, with the share `done` of the run behind it.
    pub fn at(self, step: u64, done: f64) -> Step<'a> {
        Step { step, done, ..self }
    }

    /// The same as a part of a batch of `whole` images.
    ///
    /// # Panics
    /// If the part has not as many images as the batch at hand.
    #[track_caller]
    pub fn part(self, part: Range<usize>, whole: usize) -> Step<'a> {
        assert_eq!(part.len(), self.batch.len(), "step: images of the part");
        Step {
            part,
            whole,
            ..self
        }
    }

    /// Whether this is a training step or an evaluation: the mode of the parameters. Dropout,
    /// batch norm and the order of sums follow it, and not whether something is recorded.
    pub fn mode(&self) -> Mode {
        self.p.mode()
    }

    /// The share of `n` rows of a state that belongs to this part of the batch: parts that
    /// together make the whole batch have ranges that together make `0..n`, whatever the lanes.
    /// See [`Bound::update_rows`].
    pub fn rows(&self, n: usize) -> Range<usize> {
        let whole = self.whole.max(1);
        self.part.start * n / whole..self.part.end * n / whole
    }
}

/// What one phase of a training step minimises, on one batch or a part of it.
#[non_exhaustive]
pub struct Loss {
    /// Sum over the images; one number. The engine divides by the size of the whole batch.
    pub sum: Var<f32>,
    /// Whether the sum is -log p(x), or a bound on it, in nats.
    pub is_nats: bool,
    /// Whether only its gradient means something, and that is not the derivative of its value.
    pub is_surrogate: bool,
    /// What else to report: names and sums over the images.
    pub parts: Vec<(&'static str, f64)>,
}

impl Loss {
    /// A sum over the images that is -log p(x) or a bound on it, in nats.
    pub fn nats(sum: Var<f32>) -> Loss {
        Loss {
            sum,
            is_nats: true,
            is_surrogate: false,
            parts: Vec::new(),
        }
    }

    /// Any other sum over the images.
    pub fn of(sum: Var<f32>) -> Loss {
        Loss {
            is_nats: false,
            ..Loss::nats(sum)
        }
    }

    /// The same as a surrogate: a sum whose gradient is what training descends on, while what was
    /// drawn from the parameters, or copied from them, counts as a constant in it. So its value is
    /// no measure, and differences of it do not agree with its gradient: contrastive divergence,
    /// straight-through estimates.
    pub fn surrogate(self) -> Loss {
        Loss {
            is_surrogate: true,
            ..self
        }
    }

    /// The same, with another sum over the images to report.
    pub fn with(mut self, name: &'static str, sum: f64) -> Loss {
        self.parts.push((name, sum));
        self
    }

    /// The same, with the sum of `values`, one for each image, to report.
    pub fn with_sum(self, name: &'static str, values: &Var<f32>) -> Loss {
        let sum = values.value().data().iter().map(|&x| f64::from(x)).sum();
        self.with(name, sum)
    }
}
