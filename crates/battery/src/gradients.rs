//! The gradient of the whole loss, as the engine takes it, against differences of its value.

use crate::subject::{Subject, shake};
use grad::{Tape, Tensor, Var};
use nn::model::{Batch, Model, Step};
use nn::params::{ParamId, Params};
use nn::random::{normal_tensor, stream, word};

/// Images of the batch.
const IMAGES: usize = 4;
/// How far parameters are moved along a direction of length 1.
const STEPS: [f64; 5] = [1e-2, 3e-3, 1e-3, 3e-4, 3e-2];
/// Differences of about one step whose mean is taken: rounding is another for each.
const AVERAGED: usize = 8;
/// The share of a loss that is lost to rounding: sums of some thousands of terms in f32.
const ROUNDING: f64 = 1e-6;

/// The loss of one phase, on the same images and noise whenever it is asked for.
struct Whole<'a> {
    model: &'a dyn Model,
    batch: &'a Batch,
    phase: usize,
    prefix: &'static str,
    step: u64,
}

/// A loss, and its gradient by each parameter that the phase trains.
struct Found {
    loss: f64,
    is_surrogate: bool,
    gradients: Vec<(ParamId, Tensor<f32>)>,
}

impl Whole<'_> {
    fn found(&self, params: &Params<f32>, wanted: bool) -> Found {
        let tape = Tape::new();
        let p = params.bind_where(&tape, |param| param.name.starts_with(self.prefix));
        let step = Step::new(&tape, &p, self.batch).phase(self.phase);
        let loss = self.model.loss(&step.at(self.step, 0.0));
        let (ids, vars): (Vec<ParamId>, Vec<&Var<f32>>) = p.recorded().unzip();
        let gradients = if wanted {
            tape.gradients(&loss.sum, &vars)
        } else {
            Vec::new()
        };
        Found {
            loss: f64::from(loss.sum.item()),
            is_surrogate: loss.is_surrogate,
            gradients: ids.into_iter().zip(gradients).collect(),
        }
    }

    /// The derivative of the loss along a direction in one parameter, by differences of about `h`.
    fn difference(&self, params: &Params<f32>, id: ParamId, along: &[f64], h: f64) -> f64 {
        let at = |h: f64| {
            let mut moved = params.clone();
            for (x, d) in moved.get_mut(id).value.make_mut().iter_mut().zip(along) {
                *x = (f64::from(*x) + h * d) as f32;
            }
            self.found(&moved, false).loss
        };
        let difference = |i: usize| {
            let h = h * (1.0 + i as f64 / (2 * AVERAGED) as f64);
            (at(h) - at(-h)) / (2.0 * h)
        };
        (0..AVERAGED).map(difference).sum::<f64>() / AVERAGED as f64
    }
}

/// For each parameter and phase: along the gradient and a random direction together, a difference
/// of the loss is what the gradient says, as far as f32 can tell. Losses that say of themselves
/// that their value is not what they descend on ([`Loss::surrogate`](nn::model::Loss::surrogate))
/// are not asked.
pub fn gradients_agree_with_differences(s: &Subject) {
    let data = s.data();
    let (model, mut params) = s.build_on(&data, 3);
    // Layers that begin at zero would hide those before them.
    shake(&mut params, 0.1, 3);
    let batch = s.batch(&data, IMAGES);
    let recipe = s.entry.recipe_for(&s.hypers(), s.image);
    for (i, phase) in recipe.phases.iter().enumerate() {
        let active = (0..64).find(|&step| model.is_active(i, step));
        let whole = Whole {
            model: &*model,
            batch: &batch,
            phase: i,
            prefix: phase.prefix,
            step: active.unwrap_or_else(|| panic!("{s}: {} is never active", phase.name)),
        };
        let found = whole.found(&params, true);
        assert!(
            !found.gradients.is_empty(),
            "{s}: {} trains nothing",
            phase.name
        );
        if !found.is_surrogate {
            agree(s, &whole, &params, &found);
        }
    }
}

fn agree(s: &Subject, whole: &Whole, params: &Params<f32>, found: &Found) {
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let gradients: Vec<(ParamId, Vec<f64>)> = (found.gradients.iter())
        .map(|(id, g)| (*id, g.data().iter().map(|&g| f64::from(g)).collect()))
        .collect();
    let all = length(&gradients.iter().map(|(_, g)| length(g)).collect::<Vec<_>>());
    assert!(
        all.is_finite() && all > 0.0,
        "{s}: a gradient of length {all}"
    );
    let mut told = 0;
    for (id, g) in &gradients {
        let name = &params[*id].name;
        let noise: Tensor<f64> = normal_tensor([g.len()], &mut stream(&[word(name)]));
        let (size, spread) = (length(g), length(noise.data()));
        let mixed = |(g, r): (&f64, &f64)| g / size.max(1e-30) + 0.8 * r / spread;
        let along: Vec<f64> = g.iter().zip(noise.data()).map(mixed).collect();
        let norm = length(&along);
        let along: Vec<f64> = along.iter().map(|x| x / norm).collect();
        let expected: f64 = g.iter().zip(&along).map(|(g, d)| g * d).sum();
        let bound = 0.05 * size + 2e-3 * all;
        let lost = ROUNDING * (1.0 + found.loss.abs()) / (AVERAGED as f64).sqrt();
        let clear = STEPS.iter().filter(|&&h| lost / h < bound);
        let differences: Vec<(f64, f64)> = clear
            .map(|&h| (h, whole.difference(params, *id, &along, h)))
            .collect();
        // Where steps of different size give different answers, the loss has kinks or jumps that
        // close (a gradient penalty's, where a leaky ReLU bends), and none of them is the gradient.
        let steady = differences.is_empty()
            || differences.iter().enumerate().any(|(i, &(h, a))| {
                let others = differences.iter().skip(i + 1);
                others
                    .map(|&(_, b)| b)
                    .any(|b| (a - b).abs() <= bound + lost / h)
            });
        let near = |&(h, found): &(f64, f64)| (found - expected).abs() <= bound + lost / h;
        let agrees = differences.iter().any(near);
        told += usize::from(!differences.is_empty() && (steady || agrees));
        assert!(
            differences.is_empty() || !steady || agrees,
            "{s}: the gradient of {name}, {size} of {all}, is {expected} along a direction, \
             differences of the loss give {differences:?}"
        );
    }
    assert!(
        2 * told > gradients.len(),
        "{s}: f32 tells too little: {told} of {}",
        gradients.len()
    );
}
