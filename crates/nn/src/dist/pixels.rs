//! The distribution of one pixel: what the last layer of an autoregressive model parameterises.
//!
//! Dimensions are independent given their parameters; colours of a pixel depend on each other
//! through the model's ordering alone. Levels enter as x = level / (levels - 1) in `[0, 1]`.

mod logistics;
mod portable;

use crate::dist::{bernoulli, categorical};
use crate::hyper::{Hyper, HyperError, Hypers, Value};
use crate::model::ImageSpec;
use crate::random::{Stream, uniform};
use grad::{Element, Tensor, Var};
use portable::sigmoid;
use std::sync::Arc;

/// A distribution over the levels of one dimension, with K parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// Two levels; K = 1, the logit of 1.
    Bernoulli,
    /// A softmax over the levels; K = levels.
    Categorical {
        /// How many levels.
        levels: usize,
    },
    /// A mixture of logistic distributions, each rounded to the nearest level, where the first
    /// and the last level take all that lies beyond. K = 3 components: logits of the weights,
    /// means, logarithms of the scales; the levels span [-1, 1]. Salimans et al. 2017,
    /// arXiv:1701.05517, section 2.1, without its coupling of colours.
    Logistics {
        /// How many levels.
        levels: usize,
        /// How many logistic distributions.
        components: usize,
    },
}

/// How a model's table says which distribution it is to have.
pub const KIND: Hyper = Hyper {
    name: "pixels",
    meaning: "distribution of a pixel: `auto` is bernoulli for two levels, else softmax",
    default: Value::Choice(&["auto", "bernoulli", "softmax", "logistics"]),
};

/// How it says how many logistic distributions are mixed.
pub const COMPONENTS: Hyper = Hyper {
    name: "components",
    meaning: "logistic distributions in the mixture; for pixels=logistics",
    default: Value::Count(10),
};

impl Pixels {
    /// What [`KIND`] and [`COMPONENTS`] say, for images of this kind.
    pub fn chosen(hypers: &Hypers, spec: &ImageSpec) -> Result<Pixels, HyperError> {
        let levels = spec.levels;
        match hypers.choice(KIND.name) {
            "bernoulli" if levels != 2 => Err(hypers.unfit(format!(
                "pixels=bernoulli needs images of 2 levels, these have {levels}"
            ))),
            "softmax" => Ok(Pixels::Categorical { levels }),
            "logistics" => Ok(Pixels::Logistics {
                levels,
                components: hypers.count(COMPONENTS.name),
            }),
            _ => Ok(Pixels::of(spec)),
        }
    }

    /// Bernoulli for images of two levels, a softmax over the levels where there are more.
    pub fn of(spec: &ImageSpec) -> Pixels {
        match spec.levels {
            2 => Pixels::Bernoulli,
            levels => Pixels::Categorical { levels },
        }
    }

    /// How many values a dimension can take.
    pub fn levels(&self) -> usize {
        match *self {
            Pixels::Bernoulli => 2,
            Pixels::Categorical { levels } | Pixels::Logistics { levels, .. } => levels,
        }
    }

    /// K, how many numbers parameterise one dimension.
    pub fn width(&self) -> usize {
        match *self {
            Pixels::Bernoulli => 1,
            Pixels::Categorical { levels } => levels,
            Pixels::Logistics { components, .. } => 3 * components,
        }
    }

    /// -log p(x) of each image in nats, `[B]`: parameters `[B, ..]`, K for each dimension, the
    /// dimensions in the order of x; x `[B, ..]`, each number one of the levels.
    ///
    /// # Panics
    /// If there are not K parameters for each dimension of x.
    #[track_caller]
    pub fn nll<T: Element>(&self, parameters: &Var<T>, x: &Tensor<T>) -> Var<T> {
        let rows = x.shape()[0];
        let dims = x.len() / rows.max(1);
        assert!(
            parameters.shape()[0] == rows
                && parameters.shape().elements() == x.len() * self.width(),
            "pixels: expected {} parameters for each of the dimensions {}, found {}",
            self.width(),
            x.shape(),
            parameters.shape()
        );
        let parameters = |k: &[usize]| parameters.reshape(&[&[rows, dims], k].concat()[..]);
        match *self {
            Pixels::Bernoulli => {
                bernoulli::nll(&parameters(&[]), &Var::constant(x.reshape([rows, dims])))
            }
            Pixels::Categorical { levels } => {
                let top = (levels - 1) as f64;
                let level = |x: &T| (x.to_f64() * top).round() as u32;
                let levels_of: Arc<[u32]> = x.data().iter().map(level).collect();
                categorical::nll(&parameters(&[levels]), levels_of)
            }
            Pixels::Logistics { levels, components } => logistics::nll(
                &parameters(&[3, components]),
                &x.reshape([rows, dims]),
                levels,
            ),
        }
    }

