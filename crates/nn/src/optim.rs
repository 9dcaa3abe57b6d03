//! Optimisers: how a gradient changes a parameter, and what must be remembered for it.
//!
//! Formulas and defaults are PyTorch's. An update is one pass over memory, in place: parameter,
//! gradient and moments are read once.

mod pass;

use crate::params::{ParamId, Params};
use crate::save::{self, Lookup, ParamsError};
use grad::Tensor;
use grad::kernels::optim;
use pass::Piece;
use serde::{Deserialize, Serialize};

/// An update rule with its settings. g is the gradient, p the parameter, t = 1, 2, .. the step.
///
/// As TOML or JSON it is a table whose `kind` is `sgd`, `rms-prop`, `adagrad`, `adam` or `adam-w`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Optimiser {
    /// b <- momentum b + g; p <- p - lr b, with Nesterov's p <- p - lr (g + momentum b).
    /// Sutskever et al. 2013.
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Share of the last step in the next; with 0 nothing is remembered.
        momentum: f64,
        /// Whether the gradient counts as if taken after the momentum's step.
        nesterov: bool,
    },
    /// v <- alpha v + (1 - alpha) g^2; p <- p - lr g / (sqrt(v) + eps). Tieleman & Hinton 2012.
    RmsProp {
        /// Learning rate.
        lr: f64,
        /// Decay of the mean square.
        alpha: f64,
        /// Keeps the quotient finite.
        eps: f64,
    },
    /// s <- s + g^2; p <- p - lr g / (sqrt(s) + eps). Duchi et al. 2011.
    Adagrad {
        /// Learning rate.
        lr: f64,
        /// Keeps the quotient finite.
        eps: f64,
    },
    /// m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
    /// p <- p - lr m' / (sqrt(v') + eps), m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).
    /// Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    Adam {
        /// Learning rate.
        lr: f64,
        /// Decay of the mean.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Keeps the quotient finite.
        eps: f64,
    },
    /// p <- (1 - lr weight_decay) p, then as Adam. Loshchilov & Hutter 2019, arXiv:1711.05101.
    AdamW {
        /// Learning rate.
        lr: f64,
        /// Decay of the mean.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Keeps the quotient finite.
        eps: f64,
        /// Share of a parameter that a step with lr = 1 would take away.
        weight_decay: f64,
    },
}

/// What the steps of all parameters have in common.
#[derive(Clone, Copy)]
struct Step {
    /// Counted from 1.
    t: u64,
    lr_factor: f64,
    gradient_scale: f64,
}

impl Optimiser {
    /// Gradient descent without momentum.
    pub fn sgd(lr: f64) -> Optimiser {
        Optimiser::Sgd {
            lr,
            momentum: 0.0,
            nesterov: false,
        }
    }

    /// Gradient descent with momentum, 0.9 as a rule.
    pub fn momentum(lr: f64, momentum: f64) -> Optimiser {
        Optimiser::Sgd {
            lr,
            momentum,
            nesterov: false,
        }
    }

    /// RMSProp with alpha = 0.99, eps = 1e-8.
    pub fn rms_prop(lr: f64) -> Optimiser {
        Optimiser::RmsProp {
            lr,
            alpha: 0.99,
            eps: 1e-8,
        }
    }

    /// Adagrad with eps = 1e-10.
    pub fn adagrad(lr: f64) -> Optimiser {
        Optimiser::Adagrad { lr, eps: 1e-10 }
    }

    /// Adam with betas 0.9 and 0.999 and eps = 1e-8.
    pub fn adam(lr: f64) -> Optimiser {
        Optimiser::adam_with(lr, 0.9, 0.999)
    }

    /// Adam with these betas and eps = 1e-8.
    pub fn adam_with(lr: f64, beta1: f64, beta2: f64) -> Optimiser {
        Optimiser::Adam {
            lr,
            beta1,
            beta2,
            eps: 1e-8,
        }
    }

    /// AdamW with Adam's defaults and a weight decay of 0.01.
    pub fn adam_w(lr: f64) -> Optimiser {
        Optimiser::AdamW {
            lr,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
        }
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        match *self {
            Optimiser::Sgd { lr, .. }
            | Optimiser::RmsProp { lr, .. }
            | Optimiser::Adagrad { lr, .. }
            | Optimiser::Adam { lr, .. }
            | Optimiser::AdamW { lr, .. } => lr,
        }
    }

