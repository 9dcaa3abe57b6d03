//! Gradient descent, with or without momentum.
//!
//! b <- momentum b + g; p <- p - lr b, with Nesterov's p <- p - lr (g + momentum b).
//! Sutskever et al. 2013.

use crate::optim::Optimiser;
use crate::optim::rule::{Rule, Setting};
use grad::kernels::optim::Sgd;

pub(super) static RULE: Rule = Rule {
    kind: "sgd",
    name: "SGD",
    settings: &[
        Setting::LR,
        // The share of the last step in the next; with 0 nothing is remembered.
        Setting::decay("momentum", 0.0),
        // Whether the gradient counts as if taken after the momentum's step.
        Setting::flag("nesterov", false),
    ],
    moments: |optimiser, _| {
        let [_, momentum, ..] = optimiser.values();
        if momentum == 0.0 { &[] } else { &["momentum"] }
    },
    at: |optimiser, step| {
        let [lr, momentum, nesterov, ..] = optimiser.values();
        let sgd = Sgd {
            learning_rate: lr * step.lr_factor,
            momentum,
            nesterov: nesterov != 0.0,
            gradient_scale: step.gradient_scale,
            l2: 0.0,
        };
        if momentum == 0.0 {
            Box::new(move |p, g, _| sgd.update_plain(p, g))
        } else {
            Box::new(move |p, g, [m, _]| sgd.update(p, g, m))
        }
    },
    matrices: None,
};

impl Optimiser {
    /// Gradient descent without momentum.
    pub fn sgd(lr: f64) -> Optimiser {
        Optimiser::of(&RULE, lr)
    }

    /// Gradient descent with momentum, 0.9 as a rule.
    pub fn momentum(lr: f64, momentum: f64) -> Optimiser {
        Optimiser::sgd(lr).with("momentum", momentum)
    }
}
