//! RMSProp.
//!
//! v <- alpha v + (1 - alpha) g^2; p <- p - lr g / (sqrt(v) + eps). Tieleman & Hinton 2012.

use crate::optim::Optimiser;
use crate::optim::rule::{Rule, Setting};
use grad::kernels::optim::RmsProp;

pub(super) static RULE: Rule = Rule {
    kind: "rms-prop",
    name: "RMSProp",
    settings: &[
        Setting::LR,
        Setting::decay("alpha", 0.99),
        Setting::positive("eps", 1e-8),
    ],
    moments: |_, _| &["v"],
    at: |optimiser, step| {
        let [lr, alpha, eps, ..] = optimiser.values();
        let rule = RmsProp {
            learning_rate: lr * step.lr_factor,
            rho: alpha,
            epsilon: eps,
            gradient_scale: step.gradient_scale,
            l2: 0.0,
        };
        Box::new(move |p, g, [v, _]| rule.update(p, g, v))
    },
    matrices: None,
};

impl Optimiser {
    /// RMSProp with alpha = 0.99, eps = 1e-8.
    pub fn rms_prop(lr: f64) -> Optimiser {
        Optimiser::of(&RULE, lr)
    }
}
