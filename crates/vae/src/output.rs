//! p(x|z) of the pixels, given the numbers that a decoder makes of a code.

use grad::{Element, Tensor, Var};
use nn::dist::gaussian;
use nn::dist::pixels::Pixels;
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::{Accepts, ImageSpec};
use nn::random::{Stream, normal};
use nn::{Bound, Builder, ParamId};

/// Which distribution.
pub(crate) const PIXELS: Hyper = Hyper {
    name: "pixels",
    meaning: "distribution of a pixel given the code: bernoulli (two levels), gaussian (several \
              levels, spread evenly over [0, 1)), softmax or a mixture of logistics (any levels)",
    default: Value::Choice(&["bernoulli", "gaussian", "softmax", "logistics"]),
};

/// How many logistic distributions.
pub(crate) const COMPONENTS: Hyper = Hyper {
    default: Value::Count(5),
    ..nn::dist::pixels::COMPONENTS
};

/// Of the Gaussian.
pub(crate) const VARIANCE: Hyper = Hyper {
    name: "variance",
    meaning: "learned variance of pixels=gaussian: one number for all, or one that the decoder \
              tells of each pixel",
    default: Value::Choice(&["shared", "each"]),
};

/// Log-variances below this are taken as this: a hundredth of what spreading a level out makes.
const LEAST_LOG_VAR: f64 = -18.0;
/// Where the shared log-variance begins: a standard deviation of 0.37.
const FIRST_LOG_VAR: f32 = -2.0;

/// The distribution of the pixels given the code: independent dimensions.
#[derive(Clone, Copy, Debug)]
pub enum Output {
    /// Over levels.
    Levels(Pixels),
    /// N(mu, e^log_var) of the pixel spread out, (level + u) / levels with u uniform on [0, 1). Its
    /// -log p plus D ln levels is a bound on that of the levels (Theis et al. 2016,
    /// arXiv:1511.01844, section 3.1), so it is comparable with the others.
    Gaussian {
        /// Values of a pixel.
        levels: usize,
        /// The one log-variance, if the decoder does not tell one for each pixel.
        shared: Option<ParamId>,
    },
}

impl Output {
    /// Which pixels a model can be trained on that has these hyper-parameters.
    pub(crate) fn accepts(hypers: &Hypers) -> Accepts {
        match hypers.choice(PIXELS.name) {
            "bernoulli" => Accepts::Binary,
            "gaussian" => Accepts::Levels,
            _ => Accepts::Any,
        }
    }

    /// What the hyper-parameters say, for images of this kind.
    pub(crate) fn chosen(
        b: &mut Builder,
        hypers: &Hypers,
        spec: ImageSpec,
    ) -> Result<Output, HyperError> {
        let levels = spec.levels;
        if !Output::accepts(hypers).levels(levels) {
            let (kind, accepts) = (hypers.choice(PIXELS.name), Output::accepts(hypers).name());
            return Err(hypers.unfit(format!(
                "pixels={kind} is for {accepts}; these have {levels} levels"
            )));
        }
        Ok(match hypers.choice(PIXELS.name) {
            "bernoulli" => Output::Levels(Pixels::Bernoulli),
            "softmax" => Output::Levels(Pixels::Categorical { levels }),
            "logistics" => Output::Levels(Pixels::Logistics {
                levels,
                components: hypers.count(COMPONENTS.name),
            }),
            _ => {
                let first = |shape, _: &mut Stream| Tensor::full(shape, FIRST_LOG_VAR);
                let shared = hypers.choice(VARIANCE.name) == "shared";
                let shared = shared.then(|| b.scope("pixels").param("log_var", [1], first));
                Output::Gaussian { levels, shared }
            }
        })
    }

    /// How many numbers the decoder makes for each dimension.
    pub fn width(&self) -> usize {
        match self {
            Output::Levels(pixels) => pixels.width(),
            Output::Gaussian { shared, .. } => 1 + usize::from(shared.is_none()),
        }
    }

    /// Whether noise is added to the levels of an image.
    pub fn is_spread(&self) -> bool {
        matches!(self, Output::Gaussian { .. })
    }

    /// Means and log-variances of a Gaussian, `[B, D]` and what it broadcasts to.
    fn moments<T: Element>(
        p: &Bound<T>,
        parameters: &Var<T>,
        shared: Option<ParamId>,
    ) -> (Var<T>, Var<T>) {
        let [count, numbers] = [parameters.shape()[0], parameters.shape()[1]];
        let least = Var::constant(Tensor::scalar(T::from_f64(LEAST_LOG_VAR)));
        match shared {
            Some(id) => {
                let log_var = p[id].max(&least);
                (parameters.clone(), log_var.broadcast_to([count, numbers]))
            }
            None => {
                let both = parameters.reshape([count, numbers / 2, 2]);
                let one = |i: usize| both.slice(2, i..i + 1).reshape([count, numbers / 2]);
                (one(0), one(1).max(&least))
            }
        }
    }

