//! Annealed importance sampling: log Z from chains that walk from a machine whose log Z is known
//! to the one at hand, or back. R. M. Neal 2001, "Annealed importance sampling"; R. Salakhutdinov
//! and I. Murray 2008, section 4.1; Y. Burda, R. Grosse and R. Salakhutdinov 2015,
//! arXiv:1412.8566, for the way back.
//!
//! ```text
//! forward:  v_1 ~ p_0;  w = prod_k p*_k(v_k) / p*_(k-1)(v_k);  v_(k+1) ~ T_k(v_k)
//!           E[w] = Z / Z_0
//! reverse:  v_K ~ p;    w = prod_k p*_(k-1)(v_k) / p*_k(v_k);  v_(k-1) ~ T_(k-1)(v_k)
//!           E[w] = Z_0 / Z
//! ```
//!
//! A weight is always taken at the units that the *previous* machine has drawn; only then do they
//! move. The logarithm of a mean of weights is too small more often than too large (Jensen), so
//! the forward estimate of log Z tends to be too low and the likelihood too good, and the reverse
//! estimate errs the other way. The truth lies between as far as the reverse chains begin with
//! samples of the machine: they are steps of Gibbs sampling from training images, so what the
//! machine believes in far from all of these goes unseen.

use crate::machine::Path;
use crate::noise;
use crate::walk::Walk;
use grad::kernels::parallel;
use nn::random::word;
use nn::stats::log_mean_exp;
use rayon::prelude::*;

/// Chains that one thread runs together.
const TOGETHER: usize = 32;

/// An estimate of log Z.
#[derive(Clone, Debug)]
pub struct Annealed {
    /// log of the mean weight, with what is known at beta = 0 added.
    pub log_z: f64,
    /// Its standard error, from the spread of the weights: that of the mean weight divided by the
    /// mean. It is honest only where many chains count.
    pub standard_error: f64,
    /// How many chains count: (sum w)^2 / sum w^2.
    pub effective: f64,
}

impl Annealed {
    /// From the logarithms of the weights, with `sign` -1 where they tell of 1/Z.
    fn of(log_z0: f64, log_weights: &[f64], sign: f64) -> Annealed {
        let mean = log_mean_exp(log_weights);
        let n = log_weights.len() as f64;
        let squares: f64 = log_weights.iter().map(|w| (2.0 * (w - mean)).exp()).sum();
        // The variance of w / mean, over n.
        let variance = (squares / n - 1.0).max(0.0) / (n - 1.0).max(1.0);
        Annealed {
            log_z: log_z0 + sign * mean,
            standard_error: variance.sqrt(),
            effective: n * n / squares,
        }
    }
}

/// `count` + 1 numbers from 0 to 1: a quarter of the steps up to 0.5, a quarter up to 0.9, where
/// trained machines begin to differ much from their neighbours on the path, and half above. Steps
/// so cut have less than half the difference between the two directions that those of Salakhutdinov
/// and Murray 2008 have, who take 20 of 29 above 0.9 and 1 of 29 below 0.5.
pub fn schedule(count: usize) -> Vec<f64> {
    let at = |k: usize| match 4.0 * k as f64 / count as f64 {
        u if u < 1.0 => 0.5 * u,
        u if u < 2.0 => 0.5 + 0.4 * (u - 1.0),
        u => 0.9 + 0.05 * (u - 2.0),
    };
    (0..=count)
        .map(|k| if k == count { 1.0 } else { at(k) })
        .collect()
}

/// log Z from `chains` chains that walk from beta = 0 to 1.
pub fn forward(path: &Path, betas: &[f64], chains: usize, seed: u64) -> Annealed {
    let firsts: Vec<usize> = (0..chains).step_by(TOGETHER).collect();
    let log_weights: Vec<Vec<f64>> = (firsts.par_iter())
        .map(|&first| {
            let rows = TOGETHER.min(chains - first);
            let streams = noise::streams(&[seed, word("forward")], first, rows);
            parallel::serial(|| anneal(path, Walk::from_base(path, streams), betas.iter(), rows))
        })
        .collect();
    Annealed::of(path.log_z0(), &log_weights.concat(), 1.0)
}

/// log Z from chains that walk from beta = 1 to 0: one from each row of `starts`, `[n, D]`, after
/// `steps` steps of Gibbs sampling at beta = 1.
pub fn reverse(path: &Path, betas: &[f64], starts: &[f32], steps: usize, seed: u64) -> Annealed {
    let width = path.machine.visible();
    let log_weights: Vec<Vec<f64>> = (starts.par_chunks(TOGETHER * width).enumerate())
        .map(|(group, starts)| {
            let rows = starts.len() / width;
            let streams = noise::streams(&[seed, word("reverse")], group * TOGETHER, rows);
            parallel::serial(|| {
                let mut walk = Walk::from(path, starts.to_vec(), streams);
                walk.steps(steps);
                anneal(path, walk, betas.iter().rev(), rows)
            })
        })
        .collect();
    Annealed::of(path.log_z0(), &log_weights.concat(), -1.0)
}

/// The logarithms of the weights of chains at the first of these places that walk to the last.
fn anneal<'a>(
    path: &Path,
    mut walk: Walk,
    betas: impl Iterator<Item = &'a f64>,
    rows: usize,
) -> Vec<f64> {
    let mut log_weights = vec![0.0; rows];
    let mut room = [Vec::new(), Vec::new()];
    let mut betas = betas.copied().peekable();
    let mut from = betas.next().unwrap_or(1.0);
    while let Some(to) = betas.next() {
        path.add_ratios(
            [from, to],
            walk.hidden_inputs(),
            &mut room,
            &mut log_weights,
        );
        if betas.peek().is_some() {
            walk.set_beta(to as f32);
            walk.resample();
        }
        from = to;
    }
    log_weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_rises_from_0_to_1() {
        for count in [1, 2, 29, 1000] {
            let betas = schedule(count);
            assert_eq!((betas.len(), betas[0], betas[count]), (count + 1, 0.0, 1.0));
            assert!(betas.windows(2).all(|pair| pair[0] < pair[1]), "{count}");
        }
        let betas = schedule(1000);
        assert!((betas[250] - 0.5).abs() < 1e-12 && (betas[500] - 0.9).abs() < 1e-12);
    }
}
