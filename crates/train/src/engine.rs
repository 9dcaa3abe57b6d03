//! One training step: the gradients of the lanes of a batch ([`nn::lanes`]), clipping, optimisers,
//! states, average. Any number of threads computes the same bytes.

use crate::Error;
use crate::metrics::Tally;
use grad::{Tape, Tensor, Var};
use nn::clip;
use nn::ema::Ema;
use nn::lanes::{self, Combine, Lanes, Sums};
use nn::model::{Batch, Loss, Model, NATS, Phase, Recipe, Spread, Step};
use nn::optim::OptimiserState;
use nn::{ParamId, Params, Update};
use std::ops::Range;

/// Makes the part `range` of the batch of a step.
pub type Images<'a> = dyn Fn(Range<usize>) -> Batch + Sync + 'a;

/// A model in training: its parameters and what its optimisers remember.
pub struct Engine {
    model: Box<dyn Model>,
    recipe: Recipe,
    spread: Spread,
    params: Params<f32>,
    optimisers: Vec<OptimiserState>,
    ema: Option<Ema>,
    step: u64,
}

impl Engine {
    /// A model that has made no step.
    pub fn new(model: Box<dyn Model>, params: Params<f32>, recipe: Recipe) -> Engine {
        let optimisers = (recipe.phases.iter())
            .map(|phase| {
                let ids = params.ids().filter(|&id| {
                    params[id].trainable && params[id].name.starts_with(phase.prefix)
                });
                OptimiserState::new(phase.optimiser.clone(), &params, ids.collect())
            })
            .collect();
        Engine {
            spread: model.spread(recipe.batch_size),
            ema: recipe.ema.map(|decay| Ema::new(decay, &params)),
            optimisers,
            model,
            params,
            recipe,
            step: 0,
        }
    }

    /// The model.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// The parameters as the last step left them.
    pub fn params(&self) -> &Params<f32> {
        &self.params
    }

    /// The parameters to evaluate: their moving average, if the recipe asks for one.
    pub fn evaluated(&self) -> &Params<f32> {
        self.ema.as_ref().map_or(&self.params, Ema::params)
    }

    /// How the model is trained.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// How a batch is spread over the cores.
    pub fn spread(&self) -> Spread {
        self.spread
    }

