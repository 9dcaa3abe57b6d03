//! Adam.
//!
//! m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
//! p <- p - lr m' / (sqrt(v') + eps), m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).
//! Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.

use crate::optim::Optimiser;
use crate::optim::rule::{Rule, Setting, Step, Update};
use grad::kernels::optim::Adam;

pub(super) static RULE: Rule = Rule {
    kind: "adam",
    name: "Adam",
    settings: &[
        Setting::LR,
        Setting::decay("beta1", 0.9),
        Setting::decay("beta2", 0.999),
        Setting::positive("eps", 1e-8),
    ],
    moments: |_, _| &["m", "v"],
    at: |optimiser, step| {
        let [lr, beta1, beta2, eps, ..] = optimiser.values();
        at([lr, beta1, beta2, eps], 0.0, step)
    },
    matrices: None,
};

/// Adam's step with a weight decay beside the gradient, which Adam itself has not.
pub(super) fn at([lr, beta1, beta2, epsilon]: [f64; 4], decay: f64, step: Step) -> Box<Update> {
    let adam = Adam {
        learning_rate: lr * step.lr_factor,
        beta1,
        beta2,
        epsilon,
        gradient_scale: step.gradient_scale,
        l2: 0.0,
        decay,
    };
    let adam = adam.at(step.t);
    Box::new(move |p, g, [m, v]| adam.update(p, g, m, v))
}

impl Optimiser {
    /// Adam with betas 0.9 and 0.999 and eps = 1e-8.
    pub fn adam(lr: f64) -> Optimiser {
        Optimiser::of(&RULE, lr)
    }

    /// Adam with these betas and eps = 1e-8.
    pub fn adam_with(lr: f64, beta1: f64, beta2: f64) -> Optimiser {
        Optimiser::adam(lr)
            .with("beta1", beta1)
            .with("beta2", beta2)
    }
}
