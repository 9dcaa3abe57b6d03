//! The parameters of one machine, under their names, and how they are trained: a restricted
//! Boltzmann machine is one of these, a deep belief network several.

use crate::machine::{Machine, base_rate};
use crate::trainer::{Sides, Trainer, Vars};
use grad::Tensor;
use nn::model::{Loss, Setup, Step};
use nn::random::normal;
use nn::{Bound, Builder, ParamId};

/// `weight` `[D, H]`, `visible_bias` `[D]`, `hidden_bias` `[H]` and, of Gaussian visible units,
/// `visible_log_deviation` `[D]`.
pub(crate) struct Layer {
    weight: ParamId,
    visible_bias: ParamId,
    hidden_bias: ParamId,
    /// log s of Gaussian visible units.
    pub(crate) log_deviations: Option<ParamId>,
    trainer: Trainer,
    /// D and H.
    pub(crate) sizes: [usize; 2],
}

/// A weight `[d, h]` of small normal numbers, as Hinton's practical guide has it (2010, section 8).
pub(crate) fn weight(b: &mut Builder, name: &str, d: usize, h: usize) -> ParamId {
    b.param(name, [d, h], |shape, stream| {
        Tensor::from_fn(shape, |_| 0.01 * normal(stream) as f32)
    })
}

impl Layer {
    /// A machine whose visible units have these means in the data, and these standard deviations
    /// where they are Gaussian. Visible biases begin as the base rates, or as the means.
    pub(crate) fn new(
        b: &mut Builder,
        setup: &Setup,
        means: &[f32],
        deviations: Option<Vec<f32>>,
        hidden: usize,
    ) -> Layer {
        let d = means.len();
        let first = |&mean: &f32| match deviations {
            Some(_) => mean,
            None => base_rate(mean),
        };
        let biases: Vec<f32> = means.iter().map(first).collect();
        let logs = deviations.map(|list| list.iter().map(|s| s.ln()).collect::<Vec<f32>>());
        let sides = Sides {
            means,
            hidden,
            gaussian: logs.is_some(),
        };
        Layer {
            weight: weight(b, "weight", d, hidden),
            visible_bias: b.param("visible_bias", [d], |shape, _| Tensor::new(shape, &biases)),
            hidden_bias: b.param("hidden_bias", [hidden], |shape, _| Tensor::zeros(shape)),
            trainer: Trainer::new(b, setup, &sides),
            log_deviations: logs.map(|logs| {
                b.param("visible_log_deviation", [d], |shape, _| {
                    Tensor::new(shape, &logs)
                })
            }),
            sizes: [d, hidden],
        }
    }

    /// The machine that these parameters make.
    pub(crate) fn machine(&self, p: &Bound<f32>) -> Machine {
        self.vars(p).machine()
    }

    fn vars<'p>(&self, p: &'p Bound<f32>) -> Vars<'p> {
        Vars {
            weight: &p[self.weight],
            visible_bias: &p[self.visible_bias],
            hidden_bias: &p[self.hidden_bias],
            log_deviations: self.log_deviations.map(|id| &p[id]),
        }
    }

    /// What a step minimises, for visible units v `[n, D]`, at `rate` times the learning rate.
    pub(crate) fn loss(&self, step: &Step, v: &Tensor<f32>, rate: f64) -> Loss {
        self.trainer.loss(step, &self.vars(step.p), v, rate)
    }
}
