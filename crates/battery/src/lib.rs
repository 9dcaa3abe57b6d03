#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod abilities;
pub mod gradients;
pub mod likelihood;
mod subject;
pub mod training;

use nn::model::Entry;
pub use subject::{Subject, subjects, subjects_of};

/// One thing that is asked of every model: it panics, with the model's name, where that does not
/// hold.
pub type Check = fn(&Subject);

/// Runs a check on every model of the command, and on these.
///
/// # Panics
/// With the names of all models that do not pass.
pub fn on_every_model(check: Check, others: &'static [Entry]) {
    let passes = |s: &Subject| std::panic::catch_unwind(|| check(s)).is_ok();
    let failed: Vec<String> = (subjects(others).iter())
        .filter(|s| !passes(s))
        .map(Subject::to_string)
        .collect();
    assert!(
        failed.is_empty(),
        "it does not hold for {}",
        failed.join("; ")
    );
}
