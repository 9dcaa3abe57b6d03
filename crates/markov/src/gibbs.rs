//! What the chains of a machine make: samples, the way there, and the missing part of an image.
//! The visible units may be more than an image has, as those of a deep Boltzmann machine are:
//! the first are the pixels.

use crate::machine::{Machine, Path};
use crate::noise;
use crate::walk::Walk;
use nn::model::{SampleRequest, Takes};
use nn::random::word;

/// Steps of a chain unless told otherwise.
pub(crate) const STEPS: usize = 1000;
/// What samplers there are: along a path of machines to the one at hand for half of the steps and
/// then at that one; or there from the first step on.
pub(crate) const TAKES: Takes = Takes::NOTHING.steps(STEPS).samplers(&["annealed", "gibbs"]);

/// Means of the visible units after the steps of the request: `[count, D]`.
pub(crate) fn samples(machine: &Machine, request: &SampleRequest) -> Vec<f32> {
    let path = Path::from_biases(machine);
    let steps = request.steps.unwrap_or(STEPS);
    let annealed = request.sampler.as_deref() != Some("gibbs");
    let rising = if annealed { steps / 2 } else { 0 };
    let mut walk = Walk::from_base(&path, streams(request, "samples"));
    for n in 0..steps.saturating_sub(1) {
        walk.set_beta(if n < rising {
            (n + 1) as f32 / rising as f32
        } else {
            1.0
        });
        walk.step();
    }
    walk.set_beta(1.0);
    walk.into_means()
}

/// Means of the visible units at each frame of each chain: `[count, frames, D]`. The first frame
/// is a sample.
pub(crate) fn frames(machine: &Machine, request: &SampleRequest, frames: usize) -> Vec<f32> {
    let d = machine.visible();
    let path = Path::end(machine);
    let first = SampleRequest::new(request.count, request.seed);
    let mut start = samples(machine, &first);
    let mut streams = streams(request, "frames");
    match machine.deviations() {
        None => noise::bernoulli(&mut start, d, &mut streams),
        Some(deviations) => noise::gaussian(&mut start, deviations, &mut streams),
    }
    let mut walk = Walk::from(&path, start, streams);
    let mut out = vec![0.0; request.count * frames * d];
    for frame in 0..frames {
        if frame > 0 {
            walk.steps(request.steps.unwrap_or(1));
        }
        let means = walk.means_after_half_a_step();
        for (chain, means) in means.chunks_exact(d).enumerate() {
            out[(chain * frames + frame) * d..][..d].copy_from_slice(means);
        }
    }
    out
}

/// Draws of the unknown visible units with the known ones held where they are: v `[n, D]`, as it
/// is after `steps` steps. The unknown units begin as if they were independent.
pub(crate) fn complete(
    machine: &Machine,
    v: &[f32],
    known: &[bool],
    seed: u64,
    steps: usize,
) -> Vec<f32> {
    let d = machine.visible();
    let path = Path::from_biases(machine);
    let streams = noise::streams(&[seed, word("completion")], 0, v.len() / d);
    let mut walk = Walk::from_base(&path, streams);
    let clamp = |walk: &mut Walk| {
        for (row, given) in walk
            .visible_mut()
            .chunks_exact_mut(d)
            .zip(v.chunks_exact(d))
        {
            for ((x, &given), &known) in row.iter_mut().zip(given).zip(known) {
                if known {
                    *x = given;
                }
            }
        }
    };
    clamp(&mut walk);
    let rising = steps / 2;
    for n in 0..steps {
        walk.set_beta(((n + 1) as f32 / rising.max(1) as f32).min(1.0));
        walk.step();
        clamp(&mut walk);
    }
    walk.into_visible()
}

fn streams(request: &SampleRequest, purpose: &str) -> Vec<nn::random::Stream> {
    noise::streams(&[request.seed, word(purpose)], 0, request.count)
}
