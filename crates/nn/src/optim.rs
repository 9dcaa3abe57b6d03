//! Optimisers: how a gradient changes a parameter, and what must be remembered for it.
//!
//! Formulas and defaults are PyTorch's. An update is one pass over memory, in place: parameter,
//! gradient and moments are read once.

mod pass;
mod rule;
mod rules;

pub use rule::Optimiser;

use crate::params::{ParamId, Params};
use crate::save::{self, Lookup, ParamsError};
use grad::Tensor;
use pass::{Matrix, Piece};
use rule::Step;

/// An optimiser at work on some parameters: its moments and how many steps it has made.
///
/// ```
/// use grad::Tensor;
/// use nn::Params;
/// use nn::optim::{Optimiser, OptimiserState};
///
/// let mut params = Params::new();
/// let x = params.add("x".into(), Tensor::scalar(1.0f32), true);
/// let mut state = OptimiserState::new(Optimiser::sgd(0.25), &params, vec![x]);
/// for _ in 0..3 {
///     let gradient = params[x].value.map(|x| 2.0 * x); // of x^2
///     state.step(&mut params, &[gradient], 1.0);
/// }
/// assert_eq!(params[x].value.item(), 0.125);
/// ```
#[derive(Clone, Debug)]
pub struct OptimiserState {
    optimiser: Optimiser,
    slots: Vec<Slot>,
    steps: u64,
}

/// What is remembered of one parameter.
#[derive(Clone, Debug)]
struct Slot {
    id: ParamId,
    name: String,
    /// As many as [`Optimiser::moments`].
    moments: Vec<Tensor<f32>>,
    /// Room for a rule of matrices to work in.
    scratch: Vec<f32>,
}

impl OptimiserState {
    /// An optimiser that has made no step, for these parameters; all moments are 0.
    pub fn new(optimiser: Optimiser, params: &Params<f32>, ids: Vec<ParamId>) -> OptimiserState {
        let slot = |id| {
            let param = &params[id];
            let zeros = |_: &&str| Tensor::zeros(*param.value.shape());
            let moments = optimiser
                .moments(param.value.shape())
                .iter()
                .map(zeros)
                .collect();
            Slot {
                id,
                name: param.name.clone(),
                moments,
                scratch: Vec::new(),
            }
        };
        OptimiserState {
            slots: ids.into_iter().map(slot).collect(),
            optimiser,
            steps: 0,
        }
    }

    /// One update with the learning rate times `lr_factor`; gradients in the order of the ids.
    ///
    /// # Panics
    /// If the gradients are not as many as the ids, or one has not its parameter's shape.
    #[track_caller]
    pub fn step(&mut self, params: &mut Params<f32>, gradients: &[Tensor<f32>], lr_factor: f64) {
        self.step_scaled(params, gradients, lr_factor, 1.0);
    }

    /// As [`step`](Self::step) with each gradient multiplied by `gradient_scale` on the way: 1 / B
    /// to make a mean of a sum, or the factor of a [clipped norm](crate::clip::norm_factor).
    ///
    /// Values are changed in place where nobody else holds their memory. A [`Bound`] of these
    /// parameters does: drop it before.
    ///
    /// [`Bound`]: crate::Bound
    ///
    /// # Panics
    /// As [`step`](Self::step).
    #[track_caller]
    pub fn step_scaled(
        &mut self,
        params: &mut Params<f32>,
        gradients: &[Tensor<f32>],
        lr_factor: f64,
        gradient_scale: f64,
    ) {
        self.step_summed(params, [gradients, &[]], lr_factor, gradient_scale);
    }

    /// As [`step_scaled`](Self::step_scaled) with gradients that are sums of two, a + b, added on
    /// the way: halves of a batch meet here without another pass over memory. Without a second
    /// term b is empty.
    ///
    /// # Panics
    /// As [`step`](Self::step), for each of the two.
    #[track_caller]
    pub fn step_summed(
        &mut self,
        params: &mut Params<f32>,
        [a, b]: [&[Tensor<f32>]; 2],
        lr_factor: f64,
        gradient_scale: f64,
    ) {
        let expected = self.slots.len();
        assert!(
            a.len() == expected && (b.is_empty() || b.len() == expected),
            "step: expected a gradient for each parameter"
        );
        self.steps += 1;
        let step = Step {
            t: self.steps,
            lr_factor,
            gradient_scale,
        };
        let mut values: Vec<_> = params
            .iter_mut()
            .map(|param| Some(&mut param.value))
            .collect();
        let whole = self.optimiser.matrices(step);
        let (mut pieces, mut matrices) = (Vec::new(), Vec::new());
        for (i, slot) in self.slots.iter_mut().enumerate() {
            let value = values[slot.id.index()]
                .take()
                .expect("a parameter has one slot");
            for gradient in std::iter::once(&a[i]).chain(b.get(i)) {
                assert_eq!(
                    gradient.shape(),
                    value.shape(),
                    "step: the gradient of {} must have its shape",
                    slot.name
                );
            }
            let mut moments = slot.moments.iter_mut();
            let sides = whole.as_ref().and_then(|_| pass::sides(value.shape()));
            let piece = Piece {
                p: value.make_mut(),
                g: [a[i].data(), b.get(i).map_or(&[], Tensor::data)],
                moments: [(); 2].map(|()| moments.next().map_or(&mut [][..], Tensor::make_mut)),
            };
            match sides {
                None => pieces.push(piece),
                Some(sides) => matrices.push(Matrix {
                    sides,
                    piece,
                    scratch: &mut slot.scratch,
                }),
            }
        }
        pass::run(&*self.optimiser.at(step), &mut pieces);
        if let Some(whole) = whole {
            pass::run_matrices(&*whole, &mut matrices);
        }
    }

    /// The rule.
    pub fn optimiser(&self) -> &Optimiser {
        &self.optimiser
    }

    /// The parameters it changes, in the order of the gradients.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ParamId> {
        self.slots.iter().map(|slot| slot.id)
    }

    /// How many steps it has made.
    pub fn step_count(&self) -> u64 {
        self.steps
    }

    /// All moments, each named after its parameter and itself: `encoder.0.weight.m`.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &Tensor<f32>)> {
        self.slots.iter().flat_map(|slot| {
            let kinds = (slot.moments.first()).map(|it| self.optimiser.moments(it.shape()));
            let named = slot.moments.iter().zip(kinds.into_iter().flatten());
            named.map(|(moment, kind)| (format!("{}.{kind}", slot.name), moment))
        })
    }

    /// Takes back what [`step_count`](Self::step_count) and [`tensors`](Self::tensors) gave.
    ///
    /// # Errors
    /// If a moment is missing or has another shape. Then nothing has changed.
    pub fn restore(&mut self, steps: u64, lookup: &mut Lookup) -> Result<(), ParamsError> {
        let mut restored = Vec::new();
        for (name, moment) in self.tensors() {
            restored.push(save::take(lookup, &name, moment.shape())?);
        }
        let moments = self.slots.iter_mut().flat_map(|slot| &mut slot.moments);
        for (moment, value) in moments.zip(restored) {
            *moment = value;
        }
        self.steps = steps;
        Ok(())
    }
}
