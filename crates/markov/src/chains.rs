//! Persistent chains: the negative side of the gradient comes from chains that go on from one
//! training step to the next. T. Tieleman 2008, "Training restricted Boltzmann machines using
//! approximations to the likelihood gradient".
//!
//! With several *replicas* a chain is an ensemble at places beta = 1, .., 0 of the path to
//! independent units, whose neighbours exchange their states now and then: parallel tempering.
//! G. Desjardins et al. 2010, "Tempered Markov chain Monte Carlo for training of restricted
//! Boltzmann machines".

use crate::machine::{Machine, Path};
use crate::noise;
use crate::walk::Walk;
use grad::Tensor;
use nn::model::Step;
use nn::random::{self, Stream, word};
use nn::{Builder, ParamId};

/// The chains of a machine, which a run saves with its parameters.
pub(crate) struct Chains {
    /// Visible units, `[count, replicas * D]`: of each chain the replica at beta = 1 first.
    state: ParamId,
    count: usize,
    replicas: usize,
    /// The shares of ones at beta = 0, `[D]`.
    means: ParamId,
}

impl Chains {
    /// Chains that begin with units drawn with these probabilities.
    pub(crate) fn new(
        b: &mut Builder,
        [count, replicas]: [usize; 2],
        means: &[f32],
        seed: u64,
    ) -> Chains {
        let width = replicas * means.len();
        let mut first: Vec<f32> = means.repeat(count * replicas);
        let mut streams = noise::streams(&[seed, word("first chains")], 0, count);
        noise::bernoulli(&mut first, width, &mut streams);
        Chains {
            state: b.training_state("chains", Tensor::new([count, width], &first)),
            means: b.training_state("chains_base", Tensor::new([means.len()], means)),
            count,
            replicas,
        }
    }

    /// Lets the chains of this part of the batch make `k` steps: where they are then, `[n, D]`,
    /// and what each of them counts beside the images. Nothing where no chain belongs to the part.
    pub(crate) fn advance(
        &self,
        step: &Step,
        machine: &Machine,
        k: usize,
    ) -> Option<(Tensor<f32>, f64)> {
        let rows = step.rows(self.count);
        if rows.is_empty() {
            return None;
        }
        let (d, replicas) = (machine.visible(), self.replicas);
        let width = replicas * d;
        let state = step.p[self.state].value().data();
        let path = match replicas {
            1 => Path::end(machine),
            _ => Path::new(machine, step.p[self.means].value().data()),
        };
        let words = [step.batch.noise[0], word("chains")];
        let streams = noise::streams(&words, rows.start * replicas, rows.len() * replicas);
        let from = state[rows.start * width..rows.end * width].to_vec();
        let mut walk = Walk::from(&path, from, streams);
        if replicas > 1 {
            let of = |r: usize| 1.0 - r as f32 / (replicas - 1) as f32;
            let betas: Vec<f32> = (0..replicas).map(of).collect();
            walk.set_betas(&betas.repeat(rows.len()));
            let words = [step.batch.noise[0], word("exchange")];
            let mut streams = noise::streams(&words, rows.start, rows.len());
            for n in 0..k {
                walk.step();
                exchange(&path, &mut walk, &betas, n % 2, &mut streams);
            }
        } else {
            walk.steps(k);
        }
        let after = walk.into_visible();
        let first: Vec<f32> = after
            .chunks_exact(width)
            .flat_map(|row| &row[..d])
            .copied()
            .collect();
        let after = Tensor::new([rows.len(), width], &after);
        step.p.update_rows(self.state, rows.start, after);
        let counts = step.whole as f64 / self.count as f64;
        Some((Tensor::new([rows.len(), d], &first), counts))
    }
}

/// Neighbouring replicas r and r + 1, r of the same parity as `odd`, exchange their states with
/// probability min(1, p_r(v') p_r+1(v) / p_r(v) p_r+1(v')).
fn exchange(path: &Path, walk: &mut Walk, betas: &[f32], odd: usize, streams: &mut [Stream]) {
    let (d, h) = (path.machine.visible(), path.machine.hidden());
    let mut pairs = Vec::new();
    let (v, inputs) = walk.hidden_inputs();
    for (chain, stream) in streams.iter_mut().enumerate() {
        for r in (odd..betas.len() - 1).step_by(2) {
            let row = chain * betas.len() + r;
            let at = |beta: usize, row: usize| {
                let (v, inputs) = (&v[row * d..][..d], &inputs[row * h..][..h]);
                path.log_density(betas[beta], v, inputs)
            };
            let now = at(r, row) + at(r + 1, row + 1);
            let then = at(r, row + 1) + at(r + 1, row);
            if random::uniform(stream).ln() < then - now {
                pairs.push(row);
            }
        }
    }
    for row in pairs {
        let (left, right) = walk.visible_mut().split_at_mut((row + 1) * d);
        left[row * d..].swap_with_slice(&mut right[..d]);
    }
}
