//! Adagrad.
//!
//! s <- s + g^2; p <- p - lr g / (sqrt(s) + eps). Duchi et al. 2011.

use crate::optim::Optimiser;
use crate::optim::rule::{Rule, Setting};
use grad::kernels::optim::Adagrad;

pub(super) static RULE: Rule = Rule {
    kind: "adagrad",
    name: "Adagrad",
    settings: &[Setting::LR, Setting::positive("eps", 1e-10)],
    moments: |_, _| &["sum"],
    at: |optimiser, step| {
        let [lr, eps, ..] = optimiser.values();
        let rule = Adagrad {
            learning_rate: lr * step.lr_factor,
            epsilon: eps,
            gradient_scale: step.gradient_scale,
            l2: 0.0,
        };
        Box::new(move |p, g, [sum, _]| rule.update(p, g, sum))
    },
    matrices: None,
};

impl Optimiser {
    /// Adagrad with eps = 1e-10.
    pub fn adagrad(lr: f64) -> Optimiser {
        Optimiser::of(&RULE, lr)
    }
}
