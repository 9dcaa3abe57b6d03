//! p(z), what codes are drawn from: N(0, I), or a mixture of Gaussians.
//!
//! ```text
//! mixture   p(z) = sum_k w_k N(z; mu_k, e^log_var_k)     all of them learned
//! VampPrior p(z) = 1/K sum_k q(z|u_k)                    pictures u_k learned
//! ```
//!
//! The VampPrior (variational mixture of posteriors) is that of Tomczak & Welling 2018,
//! arXiv:1705.07120, equation 9.

use grad::{Element, Tensor, Var};
use nn::hyper::{Hyper, Value};
use nn::init::Init;
use nn::model::{DataSummary, ImageSpec};
use nn::{Bound, Builder, ParamId};
use std::f64::consts::TAU;

/// Which one.
pub(crate) const PRIOR: Hyper = Hyper {
    name: "prior",
    meaning: "distribution of the codes: N(0, I), a learned mixture of Gaussians, or vamp, the \
              mixture of the posteriors of learned pictures",
    default: Value::Choice(&["normal", "mixture", "vamp"]),
};

/// How many Gaussians.
pub(crate) const PRIOR_COMPONENTS: Hyper = Hyper {
    name: "prior_components",
    meaning: "Gaussians that the prior mixes, or pictures of prior=vamp",
    default: Value::Count(50),
};

/// A pixel of a VampPrior's picture begins no nearer to 0 and 1.
const EDGE: f32 = 0.05;

/// p(z): what of it is learned.
#[derive(Clone, Copy, Debug)]
pub enum Prior {
    /// N(0, I).
    Normal,
    /// A mixture: logits of the weights `[K]`, means and log-variances `[K, latents]`.
    Mixture {
        /// Logits of the weights.
        logits: ParamId,
        /// Means.
        mu: ParamId,
        /// Log-variances.
        log_var: ParamId,
    },
    /// Pictures `[K, D]`, as logits of their pixels.
    Vamp {
        /// The pictures.
        pictures: ParamId,
    },
}

/// A mixture of K diagonal Gaussians over codes, as variables of a step.
pub struct Mixture<T: Element> {
    /// log w_k: `[K]`.
    pub log_weights: Var<T>,
    /// `[K, latents]`.
    pub mu: Var<T>,
    /// `[K, latents]`.
    pub log_var: Var<T>,
}

impl Prior {
    /// A mixture of `components` Gaussians that begin near N(0, I).
    pub(crate) fn mixture(b: &mut Builder, components: usize, latents: usize) -> Prior {
        let mut b = b.scope("prior");
        let mut param = |name: &str, shape: &[usize], init: Init| {
            b.param(name, shape, |shape, stream| init.draw(shape, stream))
        };
        Prior::Mixture {
            logits: param("logits", &[components], Init::ZEROS),
            mu: param(
                "mu",
                &[components, latents],
                Init::Normal {
                    mean: 0.0,
                    std: 1.0,
                },
            ),
            log_var: param("log_var", &[components, latents], Init::ZEROS),
        }
    }

    /// The posteriors of `components` pictures that begin as training images, where these are at
    /// hand, else as noise.
    pub(crate) fn vamp(
        b: &mut Builder,
        components: usize,
        spec: ImageSpec,
        data: &DataSummary,
    ) -> Prior {
        let images = data.first(components);
        let dims = spec.dims();
        let pictures = b
            .scope("prior")
            .param("pictures", [components, dims], |shape, stream| {
                let noise = Init::Normal {
                    mean: 0.0,
                    std: 1.0,
                };
                let mut values = noise.draw(shape, stream);
                let known = images.as_ref().map_or(&[][..], |batch| batch.images.data());
                for (value, &x) in values.make_mut().iter_mut().zip(known) {
                    let x = x.clamp(EDGE, 1.0 - EDGE);
                    *value = (x / (1.0 - x)).ln();
                }
                values
            });
        Prior::Vamp { pictures }
    }

    /// The mixture, if it is one; `posterior` is q(z|x), of pictures `[K, D]`.
    pub(crate) fn as_mixture<T: Element>(
        &self,
        p: &Bound<T>,
        posterior: impl FnOnce(&Var<T>) -> (Var<T>, Var<T>),
    ) -> Option<Mixture<T>> {
        match *self {
            Prior::Normal => None,
            Prior::Mixture {
                logits,
                mu,
                log_var,
            } => Some(Mixture {
                log_weights: p[logits].log_softmax(),
                mu: p[mu].clone(),
                log_var: p[log_var].clone(),
            }),
            Prior::Vamp { pictures } => {
                let (mu, log_var) = posterior(&p[pictures].sigmoid());
                let count = mu.shape()[0];
                let log_weight = T::from_f64(-(count as f64).ln());
                Some(Mixture {
                    log_weights: Var::constant(Tensor::full([count], log_weight)),
                    mu,
                    log_var,
                })
            }
        }
    }
}

impl<T: Element> Mixture<T> {
    /// log p(z) in nats of each code of z, `[B, latents]`: `[B]`.
    ///
    /// The squares (z - mu)^2 / var are multiplied out, so that three products of matrices make
    /// them all.
    pub fn log_prob(&self, z: &Var<T>) -> Var<T> {
        let latents = z.shape()[1] as f64;
        let precision = self.log_var.scale(-1.0).exp();
        let scaled = &self.mu * &precision;
        let own = (&scaled * &self.mu + &self.log_var)
            .sum_axes(&[1])
            .shift(latents * TAU.ln());
        let cross = z.matmul_with(&scaled, false, true).scale(2.0);
        let squares = z.square().matmul_with(&precision, false, true) - cross;
        ((squares + own).scale(-0.5) + &self.log_weights).logsumexp(1)
    }
}

/// log N(z; 0, I) in nats of each code of z, `[B, latents]`: `[B]`.
pub fn log_normal<T: Element>(z: &Var<T>) -> Var<T> {
    let constant = -0.5 * z.shape()[1] as f64 * TAU.ln();
    z.square().sum_axes(&[1]).scale(-0.5).shift(constant)
}
