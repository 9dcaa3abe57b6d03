//! One training step: lanes, their sum in a fixed order, clipping, optimisers, average.
//!
//! 1. The batch is cut into micro-batches of the size the model asks for. Each runs forward and
//!    backward on a tape of its own, with kernels that stay on its thread.
//! 2. Micro-batches form groups of neighbours, at most as many as [`HELD`] allows, and pairs at
//!    least where gradients are [`LARGE`]. Those of a group run one after another and add into one
//!    gradient, so memory does not grow with the batch, and a product adds while it stores.
//! 3. Groups run side by side as the leaves of a binary tree and are added from the leaves up; the
//!    last two sums are added where the optimiser reads them.
//!
//! All three cuts depend on the batch alone, not on the number of threads, and so does the order
//! of every sum: any number of threads computes the same bytes.

use crate::Error;
use crate::metrics::Tally;
use grad::kernels::{elementwise, parallel};
use grad::{Tape, Tensor, Var};
use nn::clip;
use nn::ema::Ema;
use nn::model::{Batch, Loss, Model, NATS, Phase, Recipe, Spread, Step};
use nn::optim::OptimiserState;
use nn::{ParamId, Params, Update};
use std::ops::Range;

/// About how many bytes of gradients may be held at once, whatever the batch and the threads. A
/// group keeps one thread busy, so small models can use many threads and large ones at least
/// [`FEWEST`].
const HELD: usize = 256 << 20;
/// The least number of groups that a batch may be dealt to, and the greatest.
const FEWEST: usize = 8;
const MOST: usize = 64;
/// Gradients of more bytes do not stay in a core's second-level cache. Then groups above the least
/// number are pairs at least: half the sums, and the second micro-batch adds to what the first
/// has made.
const LARGE: usize = 2 << 20;

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
            if !pass.loss.is_finite() {
                return Err(Error::NotFinite {
                    step: self.step + 1,
                    what: format!("loss ({})", self.recipe.phases[phase].name),
                    found: pass.loss,
                });
            }
            first.get_or_insert(pass.loss / len as f64);
            let name = self.loss_name(phase, pass.is_nats);
            tally.add(name, pass.loss, len as u64);
            for (name, sum) in &pass.parts {
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
    fn update(&mut self, phase: usize, pass: Pass, len: usize, lr_factor: f64) -> Option<f64> {
        let mut scale = 1.0 / len as f64;
        let [mut first, mut second] = pass.gradients;
        let mut norm = None;
        if self.recipe.clip_norm.is_some() || self.recipe.phases.len() > 1 {
            add(&mut first, &std::mem::take(&mut second));
            norm = Some(scale * clip::global_norm(&first));
        }
        if let (Some(limit), Some(norm)) = (self.recipe.clip_norm, norm) {
            scale *= clip::norm_factor(norm, f64::from(limit));
        }
        let optimiser = &mut self.optimisers[phase];
        optimiser.step_summed(&mut self.params, [&first, &second], lr_factor, scale);
        for (id, value) in states(&self.params, pass.updates) {
            self.params.get_mut(id).value = value;
        }
        (self.model).after_update(phase, self.step, &mut self.params);
        norm.filter(|_| self.recipe.phases.len() > 1)
    }

    /// Loss and gradients of the whole batch.
    fn pass(&self, phase: usize, done: f64, len: usize, images: &Images) -> Pass {
        let job = Job {
            phase,
            done,
            len,
            images,
        };
        match self.spread {
            Spread::IntraOp => self.lane(&job, 0..len, Vec::new()),
            Spread::Lanes(size) => {
                let bytes = self.optimisers[phase]
                    .ids()
                    .map(|id| size_of_val(self.params[id].value.data()))
                    .sum::<usize>();
                let each = if bytes > LARGE { 2 * size } else { size };
                let most = (HELD / bytes.max(1)).min(len.div_ceil(each.max(1)));
                let groups = groups(len, size.max(1), most.clamp(FEWEST, MOST));
                if groups.len() < 2 {
                    return self.tree(&job, &groups);
                }
                let (left, right) = self.halves(&job, &groups);
                left.beside(right)
            }
        }
    }

    /// The sum over these groups.
    fn tree(&self, job: &Job, groups: &[Group]) -> Pass {
        if let [group] = groups {
            return parallel::serial(|| {
                let lane = |sums, lane: &Range<usize>| self.lane(job, lane.clone(), sums);
                let (first, others) = group.split_first().expect("a group has a lane");
                others
                    .iter()
                    .fold(lane(Vec::new(), first), |mut pass, part| {
                        let mut next = lane(std::mem::take(&mut pass.gradients[0]), part);
                        pass.gradients[0] = std::mem::take(&mut next.gradients[0]);
                        pass.add_scalars(next)
                    })
            });
        }
        let (left, right) = self.halves(job, groups);
        left.plus(right)
    }

    /// The sums over either half of two groups or more, side by side.
    fn halves(&self, job: &Job, groups: &[Group]) -> (Pass, Pass) {
        let (left, right) = groups.split_at(groups.len() / 2);
        rayon::join(|| self.tree(job, left), || self.tree(job, right))
    }

    /// Forward and backward on one part of the batch; its gradients are added to `sums`, if there
    /// are any.
    fn lane(&self, job: &Job, part: Range<usize>, sums: Vec<Tensor<f32>>) -> Pass {
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
        let updates = last_of_each(bound.take_updates()).into_iter();
        let updates = updates.map(|(id, update)| (id, part.len(), update));
        Pass {
            gradients: [gradients, Vec::new()],
            loss,
            is_nats,
            parts,
            updates: updates.collect(),
        }
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

/// What one part of a batch adds: sums over its images.
struct Pass {
    /// Two terms of the sum; the second is empty until the optimiser is to add them.
    gradients: [Vec<Tensor<f32>>; 2],
    loss: f64,
    is_nats: bool,
    parts: Vec<(&'static str, f64)>,
    /// New values of states, with the number of images behind each.
    updates: Vec<(ParamId, usize, Update<f32>)>,
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

impl Pass {
    fn plus(mut self, other: Pass) -> Pass {
        add(&mut self.gradients[0], &other.gradients[0]);
        self.add_scalars(other)
    }

    /// [`plus`](Self::plus), but the gradients stay side by side.
    fn beside(mut self, mut other: Pass) -> Pass {
        self.gradients[1] = std::mem::take(&mut other.gradients[0]);
        self.add_scalars(other)
    }

    fn add_scalars(mut self, other: Pass) -> Pass {
        self.loss += other.loss;
        for ((_, sum), (_, term)) in self.parts.iter_mut().zip(&other.parts) {
            *sum += term;
        }
        self.updates.extend(other.updates);
        self
    }
}

fn add(sums: &mut [Tensor<f32>], terms: &[Tensor<f32>]) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        elementwise::add_assign(sum.make_mut(), term.data());
    }
}

/// Micro-batches, each a range of images.
type Group = Vec<Range<usize>>;

/// `len` images in micro-batches of `size`, dealt to at most `most` groups of neighbours.
fn groups(len: usize, size: usize, most: usize) -> Vec<Group> {
    let lanes = len.div_ceil(size);
    let groups = lanes.min(most);
    (0..groups)
        .map(|group| {
            (group * lanes / groups..(group + 1) * lanes / groups)
                .map(|lane| lane * size..((lane + 1) * size).min(len))
                .collect()
        })
        .collect()
}

/// What a lane leaves for its states. A layer that saw several batches, such as a discriminator's
/// batch norm, has left a value after each, which already follows those before it: the last counts.
fn last_of_each(updates: Vec<(ParamId, Update<f32>)>) -> Vec<(ParamId, Update<f32>)> {
    let mut last: Vec<(ParamId, Update<f32>)> = Vec::new();
    for (id, update) in updates {
        if matches!(update, Update::Mean(_)) {
            last.retain(|(known, _)| *known != id);
        }
        last.push((id, update));
    }
    last
}

/// The new value of each state, made in the order of the lanes: of [`Update::Mean`] the mean over
/// the images, of [`Update::Rows`] the state with each lane's rows in their place.
fn states(
    params: &Params<f32>,
    updates: Vec<(ParamId, usize, Update<f32>)>,
) -> Vec<(ParamId, Tensor<f32>)> {
    let mut states: Vec<(ParamId, f32, Tensor<f32>)> = Vec::new();
    for (id, count, update) in updates {
        let count = count as f32;
        match (states.iter_mut().find(|(known, ..)| *known == id), update) {
            (None, update) => states.push((id, count, update.apply(&params[id].value))),
            (Some((.., state)), rows @ Update::Rows(..)) => *state = rows.apply(state),
            (Some((_, total, mean)), Update::Mean(value)) => {
                *total += count;
                let share = count / *total;
                for (mean, &x) in mean.make_mut().iter_mut().zip(value.data()) {
                    *mean += share * (x - *mean);
                }
            }
        }
    }
    states
        .into_iter()
        .map(|(id, _, value)| (id, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_the_batch_in_order() {
        for len in [1, 2, 7, 64, 100, 1000] {
            for size in [1, 3, 16, 2000] {
                let groups = groups(len, size, 8);
                assert!(groups.len() <= 8 && groups.iter().all(|group| !group.is_empty()));
                let mut next = 0;
                for lane in groups.iter().flatten() {
                    assert_eq!(lane.start, next);
                    assert!(!lane.is_empty() && lane.len() <= size);
                    next = lane.end;
                }
                assert_eq!(next, len, "{len} images by {size}");
            }
        }
    }

    #[test]
    fn updates_are_averaged_over_images() {
        let mut params = Params::<f32>::new();
        let id = params.add("mean".into(), Tensor::zeros([1]), false);
        let update = |count, x: f32| (id, count, Update::Mean(Tensor::full([1], x)));
        let means = states(&params, vec![update(1, 3.0), update(3, 7.0)]);
        assert_eq!(means, [(id, Tensor::full([1], 6.0))]);
    }

    #[test]
    fn of_values_that_follow_each_other_in_a_lane_the_last_counts() {
        let mut params = Params::<f32>::new();
        let ids = ["mean", "var"].map(|name| params.add(name.into(), Tensor::zeros([1]), false));
        let mean = |x: f32| Update::Mean(Tensor::full([1], x));
        let left = vec![
            (ids[0], mean(1.0)),
            (ids[1], mean(4.0)),
            (ids[0], mean(2.0)),
        ];
        let updates = last_of_each(left)
            .into_iter()
            .map(|(id, update)| (id, 3, update));
        let [one, two] = [2.0, 4.0].map(|x| Tensor::full([1], x));
        let mut found = states(&params, updates.collect());
        found.sort_by_key(|(id, _)| *id);
        assert_eq!(found, [(ids[0], one), (ids[1], two)]);
    }

    #[test]
    fn rows_of_lanes_take_their_places_and_the_others_stay() {
        let mut params = Params::<f32>::new();
        let rows = |x: &[f32]| Tensor::new([x.len() / 2, 2], x);
        let old = rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let id = params.add("chains".into(), old, false);
        let updates = vec![
            (id, 1, Update::Rows(0, rows(&[-1.0, -2.0]))),
            (id, 5, Update::Rows(2, rows(&[-5.0, -6.0]))),
            // A lane may change its rows again.
            (id, 5, Update::Rows(2, rows(&[-7.0, -8.0]))),
        ];
        let new = rows(&[-1.0, -2.0, 3.0, 4.0, -7.0, -8.0, 7.0, 8.0]);
        assert_eq!(states(&params, updates), [(id, new)]);
    }
}
