//! Learning-rate schedules: a factor for each step, no state.

use serde::{Deserialize, Serialize};

/// The factor on the learning rate at a step.
///
/// As TOML or JSON it is a table whose `kind` is `constant`, `exponential`, `cosine`, `warmup` or
/// `warmup-cosine`.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// 1.
    #[default]
    Constant,
    /// decay^step.
    Exponential {
        /// The factor of one step.
        decay: f64,
    },
    /// From 1 down to 0 along half a cosine over the whole run. Loshchilov & Hutter 2017,
    /// arXiv:1608.03983.
    Cosine,
    /// Linearly up to 1 over this many steps, then as [`Cosine`](Schedule::Cosine) over the rest.
    WarmupCosine {
        /// Steps until 1 is reached.
        steps: u64,
    },
    /// Linearly up to 1 over this many steps, then 1.
    Warmup {
        /// Steps until 1 is reached.
        steps: u64,
    },
}

impl Schedule {
    /// The factor at `step` (0-based) of `total`.
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        match *self {
            Schedule::Constant => 1.0,
            Schedule::Exponential { decay } => decay.powf(step as f64),
            Schedule::Cosine => {
                let done = (step as f64 / total.max(1) as f64).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
            Schedule::WarmupCosine { steps } if step < steps => {
                Schedule::Warmup { steps }.factor(step, total)
            }
            Schedule::WarmupCosine { steps } => {
                Schedule::Cosine.factor(step - steps, total.saturating_sub(steps))
            }
            Schedule::Warmup { steps } => ((step + 1) as f64 / steps.max(1) as f64).min(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middles() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(Schedule::Constant.factor(5, 10), 1.0);
        near(Schedule::Exponential { decay: 0.5 }.factor(3, 10), 0.125);
        near(Schedule::Cosine.factor(0, 10), 1.0);
        near(Schedule::Cosine.factor(5, 10), 0.5);
        near(Schedule::Cosine.factor(10, 10), 0.0);
        near(Schedule::Cosine.factor(11, 10), 0.0);
        near(Schedule::Warmup { steps: 4 }.factor(0, 10), 0.25);
        near(Schedule::Warmup { steps: 4 }.factor(8, 10), 1.0);
        let both = Schedule::WarmupCosine { steps: 4 };
        for (step, factor) in [
            (0, 0.25),
            (3, 1.0),
            (4, 1.0),
            (9, 0.5),
            (14, 0.0),
            (15, 0.0),
        ] {
            near(both.factor(step, 14), factor);
        }
    }
}