    /// -log p(x|z) of each image in nats, `[B]`, or a bound on it where pixels are spread out:
    /// parameters `[B, D width]`, x `[B, D]` in [0, 1], u `[B, D]` uniform in [0, 1) where
    /// [`is_spread`](Self::is_spread).
    pub fn nll<T: Element>(
        &self,
        p: &Bound<T>,
        parameters: &Var<T>,
        x: &Tensor<T>,
        u: Option<&Tensor<T>>,
    ) -> Var<T> {
        match *self {
            Output::Levels(Pixels::Bernoulli) => {
                parameters.bce_with_logits_sum_rows(&Var::constant(x.clone()))
            }
            Output::Levels(pixels) => pixels.nll(parameters, x),
            Output::Gaussian { levels, shared } => {
                let u = u.expect("noise for pixels that are spread out");
                let (top, all) = ((levels - 1) as f64, levels as f64);
                let spread = Tensor::from_fn(*x.shape(), |i| {
                    let level = (x.data()[i].to_f64() * top).round();
                    T::from_f64((level + u.data()[i].to_f64()) / all)
                });
                let dims = x.shape()[1] as f64;
                let (mu, log_var) = Output::moments(p, parameters, shared);
                let log_p = gaussian::log_prob(&Var::constant(spread), &mu, &log_var);
                log_p.scale(-1.0).shift(dims * all.ln())
            }
        }
    }

    /// The mean of each dimension, `[B, D]` in [0, 1].
    pub fn mean(&self, p: &Bound<f32>, parameters: &Var<f32>) -> Tensor<f32> {
        let count = parameters.shape()[0];
        let dims = parameters.shape()[1] / self.width();
        match *self {
            Output::Levels(Pixels::Bernoulli) => parameters.sigmoid().into_value(),
            Output::Levels(Pixels::Logistics { components, .. }) => {
                // Of each logistic distribution the centre, no further out than the last level.
                let numbers = parameters.reshape([count * dims, 3, components]);
                let part = |i: usize| {
                    numbers
                        .slice(1, i..i + 1)
                        .reshape([count * dims, components])
                };
                let centres = Var::constant(part(1).value().map(|mu| mu.clamp(-1.0, 1.0)));
                let means = (part(0).softmax() * centres)
                    .sum_axes(&[1])
                    .affine(0.5, 0.5);
                means.into_value().reshape([count, dims])
            }
            Output::Levels(pixels) => {
                let mut probabilities = vec![0.0; pixels.levels()];
                let top = (pixels.levels() - 1) as f64;
                let numbers = parameters.value().data().chunks_exact(pixels.width());
                let mean = |numbers: &[f32]| {
                    pixels.probabilities(numbers, &mut probabilities);
                    let levels = probabilities.iter().enumerate();
                    (levels.map(|(level, p)| level as f64 * p).sum::<f64>() / top) as f32
                };
                let means: Vec<f32> = numbers.map(mean).collect();
                Tensor::new([count, dims], &means)
            }
            Output::Gaussian { shared, .. } => {
                let (mu, _) = Output::moments(p, parameters, shared);
                mu.value().map(|x| x.clamp(0.0, 1.0))
            }
        }
    }

    /// Pixels, `[B, D]` in [0, 1], drawn for row i from `stream_of(i)`; at a temperature below 1
    /// more likely ones.
    pub fn draw(
        &self,
        p: &Bound<f32>,
        parameters: &Var<f32>,
        temperature: f32,
        stream_of: impl Fn(usize) -> Stream,
    ) -> Tensor<f32> {
        let count = parameters.shape()[0];
        let dims = parameters.shape()[1] / self.width();
        let rows = |each: &mut dyn FnMut(usize, &mut Stream) -> f32| {
            Tensor::build([count, dims], |out| {
                for (i, row) in out.chunks_exact_mut(dims).enumerate() {
                    let mut stream = stream_of(i);
                    for (d, x) in row.iter_mut().enumerate() {
                        *x = each(i * dims + d, &mut stream);
                    }
                }
            })
        };
        match *self {
            Output::Levels(pixels) => {
                let (numbers, k) = (parameters.value().data(), pixels.width());
                rows(&mut |i, stream| pixels.draw(&numbers[i * k..][..k], temperature, stream))
            }
            Output::Gaussian { levels, shared } => {
                let (mu, log_var) = Output::moments(p, parameters, shared);
                let (mu, log_var) = (mu.value().data(), log_var.value().data());
                rows(&mut |i, stream| {
                    let sd = (0.5 * log_var[i]).exp() * temperature;
                    let x = mu[i] + sd * normal(stream) as f32;
                    let level = (x * levels as f32).floor().clamp(0.0, (levels - 1) as f32);
                    level / (levels - 1) as f32
                })
            }
        }
    }
}