    /// How many steps were made.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// What the loss of a phase is called in metrics: the phase's name where there are several,
    /// else `nats` where it is a likelihood in nats, or a bound on one, and `loss` where it is not.
    fn loss_name(&self, phase: usize, is_nats: bool) -> &'static str {
        match &self.recipe.phases[..] {
            [_] if is_nats => NATS,
            [_] => "loss",
            phases => phases[phase].name,
        }
    }

    /// One step on a batch of `len` images: every active phase in turn. Adds losses and their parts
    /// to `tally` and gives the loss of the first active phase, per image.
    ///
    /// Run it inside a [`Pool`](crate::Pool).
    ///
    /// # Errors
    /// If a loss is not finite. Then that phase changed nothing.
    pub fn step(
        &mut self,
        len: usize,
        images: &Images,
        pace: Pace,
        tally: &mut Tally,
    ) -> Result<f64, Error> {
        let mut first = None;
        for phase in 0..self.recipe.phases.len() {
            if !self.model.takes_part(phase, self.step, pace.done) {
                continue;
            }
            let pass = self.pass(phase, pace.done, len, images);
            let told = &pass.rest;
            if !told.loss.is_finite() {
                return Err(Error::NotFinite {
                    step: self.step + 1,
                    what: format!("loss ({})", self.recipe.phases[phase].name),
                    found: told.loss,
                });
            }
            first.get_or_insert(told.loss / len as f64);
            let name = self.loss_name(phase, told.is_nats);
            tally.add(name, told.loss, len as u64);
            for (name, sum) in &told.parts {
                tally.add(name, *sum, len as u64);
            }
            let norm = self.update(phase, pass, len, pace.lr_factor);
            if let Some(norm) = norm {
                let name = format!("{}_gradient_norm", self.recipe.phases[phase].name);
                tally.add(&name, norm * len as f64, len as u64);
            }
        }
        self.step += 1;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.params);
        }
        Ok(first.unwrap_or(0.0))
    }

    /// Changes the parameters by what a pass over the whole batch found. Tells the norm of the
    /// gradient before clipping where there are several phases: who plays against each other
    /// should see how hard each pulls.
    fn update(
        &mut self,
        phase: usize,
        mut pass: Sums<Told>,
        len: usize,
        lr_factor: f64,
    ) -> Option<f64> {
        let mut scale = 1.0 / len as f64;
        let mut norm = None;
        if self.recipe.clip_norm.is_some() || self.recipe.phases.len() > 1 {
            norm = Some(scale * clip::global_norm(&*pass.join()));
        }
        if let (Some(limit), Some(norm)) = (self.recipe.clip_norm, norm) {
            scale *= clip::norm_factor(norm, f64::from(limit));
        }
        let optimiser = &mut self.optimisers[phase];
        optimiser.step_summed(&mut self.params, pass.halves(), lr_factor, scale);
        for (id, value) in lanes::states(&self.params, pass.rest.updates) {
            self.params.get_mut(id).value = value;
        }
        (self.model).after_update(phase, self.step, &mut self.params);
        norm.filter(|_| self.recipe.phases.len() > 1)
    }

    /// Loss and gradients of the whole batch.
    fn pass(&self, phase: usize, done: f64, len: usize, images: &Images) -> Sums<Told> {
        let job = Job {
            phase,
            done,
            len,
            images,
        };
        match self.spread {
            Spread::IntraOp => {
                let (gradients, rest) = self.lane(&job, 0..len, Vec::new());
                Sums {
                    gradients: [gradients, Vec::new()],
                    rest,
                }
            }
            Spread::Lanes(size) => {
                let ids = self.optimisers[phase].ids();
                let bytes = ids.map(|id| size_of_val(self.params[id].value.data()));
                Lanes::new(len, size, bytes.sum()).sum(|part, sums| self.lane(&job, part, sums))
            }
        }
    }

    /// Forward and backward on one part of the batch; its gradients are added to `sums`, if there
    /// are any.
    fn lane(
        &self,
        job: &Job,
        part: Range<usize>,
        sums: Vec<Tensor<f32>>,
    ) -> (Vec<Tensor<f32>>, Told) {
        let Phase { prefix, .. } = self.recipe.phases[job.phase];
        let batch = (job.images)(part.clone());
        let tape = Tape::new();
        let bound = self
            .params
            .bind_where(&tape, |param| param.name.starts_with(prefix));
        let step = Step::new(&tape, &bound, &batch)
            .phase(job.phase)
            .at(self.step, job.done)
            .part(part.clone(), job.len);
        let Loss {
            sum,
            parts,
            is_nats,
            ..
        } = self.model.loss(&step);
        let loss = f64::from(sum.item());
        let wrt: Vec<&Var<f32>> = bound.recorded().map(|(_, var)| var).collect();
        let gradients = tape.into_gradient_sums(&sum, &wrt, sums);
        let updates = lanes::last_of_each(bound.take_updates()).into_iter();
        let told = Told {
            loss,
            is_nats,
            parts,
            updates: updates
                .map(|(id, update)| (id, part.len(), update))
                .collect(),
        };
        (gradients, told)
    }

    /// Everything that is not configuration, by name.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, &Tensor<f32>)> {
        let params = self
            .params
            .tensors()
            .map(|(name, t)| (format!("{PARAMS}{name}"), t));
        let average = self.ema.iter().flat_map(Ema::tensors);
        let average = average.map(|(name, t)| (format!("{AVERAGE}{name}"), t));
        let moments = self.phases().flat_map(|(phase, optimiser)| {
            let prefix = moments(phase);
            optimiser
                .tensors()
                .map(move |(name, t)| (format!("{prefix}{name}"), t))
        });
        params.chain(average).chain(moments)
    }

    /// The steps each phase's optimiser has made, by the phase's name.
    pub(crate) fn step_counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.phases()
            .map(|(phase, optimiser)| (phase, optimiser.step_count()))
    }

    fn phases(&self) -> impl Iterator<Item = (&'static str, &OptimiserState)> {
        let names = self.recipe.phases.iter().map(|phase| phase.name);
        names.zip(&self.optimisers)
    }

    /// Takes back what [`tensors`](Self::tensors), [`step_counts`](Self::step_counts) and
    /// [`steps`](Self::steps) gave. After an error this engine is of no use.
    pub(crate) fn restore(
        &mut self,
        step: u64,
        step_count: impl Fn(&str) -> u64,
        take: &mut dyn FnMut(&str) -> Option<Tensor<f32>>,
    ) -> Result<(), nn::save::ParamsError> {
        self.params
            .restore_from(&mut |name| take(&format!("{PARAMS}{name}")))?;
        if let Some(ema) = &mut self.ema {
            ema.restore(&mut |name| take(&format!("{AVERAGE}{name}")))?;
        }
        for (phase, optimiser) in self.recipe.phases.iter().zip(&mut self.optimisers) {
            let prefix = moments(phase.name);
            let steps = step_count(phase.name);
            optimiser.restore(steps, &mut |name| take(&format!("{prefix}{name}")))?;
        }
        self.step = step;
        Ok(())
    }
}

/// Where the parameters are in a checkpoint.
pub(crate) const PARAMS: &str = "params.";
/// Where their moving average is.
pub(crate) const AVERAGE: &str = "ema.";
/// Where the moments of a phase's optimiser are.
fn moments(phase: &str) -> String {
    format!("optimisers.{phase}.")
}

/// What a part of a batch tells beside its gradients: sums over its images.
struct Told {
    loss: f64,
    is_nats: bool,
    parts: Vec<(&'static str, f64)>,
    /// New values of states, with the number of images behind each.
    updates: Vec<(ParamId, usize, Update<f32>)>,
}

impl Combine for Told {
    fn combine(&mut self, later: Told) {
        self.loss += later.loss;
        for ((_, sum), (_, term)) in self.parts.iter_mut().zip(&later.parts) {
            *sum += term;
        }
        self.updates.extend(later.updates);
    }
}

/// What the lanes of a pass have in common.
struct Job<'a> {
    phase: usize,
    done: f64,
    /// Images of the whole batch.
    len: usize,
    images: &'a Images<'a>,
}

/// Where a step is in its run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// What the learning rate is multiplied by.
    pub lr_factor: f64,
    /// The share of the run that is done, 0 to 1: [`Step::done`].
    pub done: f64,
}

impl Pace {
    /// The learning rate as it is, at the beginning of a run.
    pub const STEADY: Pace = Pace {
        lr_factor: 1.0,
        done: 0.0,
    };
}