    /// p of every level, for a coder; sums to 1 but for rounding. The same to the last bit on every
    /// machine.
    ///
    /// # Panics
    /// If there are not K parameters, or not a place for each level.
    #[track_caller]
    pub fn probabilities(&self, parameters: &[f32], p: &mut [f64]) {
        assert!(
            parameters.len() == self.width() && p.len() == self.levels(),
            "pixels: {} parameters and {} levels for {self:?}",
            parameters.len(),
            p.len()
        );
        match *self {
            Pixels::Bernoulli => {
                let logit = f64::from(parameters[0]);
                p.copy_from_slice(&[sigmoid(-logit), sigmoid(logit)]);
            }
            Pixels::Categorical { .. } => {
                let max = parameters.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for (p, l) in p.iter_mut().zip(parameters) {
                    *p = portable::exp(f64::from(l - max));
                }
                let sum: f64 = p.iter().sum();
                p.iter_mut().for_each(|p| *p /= sum);
            }
            Pixels::Logistics { .. } => logistics::probabilities(parameters, p),
        }
    }

    /// A value in `[0, 1]`. Logits are divided by the temperature, scales multiplied by it. Takes
    /// the same amount of randomness whatever the parameters are.
    /// Parameters that are NaN give NaN: weights that left the finite numbers are not hidden.
    ///
    /// # Panics
    /// If there are not K parameters.
    #[track_caller]
    pub fn draw(&self, parameters: &[f32], temperature: f32, stream: &mut Stream) -> f32 {
        assert_eq!(
            parameters.len(),
            self.width(),
            "pixels: parameters for {self:?}"
        );
        match *self {
            Pixels::Bernoulli => {
                let logit = f64::from(parameters[0]) / f64::from(temperature);
                let drawn = f32::from(uniform(stream) < sigmoid(logit));
                if logit.is_nan() { f32::NAN } else { drawn }
            }
            Pixels::Categorical { levels } => {
                let level = choose(parameters, temperature, stream);
                level.map_or(f32::NAN, |level| level as f32 / (levels - 1) as f32)
            }
            Pixels::Logistics { levels, .. } => {
                logistics::draw(parameters, levels, temperature, stream)
            }
        }
    }
}