    /// The same rule with another learning rate.
    pub fn with_lr(mut self, new: f64) -> Optimiser {
        match &mut self {
            Optimiser::Sgd { lr, .. }
            | Optimiser::RmsProp { lr, .. }
            | Optimiser::Adagrad { lr, .. }
            | Optimiser::Adam { lr, .. }
            | Optimiser::AdamW { lr, .. } => *lr = new,
        }
        self
    }

    /// Its name in a line of text.
    pub fn name(&self) -> &'static str {
        match self {
            Optimiser::Sgd { .. } => "SGD",
            Optimiser::RmsProp { .. } => "RMSProp",
            Optimiser::Adagrad { .. } => "Adagrad",
            Optimiser::Adam { .. } => "Adam",
            Optimiser::AdamW { .. } => "AdamW",
        }
    }

    /// What is remembered of each parameter.
    fn moments(&self) -> &'static [&'static str] {
        match *self {
            Optimiser::Sgd { momentum: 0.0, .. } => &[],
            Optimiser::Sgd { .. } => &["momentum"],
            Optimiser::RmsProp { .. } => &["v"],
            Optimiser::Adagrad { .. } => &["sum"],
            Optimiser::Adam { .. } | Optimiser::AdamW { .. } => &["m", "v"],
        }
    }

    /// One step of numbers `p` with gradients `g`; the moments are as many as [`moments`] says.
    ///
    /// [`moments`]: Self::moments
    fn update(&self, step: Step, p: &mut [f32], g: &[f32], [m, v]: [&mut [f32]; 2]) {
        let Step {
            t,
            lr_factor,
            gradient_scale,
        } = step;
        let learning_rate = self.lr() * lr_factor;
        let l2 = 0.0;
        match *self {
            Optimiser::Sgd {
                momentum, nesterov, ..
            } => {
                let sgd = optim::Sgd {
                    learning_rate,
                    momentum,
                    nesterov,
                    gradient_scale,
                    l2,
                };
                if momentum == 0.0 {
                    sgd.update_plain(p, g);
                } else {
                    sgd.update(p, g, m);
                }
            }
            Optimiser::RmsProp { alpha, eps, .. } => optim::RmsProp {
                learning_rate,
                rho: alpha,
                epsilon: eps,
                gradient_scale,
                l2,
            }
            .update(p, g, m),
            Optimiser::Adagrad { eps, .. } => optim::Adagrad {
                learning_rate,
                epsilon: eps,
                gradient_scale,
                l2,
            }
            .update(p, g, m),
            Optimiser::Adam {
                beta1, beta2, eps, ..
            }
            | Optimiser::AdamW {
                beta1, beta2, eps, ..
            } => optim::Adam {
                learning_rate,
                beta1,
                beta2,
                epsilon: eps,
                gradient_scale,
                l2,
                decay: match *self {
                    Optimiser::AdamW { weight_decay, .. } => weight_decay,
                    _ => 0.0,
                },
            }
            .update(t, p, g, m, v),
        }
    }
}

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
}

impl OptimiserState {
    /// An optimiser that has made no step, for these parameters; all moments are 0.
    pub fn new(optimiser: Optimiser, params: &Params<f32>, ids: Vec<ParamId>) -> OptimiserState {
        let slot = |id| {
            let param = &params[id];
            let zeros = |_: &&str| Tensor::zeros(*param.value.shape());
            let moments = optimiser.moments().iter().map(zeros).collect();
            Slot {
                id,
                name: param.name.clone(),
                moments,
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
        let pieces = self.slots.iter_mut().enumerate().map(|(i, slot)| {
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
            Piece {
                p: value.make_mut(),
                g: [a[i].data(), b.get(i).map_or(&[], Tensor::data)],
                moments: [(); 2].map(|()| moments.next().map_or(&mut [][..], Tensor::make_mut)),
            }
        });
        let mut pieces: Vec<_> = pieces.collect();
        pass::run(&self.optimiser, step, &mut pieces);
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
        let kinds = self.optimiser.moments();
        self.slots.iter().flat_map(move |slot| {
            let named = slot.moments.iter().zip(kinds);
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
