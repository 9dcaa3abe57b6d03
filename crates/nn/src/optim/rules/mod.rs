//! The table of update rules: each is one file and one name here.
//!
//! In their formulas g is the gradient, p the parameter, t = 1, 2, .. the step.

mod adagrad;
mod adam;
mod adam_w;
mod muon;
mod rms_prop;
mod sgd;

use super::rule::Rule;

/// All rules, in the order in which they are listed to users.
pub(super) const RULES: &[&Rule] = &[
    &sgd::RULE,
    &rms_prop::RULE,
    &adagrad::RULE,
    &adam::RULE,
    &adam_w::RULE,
    &muon::RULE,
];
