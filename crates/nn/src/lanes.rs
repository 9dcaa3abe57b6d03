//! Gradients of a batch on several threads, to the same bytes on any number of them.
//!
//! 1. A batch is cut into *lanes* of neighbours. Each runs forward and backward on a tape of its
//!    own, with kernels that stay on its thread, so nothing waits within a lane and what a lane
//!    touches stays in its core's cache.
//! 2. Lanes form *groups* of neighbours. Those of a group run one after another and add into one
//!    gradient, so memory does not grow with the batch, and a product adds while it stores.
//! 3. Groups run side by side as the leaves of a binary tree and are added from the leaves up; the
//!    last two sums stay apart, for the optimiser to add where it reads them.
//!
//! All three cuts depend on the batch and the parameters alone, not on the number of threads, and
//! so does the order of every sum. Threads are those of the rayon pool that the call is made in;
//! outside any pool, one for each core.
//!
//! ```
//! use grad::{Tensor, Var};
//! use nn::layers::Linear;
//! use nn::optim::{Optimiser, OptimiserState};
//! use nn::{Builder, Params, lanes};
//!
//! let mut params = Params::new();
//! let layer = Linear::new(&mut Builder::new(&mut params, 0), 3, 1);
//! let mut adam = OptimiserState::new(Optimiser::adam(0.01), &params, params.ids().collect());
//!
//! let x = Tensor::from_fn([100, 3], |i| (i as f32).sin());
//! // One step on 100 rows, 16 a lane. The loss is the sum over the rows of the lane.
//! let sums = lanes::gradients(&params, x.shape()[0], 16, |_, p, rows| {
//!     let x = Var::constant(x.clone()).slice(0, rows);
//!     layer.forward(p, &x).square().sum()
//! });
//! assert!(sums.rest.loss.is_finite());
//! adam.step_summed(&mut params, sums.halves(), 1.0, 1.0 / 100.0);
//! ```

use crate::params::{Bound, ParamId, Params, Update};
use grad::kernels::{elementwise, parallel};
use grad::{Tape, Tensor, Var};
use std::ops::Range;

/// About how many bytes of gradients may be held at once, whatever the batch and the threads. A
/// group keeps one thread busy, so small models can use many threads and large ones at least
/// [`FEWEST`].
const HELD: usize = 256 << 20;
/// The least number of groups that a batch may be dealt to, and the greatest.
const FEWEST: usize = 8;
const MOST: usize = 64;
/// Gradients of more bytes do not stay in a core's second-level cache. Then groups above the least
/// number are pairs at least: half the sums, and the second lane adds to what the first has made.
const LARGE: usize = 2 << 20;

/// What lanes report beside gradients: something that can be put together in the batch's order.
pub trait Combine {
    /// Takes in what the lanes directly behind this one report.
    fn combine(&mut self, later: Self);
}

impl Combine for () {
    fn combine(&mut self, (): ()) {}
}

/// Added.
impl Combine for f64 {
    fn combine(&mut self, later: f64) {
        *self += later;
    }
}

/// Appended.
impl<T> Combine for Vec<T> {
    fn combine(&mut self, later: Vec<T>) {
        self.extend(later);
    }
}

impl<A: Combine, B: Combine> Combine for (A, B) {
    fn combine(&mut self, later: (A, B)) {
        self.0.combine(later.0);
        self.1.combine(later.1);
    }
}

/// What the lanes of a batch give together.
pub struct Sums<R> {
    /// Two terms of the sum of the gradients, in the order of the variables; the second is empty
    /// where there was nothing to add.
    pub gradients: [Vec<Tensor<f32>>; 2],
    /// What the lanes report beside, from the first to the last.
    pub rest: R,
}

impl<R> Sums<R> {
    /// Both terms as [`OptimiserState::step_summed`](crate::optim::OptimiserState::step_summed)
    /// adds them.
    pub fn halves(&self) -> [&[Tensor<f32>]; 2] {
        [&self.gradients[0], &self.gradients[1]]
    }

    /// The gradients as one term: to clip or to look at.
    pub fn join(&mut self) -> &mut Vec<Tensor<f32>> {
        let [first, second] = &mut self.gradients;
        add(first, &std::mem::take(second));
        first
    }
}

/// What [`gradients`] reports beside them.
pub struct Report {
    /// The loss, summed over the batch.
    pub loss: f64,
    /// New values of states, with the number of examples behind each, in the order of the lanes:
    /// what [`Bound::update`] left. See [`states`].
    pub updates: Vec<(ParamId, usize, Update<f32>)>,
}

