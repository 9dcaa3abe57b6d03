//! log Z of small machines: the sum over all states of the smaller side, the other side being
//! summed in closed form.

use crate::machine::{Machine, log_volume, sum};
use grad::kernels::elementwise::{Unary, unary_in_place};
use grad::kernels::parallel;
use grad::kernels::reduce::dot;
use nn::stats::logsumexp;
use rayon::prelude::*;

/// The most units whose 2^n states are gone through.
pub const MOST: usize = 20;
/// States that are looked at together.
const TOGETHER: usize = 1 << 10;

/// Whether the sum is within reach.
pub fn is_small(visible: usize, hidden: usize, gaussian: bool) -> bool {
    hidden <= MOST || !gaussian && visible <= MOST
}

/// log Z, if one side has at most [`MOST`] units in {0, 1}.
pub fn log_z(machine: &Machine) -> Option<f64> {
    let (visible, hidden) = (machine.visible(), machine.hidden());
    if !is_small(visible, hidden, machine.deviations().is_some()) {
        return None;
    }
    let over_hidden = hidden <= MOST;
    let units = if over_hidden { hidden } else { visible };
    let states = 1usize << units;
    let firsts: Vec<usize> = (0..states).step_by(TOGETHER).collect();
    let parts: Vec<f64> = (firsts.par_iter())
        .map(|&first| {
            let count = TOGETHER.min(states - first);
            let states = bits(first, count, units);
            parallel::serial(|| {
                let terms = match over_hidden {
                    true => hidden_terms(machine, &states),
                    false => machine.free_energy(&states).iter().map(|f| -f).collect(),
                };
                logsumexp(&terms)
            })
        })
        .collect();
    Some(logsumexp(&parts))
}

/// The states of these numbers, `[count, units]`: unit j is bit j.
pub fn bits(first: usize, count: usize, units: usize) -> Vec<f32> {
    let state = |n: usize| (0..units).map(move |j| (n >> j & 1) as f32);
    (first..first + count).flat_map(state).collect()
}

/// log sum_v e^(-E(v, h)) of each row h.
fn hidden_terms(machine: &Machine, h: &[f32]) -> Vec<f64> {
    let (d, width) = (machine.visible(), machine.hidden());
    let mut inputs = vec![0.0; h.len() / width * d];
    machine.visible_inputs(h, &mut inputs);
    if machine.deviations().is_none() {
        unary_in_place(Unary::Softplus, &mut inputs);
    }
    let rows = h.chunks_exact(width).zip(inputs.chunks_exact(d));
    let terms = rows.map(|(h, inputs)| {
        let visible = match machine.deviations() {
            None => sum(inputs),
            Some(deviations) => {
                // With m = W h: the Gaussian integral gives (b / s) m + m^2 / 2.
                let units = inputs.iter().zip(machine.visible_bias()).zip(deviations);
                let exponent: f64 = units
                    .map(|((&mean, &b), &s)| {
                        let (m, b) = (f64::from((mean - b) / s), f64::from(b / s));
                        m * (b + 0.5 * m)
                    })
                    .sum();
                log_volume(deviations) + exponent
            }
        };
        f64::from(dot(machine.hidden_bias(), h)) + visible
    });
    terms.collect()
}
