//! Update rules and their settings.

use super::muon;
use grad::Shape;
use grad::kernels::optim;
use serde::{Deserialize, Serialize};

/// An update rule with its settings. g is the gradient, p the parameter, t = 1, 2, .. the step.
///
/// As TOML or JSON it is a table whose `kind` is `sgd`, `rms-prop`, `adagrad`, `adam`, `adam-w` or
/// `muon`.
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
    /// For tensors of two dimensions or more, seen as matrices `[product of the others, last]`:
    /// b <- momentum b + (1 - momentum) g; o = the orthogonal matrix nearest to
    /// momentum b + (1 - momentum) g, nearly; p <- (1 - lr weight_decay) p - lr 0.2 sqrt(l) o, l the
    /// longer side, so that steps are as long as Adam's. Other tensors: Adam.
    /// Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the length of
    /// steps and the decay are of Liu et al. 2025, arXiv:2502.16982, section 2.2.
    Muon {
        /// Learning rate.
        lr: f64,
        /// Decay of the mean gradient.
        momentum: f64,
        /// Share of a matrix that a step with lr = 1 would take away.
        weight_decay: f64,
    },
}

/// What the steps of all parameters have in common.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Counted from 1.
    pub(super) t: u64,
    pub(super) lr_factor: f64,
    pub(super) gradient_scale: f64,
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

    /// Muon with a momentum of 0.95 and a weight decay of 0.1.
    pub fn muon(lr: f64) -> Optimiser {
        Optimiser::Muon {
            lr,
            momentum: 0.95,
            weight_decay: 0.1,
        }
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        match *self {
            Optimiser::Sgd { lr, .. }
            | Optimiser::RmsProp { lr, .. }
            | Optimiser::Adagrad { lr, .. }
            | Optimiser::Adam { lr, .. }
            | Optimiser::AdamW { lr, .. }
            | Optimiser::Muon { lr, .. } => lr,
        }
    }

    /// The same rule with another learning rate.
    pub fn with_lr(mut self, new: f64) -> Optimiser {
        match &mut self {
            Optimiser::Sgd { lr, .. }
            | Optimiser::RmsProp { lr, .. }
            | Optimiser::Adagrad { lr, .. }
            | Optimiser::Adam { lr, .. }
            | Optimiser::AdamW { lr, .. }
            | Optimiser::Muon { lr, .. } => *lr = new,
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
            Optimiser::Muon { .. } => "Muon",
        }
    }

    /// What is remembered of a parameter of this shape.
    pub(super) fn moments(&self, shape: &Shape) -> &'static [&'static str] {
        match *self {
            Optimiser::Muon { .. } if muon::sides(shape).is_some() => &["momentum"],
            Optimiser::Sgd { momentum: 0.0, .. } => &[],
            Optimiser::Sgd { .. } => &["momentum"],
            Optimiser::RmsProp { .. } => &["v"],
            Optimiser::Adagrad { .. } => &["sum"],
            Optimiser::Adam { .. } | Optimiser::AdamW { .. } | Optimiser::Muon { .. } => {
                &["m", "v"]
            }
        }
    }

    /// What it does in one step.
    pub(super) fn at(&self, step: Step) -> Update {
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
            } => Update::Sgd(optim::Sgd {
                learning_rate,
                momentum,
                nesterov,
                gradient_scale,
                l2,
            }),
            Optimiser::RmsProp { alpha, eps, .. } => Update::RmsProp(optim::RmsProp {
                learning_rate,
                rho: alpha,
                epsilon: eps,
                gradient_scale,
                l2,
            }),
            Optimiser::Adagrad { eps, .. } => Update::Adagrad(optim::Adagrad {
                learning_rate,
                epsilon: eps,
                gradient_scale,
                l2,
            }),
            Optimiser::Adam {
                beta1, beta2, eps, ..
            }
            | Optimiser::AdamW {
                beta1, beta2, eps, ..
            } => {
                let adam = optim::Adam {
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
                };
                Update::Adam(adam.at(t))
            }
            Optimiser::Muon { lr, .. } => Optimiser::adam(lr).at(step),
        }
    }
}

/// A rule in one step.
#[derive(Clone, Copy)]
pub(super) enum Update {
    Sgd(optim::Sgd),
    RmsProp(optim::RmsProp),
    Adagrad(optim::Adagrad),
    Adam(optim::AdamStep),
}

impl Update {
    /// The step of numbers `p` with gradients `g`; the moments are as many as
    /// [`moments`](Optimiser::moments) says.
    pub(super) fn run(&self, p: &mut [f32], g: &[f32], [m, v]: [&mut [f32]; 2]) {
        match self {
            Update::Sgd(sgd) if sgd.momentum == 0.0 => sgd.update_plain(p, g),
            Update::Sgd(sgd) => sgd.update(p, g, m),
            Update::RmsProp(rms_prop) => rms_prop.update(p, g, m),
            Update::Adagrad(adagrad) => adagrad.update(p, g, m),
            Update::Adam(adam) => adam.update(p, g, m, v),
        }
    }
}