impl Combine for Report {
    fn combine(&mut self, later: Report) {
        self.loss.combine(later.loss);
        self.updates.combine(later.updates);
    }
}

/// Loss and gradients of `len` examples in lanes of `size`, by every trainable parameter in order.
///
/// `loss(tape, p, examples)` is the loss of the lane `examples`, a range of 0..len, as one number
/// that is a *sum* over the examples; `p` is bound to `tape`, which is there for losses that take
/// gradients themselves.
///
/// # Panics
/// If the loss of a lane is not one number on its tape.
#[track_caller]
pub fn gradients(
    params: &Params<f32>,
    len: usize,
    size: usize,
    loss: impl Fn(&Tape<f32>, &Bound<f32>, Range<usize>) -> Var<f32> + Sync,
) -> Sums<Report> {
    let trained = params.iter().filter(|param| param.trainable);
    let bytes = trained.map(|param| size_of_val(param.value.data())).sum();
    Lanes::new(len, size, bytes).sum(|part, sums| {
        let count = part.len();
        let tape = Tape::new();
        let bound = params.bind(&tape);
        let loss = loss(&tape, &bound, part);
        let wrt: Vec<&Var<f32>> = bound.recorded().map(|(_, var)| var).collect();
        let gradients = tape.into_gradient_sums(&loss, &wrt, sums);
        let updates = last_of_each(bound.take_updates()).into_iter();
        let report = Report {
            loss: f64::from(loss.item()),
            updates: updates.map(|(id, update)| (id, count, update)).collect(),
        };
        (gradients, report)
    })
}

/// What a lane leaves for its states. A layer that saw several batches, such as a discriminator's
/// batch norm, has left a value after each, which already follows those before it: the last counts.
pub fn last_of_each(updates: Vec<(ParamId, Update<f32>)>) -> Vec<(ParamId, Update<f32>)> {
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
/// the examples, of [`Update::Rows`] the state with each lane's rows in their place.
pub fn states(
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
    let values = states.into_iter().map(|(id, _, value)| (id, value));
    values.collect()
}

/// Gradients, and what else a lane or several together report.
type Part<R> = (Vec<Tensor<f32>>, R);

/// Neighbouring lanes that one thread runs one after another, each a range of examples.
type Group = Vec<Range<usize>>;

/// How a batch is cut into lanes, and these into groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    groups: Vec<Group>,
}

impl Lanes {
    /// `len` examples in lanes of `size`, the last one shorter, for gradients of `bytes` bytes
    /// together. No examples are one lane of none; a size of 0 counts as 1.
    pub fn new(len: usize, size: usize, bytes: usize) -> Lanes {
        let size = size.max(1);
        let each = if bytes > LARGE { 2 * size } else { size };
        let most = (HELD / bytes.max(1)).min(len.div_ceil(each));
        Lanes::dealt(len, size, most.clamp(FEWEST, MOST))
    }

    /// To at most `most` groups.
    fn dealt(len: usize, size: usize, most: usize) -> Lanes {
        let lanes = len.div_ceil(size).max(1);
        let groups = lanes.min(most);
        let of_group = |group: usize| -> Group {
            (group * lanes / groups..(group + 1) * lanes / groups)
                .map(|lane| lane * size..((lane + 1) * size).min(len))
                .collect()
        };
        Lanes {
            groups: (0..groups).map(of_group).collect(),
        }
    }

    /// How many groups there are: so many threads can take part, and at most so many gradients are
    /// held at once.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The sum over all lanes. `lane(examples, sums)` runs one: it gives its gradients added to
    /// `sums`, which are empty in place of zeros
    /// ([`into_gradient_sums`](Tape::into_gradient_sums) does so), and what else it has to report.
    /// Kernels called in it stay on its thread.
    pub fn sum<R, F>(&self, lane: F) -> Sums<R>
    where
        R: Combine + Send,
        F: Fn(Range<usize>, Vec<Tensor<f32>>) -> (Vec<Tensor<f32>>, R) + Sync,
    {
        let (gradients, rest) = match &self.groups[..] {
            [group] => {
                let (gradients, rest) = run(group, &lane);
                ([gradients, Vec::new()], rest)
            }
            groups => {
                let ((left, mut rest), (right, later)) = halves(groups, &lane);
                rest.combine(later);
                ([left, right], rest)
            }
        };
        Sums { gradients, rest }
    }
}

