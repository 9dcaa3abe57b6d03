//! What a variational autoencoder minimises: -ELBO with its options, or the importance-weighted
//! bound.
//!
//! ```text
//! -ELBO = E_q[-log p(x|z)] + beta KL(q(z|x) || p(z))         Kingma & Welling 2014
//! -L_k  = E[-log 1/k sum_i p(x|z_i) p(z_i) / q(z_i|x)]       Burda et al. 2016
//! ```
//!
//! beta: Higgins et al. 2017. Warm-up of beta: Bowman et al. 2016, Sonderby et al. 2016. Free bits:
//! Kingma et al. 2016, arXiv:1606.04934, appendix C.8. L_k: arXiv:1509.00519, equation 8. Its doubly
//! reparameterised gradient: Tucker et al. 2019, arXiv:1810.04152, equation 8.

use grad::{Element, Op, Saves, Tensor, Var, Vjp};
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use std::cell::OnceCell;
use std::rc::Rc;

pub(crate) const BETA: Hyper = Hyper {
    name: "beta",
    meaning: "weight of the divergence from the prior; 1 makes the loss a bound on -log p(x)",
    default: Value::Number(1.0),
};
pub(crate) const WARM_UP: Hyper = Hyper {
    name: "warm_up",
    meaning: "steps in which the weight of the divergence rises from 0 to beta; 0 for none",
    default: Value::Number(0.0),
};
pub(crate) const FREE_BITS: Hyper = Hyper {
    name: "free_bits",
    meaning: "nats of divergence that each dimension of the code may have for free, on average \
              over the images that are computed together",
    default: Value::Number(0.0),
};
pub(crate) const SAMPLES: Hyper = Hyper {
    name: "samples",
    meaning: "draws k of the code for each image of a training step; more than 1 train the \
              importance-weighted bound",
    default: Value::Count(1),
};
pub(crate) const DOUBLY: Hyper = Hyper {
    name: "doubly",
    meaning: "true: the doubly reparameterised gradient of the importance-weighted bound",
    default: Value::Flag(false),
};

/// What a model minimises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Weight of the divergence.
    pub beta: f64,
    /// Steps until that weight is reached.
    pub warm_up: f64,
    /// Nats that a dimension of the code has for free.
    pub free_bits: f64,
    /// Draws of the code for an image.
    pub samples: usize,
    /// Whether the encoder follows the doubly reparameterised gradient.
    pub doubly: bool,
}

impl Default for Objective {
    /// -ELBO.
    fn default() -> Objective {
        Objective {
            beta: 1.0,
            warm_up: 0.0,
            free_bits: 0.0,
            samples: 1,
            doubly: false,
        }
    }
}

impl Objective {
    pub(crate) fn chosen(hypers: &Hypers) -> Result<Objective, HyperError> {
        let not_below_0 = |name: &str| {
            let number = hypers.number(name);
            let wrong = || {
                hypers.unfit(format!(
                    "{name}: expected a number of at least 0, found {number}"
                ))
            };
            if number >= 0.0 {
                Ok(number)
            } else {
                Err(wrong())
            }
        };
        let objective = Objective {
            beta: not_below_0(BETA.name)?,
            warm_up: not_below_0(WARM_UP.name)?,
            free_bits: not_below_0(FREE_BITS.name)?,
            samples: hypers.count(SAMPLES.name),
            doubly: hypers.flag(DOUBLY.name),
        };
        if objective.is_weighted() && objective.free_bits > 0.0 {
            let reason = "free_bits are for the ELBO: set samples=1 and doubly=false with them";
            return Err(hypers.unfit(reason));
        }
        Ok(objective)
    }

    /// Whether importance weights are trained with.
    pub fn is_weighted(&self) -> bool {
        self.samples > 1 || self.doubly
    }

    /// Whether what is minimised is a bound on -log p(x), at every step.
    pub fn is_bound(&self) -> bool {
        self.beta == 1.0 && self.warm_up == 0.0 && self.free_bits == 0.0
    }

    /// The weight of the divergence after so many steps.
    pub fn weight(&self, step: u64) -> f64 {
        match self.warm_up > 0.0 {
            true => self.beta * (step as f64 / self.warm_up).min(1.0),
            false => self.beta,
        }
    }
}

/// KL(N(mu, e^log_var) || N(0, 1)) of each dimension: `[B, latents]`, in nats.
pub fn kl_of_dimensions<T: Element>(mu: &Var<T>, log_var: &Var<T>) -> Var<T> {
    ((log_var.exp() - log_var).shift(-1.0) + mu.square()).scale(0.5)
}

/// The sum over the images of kl `[B, n]`, where each column has `free` nats a mean image for free:
/// B sum_j max(free, mean_i kl_ij).
pub fn with_free_bits<T: Element>(kl: &Var<T>, free: f64) -> Var<T> {
    let count = kl.shape()[0] as f64;
    let free = Var::constant(Tensor::scalar(T::from_f64(free)));
    kl.mean_axes(&[0]).max(&free).sum().scale(count)
}

/// -log 1/k sum_i e^(log_w_i) of each image, `[B]`, from log_w `[B, k]`.
pub fn importance_bound<T: Element>(log_weights: &Var<T>) -> Var<T> {
    let k = log_weights.shape()[1] as f64;
    log_weights.logsumexp(1).scale(-1.0).shift(k.ln())
}

/// A code whose gradient is multiplied by a factor that is known only later in the step: its
/// normalised importance weight.
pub(crate) struct Later<T: Element>(Rc<OnceCell<Tensor<T>>>);

impl<T: Element> Later<T> {
    /// z `[n, latents]`, and where its factors are put.
    pub(crate) fn scaled(z: &Var<T>) -> (Var<T>, Later<T>) {
        let factor = Rc::new(OnceCell::new());
        let z = Var::apply(Scaled(factor.clone()), &[z]);
        (z, Later(factor))
    }

    /// The factors: the normalised weights of log_w `[B, k]`, one for each row of z.
    pub(crate) fn weigh(self, log_weights: &Var<T>) {
        let weights = log_weights.detach().softmax().into_value();
        let weights = weights.reshape([weights.len(), 1]);
        assert!(self.0.set(weights).is_ok(), "a code is weighed once");
    }
}

struct Scaled<T: Element>(Rc<OnceCell<Tensor<T>>>);

impl<T: Element> Op<T> for Scaled<T> {
    fn name(&self) -> &'static str {
        "gradient_scaled_later"
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    fn forward(&self, z: &[&Tensor<T>]) -> Tensor<T> {
        z[0].clone()
    }

    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let factor = self.0.get().expect("weighed before the backward pass");
            g * Var::constant(factor.clone())
        });
    }

    fn first_order_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_rises_to_beta() {
        let objective = Objective {
            beta: 4.0,
            warm_up: 100.0,
            ..Objective::default()
        };
        let weights = [0, 50, 100, 1000].map(|step| objective.weight(step));
        assert_eq!(weights, [0.0, 2.0, 4.0, 4.0]);
        assert!(!objective.is_bound() && Objective::default().is_bound());
    }

    #[test]
    fn free_bits_are_paid_for_by_dimension() {
        let kl = Var::constant(Tensor::new([2, 3], &[0.1f64, 1.0, 3.0, 0.2, 2.0, 5.0]));
        // Means .15, 1.5, 4: the first is lifted to .5.
        assert!((with_free_bits(&kl, 0.5).item() - 2.0 * (0.5 + 1.5 + 4.0)).abs() < 1e-12);
        assert!((with_free_bits(&kl, 0.0).item() - 11.3).abs() < 1e-12);
    }
}