/// One of the logits' positions, by the inverse of the distribution function; none where a logit
/// is NaN or all are infinite.
fn choose(logits: &[f32], temperature: f32, stream: &mut Stream) -> Option<usize> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: &f32| (f64::from(logit - max) / f64::from(temperature)).exp();
    let total: f64 = logits.iter().map(weight).sum();
    let target = uniform(stream) * total;
    // The largest weight is 1, so less is NaN's doing.
    if total.is_nan() || total < 1.0 {
        return None;
    }
    let mut sum = 0.0;
    // The same sum in the same order ends at `total`, which the target stays below.
    logits.iter().position(|logit| {
        sum += weight(logit);
        target < sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;
    use grad::Tape;

    const KINDS: [Pixels; 6] = [
        Pixels::Bernoulli,
        Pixels::Categorical { levels: 2 },
        Pixels::Categorical { levels: 7 },
        Pixels::Logistics {
            levels: 2,
            components: 1,
        },
        Pixels::Logistics {
            levels: 5,
            components: 3,
        },
        Pixels::Logistics {
            levels: 256,
            components: 2,
        },
    ];

    fn parameters(kind: Pixels, seed: u64) -> Vec<f64> {
        let mut noise = stream(&[seed]);
        (0..kind.width())
            .map(|_| 4.0 * uniform(&mut noise) - 2.0)
            .collect()
    }

    /// One image of one dimension for each level.
    fn nll<T: Element>(kind: Pixels, parameters: &[f64]) -> Vec<f64> {
        let levels = kind.levels();
        let x = Tensor::from_fn([levels, 1], |i| T::from_f64(i as f64 / (levels - 1) as f64));
        let shape = [levels, kind.width()];
        let parameters = Tensor::from_fn(shape, |i| T::from_f64(parameters[i % kind.width()]));
        let nll = kind.nll(&Var::constant(parameters), &x);
        nll.value().data().iter().map(|nll| nll.to_f64()).collect()
    }

    #[test]
    fn probabilities_sum_to_one_and_are_those_of_the_nll() {
        for kind in KINDS {
            for seed in 0..8 {
                let parameters = parameters(kind, seed);
                let nats = nll::<f64>(kind, &parameters);
                let sum: f64 = nats.iter().map(|nats| (-nats).exp()).sum();
                assert!((sum - 1.0).abs() < 1e-12, "{kind:?}: p sums to {sum}");
                let single: Vec<f32> = parameters.iter().map(|&p| p as f32).collect();
                let mut p = vec![0.0; kind.levels()];
                kind.probabilities(&single, &mut p);
                for (p, nats) in p.iter().zip(&nats) {
                    assert!(
                        (p - (-nats).exp()).abs() < 1e-6,
                        "{kind:?}: {p} and {nats} nats"
                    );
                }
                for (a, b) in nll::<f32>(kind, &parameters).iter().zip(&nats) {
                    assert!(
                        (a - b).abs() < 1e-4 * (1.0 + b),
                        "{kind:?}: f32 {a}, f64 {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn extreme_parameters_give_finite_nats_and_gradients() {
        for kind in KINDS {
            for (seed, size) in [(0, 60.0), (1, 15.0), (2, 7.0)] {
                let levels = kind.levels();
                let x = Tensor::from_fn([levels, 1], |i| i as f32 / (levels - 1) as f32);
                let parameters = parameters(kind, seed);
                let shape = [levels, kind.width()];
                let value = |i: usize| (parameters[i % kind.width()] * size) as f32;
                let tape = Tape::new();
                let parameters = tape.var(Tensor::from_fn(shape, value));
                let nll = kind.nll(&parameters, &x).sum();
                assert!(nll.item().is_finite(), "{kind:?} x {size}: {}", nll.item());
                let gradient = &tape.gradients(&nll, &[&parameters])[0];
                assert!(
                    gradient.data().iter().all(|g| g.is_finite()),
                    "{kind:?} x {size}"
                );
            }
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        use grad::check::{Order, gradients};
        for kind in KINDS {
            let levels = kind.levels().min(6);
            let x = Tensor::from_fn([levels, 1], |i| i as f64 / (levels - 1) as f64);
            let x =
                x.map(|x| (x * (kind.levels() - 1) as f64).round() / (kind.levels() - 1) as f64);
            let values = parameters(kind, 5);
            let shape = [levels, kind.width()];
            let input = Tensor::from_fn(shape, |i| values[i % kind.width()] + 0.01 * i as f64);
            gradients(
                &format!("{kind:?}"),
                &[input],
                |p| kind.nll(&p[0], &x),
                Order::First,
            )
            .unwrap();
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        for kind in KINDS {
            let parameters: Vec<f32> = parameters(kind, 3).iter().map(|&p| p as f32).collect();
            let mut p = vec![0.0; kind.levels()];
            kind.probabilities(&parameters, &mut p);
            let mut noise = stream(&[9]);
            let draws = 40_000;
            let mut counts = vec![0.0; kind.levels()];
            for _ in 0..draws {
                let x = kind.draw(&parameters, 1.0, &mut noise);
                counts[(x * (kind.levels() - 1) as f32).round() as usize] += 1.0 / draws as f64;
            }
            for (level, (found, p)) in counts.iter().zip(&p).enumerate() {
                let error = (p * (1.0 - p) / draws as f64).sqrt();
                assert!(
                    (found - p).abs() < 5.0 * error + 1e-4,
                    "{kind:?} {level}: {p}, {found}"
                );
            }
            let cold: Vec<f32> = (0..8)
                .map(|_| kind.draw(&parameters, 1e-4, &mut noise))
                .collect();
            assert!(cold.iter().all(|&x| x == cold[0]), "{kind:?}: {cold:?}");
        }
    }
}