/// The sum over these groups.
fn tree<R, F>(groups: &[Group], lane: &F) -> Part<R>
where
    R: Combine + Send,
    F: Fn(Range<usize>, Vec<Tensor<f32>>) -> Part<R> + Sync,
{
    if let [group] = groups {
        return run(group, lane);
    }
    let ((mut sums, mut rest), (terms, later)) = halves(groups, lane);
    add(&mut sums, &terms);
    rest.combine(later);
    (sums, rest)
}

/// The sums over either half of two groups or more, side by side.
fn halves<R, F>(groups: &[Group], lane: &F) -> (Part<R>, Part<R>)
where
    R: Combine + Send,
    F: Fn(Range<usize>, Vec<Tensor<f32>>) -> Part<R> + Sync,
{
    let (left, right) = groups.split_at(groups.len() / 2);
    parallel::join(|| tree(left, lane), || tree(right, lane))
}

/// The lanes of a group one after another.
fn run<R: Combine, F>(group: &[Range<usize>], lane: &F) -> Part<R>
where
    F: Fn(Range<usize>, Vec<Tensor<f32>>) -> Part<R>,
{
    parallel::serial(|| {
        let (first, others) = group.split_first().expect("a group has a lane");
        let begun = lane(first.clone(), Vec::new());
        others.iter().fold(begun, |(sums, mut rest), part| {
            let (sums, later) = lane(part.clone(), sums);
            rest.combine(later);
            (sums, rest)
        })
    })
}

fn add(sums: &mut [Tensor<f32>], terms: &[Tensor<f32>]) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        elementwise::add_assign(sum.make_mut(), term.data());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn groups_cover_the_batch_in_order() {
        for len in [1, 2, 7, 64, 100, 1000] {
            for size in [1, 3, 16, 2000] {
                let Lanes { groups } = Lanes::dealt(len, size, 8);
                assert!(groups.len() <= 8 && groups.iter().all(|group| !group.is_empty()));
                let examples: Vec<usize> = groups.iter().flatten().cloned().flatten().collect();
                assert_eq!(examples, (0..len).collect::<Vec<_>>());
                let lanes = groups.iter().flatten();
                assert!(lanes.clone().all(|lane| lane.len() <= size));
                assert!(lanes.rev().skip(1).all(|lane| lane.len() == size));
            }
        }
    }

    #[test]
    fn large_gradients_are_held_few_at_a_time() {
        assert_eq!(Lanes::new(1000, 4, 1 << 10).groups(), MOST);
        assert_eq!(Lanes::new(100, 4, 1 << 10).groups(), 25);
        // Pairs.
        assert_eq!(Lanes::new(100, 4, LARGE + 1).groups(), 13);
        assert_eq!(Lanes::new(1000, 4, HELD / 10).groups(), 10);
        assert_eq!(Lanes::new(1000, 4, HELD).groups(), FEWEST);
        assert_eq!(Lanes::new(5, 4, HELD).groups(), 2);
        assert_eq!(Lanes::new(0, 0, 0).groups(), 1);
    }

    #[test]
    fn reports_come_in_the_order_of_the_lanes() {
        let lanes = Lanes::new(1001, 3, 8);
        let sums = lanes.sum(|part, sums| {
            let start = part.start;
            (sums, (vec![start], part.len() as f64))
        });
        let starts: Vec<usize> = (0..1001).step_by(3).collect();
        assert_eq!(sums.rest, (starts, 1001.0));
    }

    #[test]
    fn states_are_means_over_examples_or_rows_in_their_place() {
        let mut params = Params::new();
        let mean = params.add("mean".into(), Tensor::zeros([2]), false);
        let chains = params.add("chains".into(), Tensor::full([3, 1], 9.0f32), false);
        let of_mean = |count, values: &[f32]| {
            let value = Tensor::new([2], values);
            (mean, count, Update::Mean(value))
        };
        let of_chains = |first, values: &[f32]| {
            let rows = Tensor::new([values.len(), 1], values);
            (chains, 1, Update::Rows(first, rows))
        };
        let updates = vec![
            of_mean(3, &[1.0, 10.0]),
            of_chains(0, &[1.0]),
            of_mean(1, &[5.0, 2.0]),
            of_chains(2, &[3.0]),
        ];
        let states = states(&params, updates);
        let found = |id| &states.iter().find(|(of, _)| *of == id).unwrap().1;
        assert_eq!(states.len(), 2);
        assert_eq!(found(mean).data(), [2.0, 8.0]);
        assert_eq!(found(chains).data(), [1.0, 9.0, 3.0]);
    }
}
