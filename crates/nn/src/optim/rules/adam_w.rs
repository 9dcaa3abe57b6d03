//! Adam with a weight decay that is no part of the gradient.
//!
//! p <- (1 - lr weight_decay) p, then as Adam. Loshchilov & Hutter 2019, arXiv:1711.05101.

use super::adam;
use crate::optim::Optimiser;
use crate::optim::rule::{Rule, Setting};

pub(super) static RULE: Rule = Rule {
    kind: "adam-w",
    name: "AdamW",
    settings: &[
        Setting::LR,
        Setting::decay("beta1", 0.9),
        Setting::decay("beta2", 0.999),
        Setting::positive("eps", 1e-8),
        // The share of a parameter that a step with lr = 1 would take away.
        Setting::not_negative("weight_decay", 0.01),
    ],
    moments: |_, _| &["m", "v"],
    at: |optimiser, step| {
        let [lr, beta1, beta2, eps, weight_decay] = optimiser.values();
        adam::at([lr, beta1, beta2, eps], weight_decay, step)
    },
    matrices: None,
};

impl Optimiser {
    /// AdamW with Adam's defaults and a weight decay of 0.01.
    pub fn adam_w(lr: f64) -> Optimiser {
        Optimiser::of(&RULE, lr)
    }
}
