//! Variational autoencoder.
//!
//! D. P. Kingma and M. Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114; the
//! network of its appendix C.1, with ReLU for tanh.
//!
//! ```text
//! p(z)   = N(0, I), or a mixture of Gaussians    z in R^latents
//! p(x|z) = prod_d p(x_d; parameters_d(z))        decoder
//! q(z|x) = N(mu(x), diag exp(log_var(x)))        encoder
//!
//! -log p(x) <= -ELBO(x) = E_q[-log p(x|z)] + KL(q(z|x) || p(z))
//! ```
//!
//! The expectation is one draw z = mu + exp(log_var / 2) * eps with eps ~ N(0, I) (section 2.4).
//! Against N(0, I) the KL is exact (appendix B), against a mixture it is estimated by the same
//! draw. A conditional model (Sohn et al. 2015) is told the class y of each image: p(x|z, y) and
//! q(z|x, y).

use crate::bound::{self, Later, Objective};
use crate::network::{Decoder, Encoder, Layout, one_hot};
use crate::output::Output;
use crate::prior::{Mixture, Prior, log_normal};
use grad::{Element, Tensor, Var};
use nn::dist::gaussian;
use nn::dist::pixels::Pixels;
use nn::layers::Linear;
use nn::model::{Batch, ImageSpec};
use nn::random::word;
use nn::{Bound, Builder};
use std::f64::consts::TAU;
use std::sync::Arc;

/// Encoder, prior and decoder. The values of the parameters live in [`nn::Params`].
pub struct Vae {
    pub(crate) spec: ImageSpec,
    pub(crate) latents: usize,
    pub(crate) layout: Layout,
    pub(crate) objective: Objective,
    pub(crate) prior: Prior,
    pub(crate) output: Output,
    /// x -> h.
    encoder: Encoder,
    /// h -> [mu, log_var].
    posterior: Linear,
    /// z -> parameters of the pixels.
    decoder: Decoder,
}

/// The two terms of -ELBO, in nats, one number for each image: `[B]`.
pub struct Elbo<T: Element> {
    /// -log p(x|z) at the z that was drawn.
    pub reconstruction: Var<T>,
    /// KL(q(z|x) || p(z)), exact or at the z that was drawn.
    pub kl: Var<T>,
}

/// What the networks are given of some images.
#[derive(Clone)]
pub(crate) struct Given<T: Element> {
    /// Pixels in [0, 1], `[B, D]`.
    pub(crate) x: Var<T>,
    /// Classes, `[B, classes]`, for a conditional model.
    pub(crate) y: Option<Tensor<T>>,
    /// Uniform noise, `[B, D]`, where pixels are spread out.
    pub(crate) u: Option<Tensor<T>>,
}

/// Each row `k` times, the copies side by side.
fn repeated<T: Element>(x: &Tensor<T>, k: usize) -> Tensor<T> {
    let [rows, width] = [x.shape()[0], x.shape()[1]];
    Tensor::build([rows * k, width], |out| {
        for (i, row) in out.chunks_exact_mut(width.max(1)).enumerate() {
            row.copy_from_slice(&x.data()[i / k * width..][..width]);
        }
    })
}

impl<T: Element> Given<T> {
    /// The same with each image `k` times.
    pub(crate) fn repeated(&self, k: usize) -> Given<T> {
        if k == 1 {
            return self.clone();
        }
        let all = |x: &Tensor<T>| repeated(x, k);
        Given {
            x: Var::constant(all(self.x.value())),
            y: self.y.as_ref().map(all),
            u: self.u.as_ref().map(all),
        }
    }
}

impl Vae {
    /// A perceptron with a prior of N(0, I) and Bernoulli pixels for images of this kind; `hidden`
    /// lists the encoder's layers from the pixels inward.
    pub fn new(b: &mut Builder, spec: ImageSpec, hidden: &[usize], latents: usize) -> Vae {
        let output = Output::Levels(Pixels::Bernoulli);
        Vae::with(b, spec, Layout::dense(hidden), latents, output)
    }

    /// A model of this layout with a prior of N(0, I) and these pixels.
    ///
    /// # Panics
    /// If images of this size do not go through so many stages ([`Layout::fits`]).
    #[track_caller]
    pub fn with(
        b: &mut Builder,
        spec: ImageSpec,
        layout: Layout,
        latents: usize,
        output: Output,
    ) -> Vae {
        assert!(
            layout.fits(spec),
            "vae: {spec:?} is too small for {layout:?}"
        );
        let encoder = Encoder::new(&mut b.scope("encoder"), spec, &layout);
        Vae {
            spec,
            latents,
            objective: Objective::default(),
            prior: Prior::Normal,
            output,
            posterior: Linear::new(&mut b.scope("posterior"), encoder.width(), 2 * latents),
            encoder,
            decoder: Decoder::new(b, spec, &layout, latents, output.width()),
            layout,
        }
    }

    /// The same with another prior.
    pub fn prior(self, prior: Prior) -> Vae {
        Vae { prior, ..self }
    }

    /// The same, trained to minimise something else.
    pub fn objective(self, objective: Objective) -> Vae {
        Vae { objective, ..self }
    }

    /// q(z|x): x [B, D] in [0, 1] -> (mu, log_var), [B, latents] each; of a model that is not
    /// conditional.
    pub fn posterior_of<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        self.posterior_given(p, x, None)
    }

    pub(crate) fn posterior_given<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        y: Option<&Tensor<T>>,
    ) -> (Var<T>, Var<T>) {
        let h = self.posterior.forward(p, &self.encoder.forward(p, x, y));
        let n = self.latents;
        (h.slice(1, 0..n), h.slice(1, n..2 * n))
    }

    /// What the decoder makes of z [B, latents]: the parameters of the pixels, [B, D width]; for
    /// Bernoulli pixels their logits.
    pub fn logits<T: Element>(&self, p: &Bound<T>, z: &Var<T>) -> Var<T> {
        self.decoder.forward(p, z, None)
    }

    pub(crate) fn parameters<T: Element>(
        &self,
        p: &Bound<T>,
        z: &Var<T>,
        y: Option<&Tensor<T>>,
    ) -> Var<T> {
        self.decoder.forward(p, z, y)
    }

    /// The prior's mixture, if it is one.
    pub(crate) fn mixture<T: Element>(&self, p: &Bound<T>) -> Option<Mixture<T>> {
        self.prior
            .as_mixture(p, |pictures| self.posterior_given(p, pictures, None))
    }

    /// log p(z) of codes z `[B, latents]`, in nats: `[B]`.
    pub fn log_prior<T: Element>(&self, p: &Bound<T>, z: &Var<T>) -> Var<T> {
        match self.mixture(p) {
            Some(mixture) => mixture.log_prob(z),
            None => log_normal(z),
        }
    }

    /// -log p(x|z) of each image, `[B]`.
    fn distortion<T: Element>(&self, p: &Bound<T>, z: &Var<T>, given: &Given<T>) -> Var<T> {
        let parameters = self.decoder.forward(p, z, given.y.as_ref());
        self.output
            .nll(p, &parameters, given.x.value(), given.u.as_ref())
    }

    /// The terms of -ELBO for x [B, D], with the draw that eps [B, latents] makes; of a model that
    /// is not conditional and whose pixels are not spread out.
    pub fn elbo<T: Element>(&self, p: &Bound<T>, x: &Var<T>, eps: &Var<T>) -> Elbo<T> {
        let given = Given {
            x: x.clone(),
            y: None,
            u: None,
        };
        let (mu, log_var) = self.posterior_given(p, x, None);
        self.elbo_at(p, &given, [&mu, &log_var], eps)
    }

    /// The terms of -ELBO, given q(z|x).
    pub(crate) fn elbo_at<T: Element>(
        &self,
        p: &Bound<T>,
        given: &Given<T>,
        [mu, log_var]: [&Var<T>; 2],
        eps: &Var<T>,
    ) -> Elbo<T> {
        let z = gaussian::reparameterise(mu, log_var, eps);
        Elbo {
            reconstruction: self.distortion(p, &z, given),
            kl: match self.mixture(p) {
                None => gaussian::kl_standard(mu, log_var),
                Some(mixture) => mixture.log_prob(&z).scale(-1.0) + log_posterior(eps, log_var),
            },
        }
    }

    /// log p(x, z) - log q(z|x) in nats for x [B, D] and the draw of eps: `[B]`. The mean of its
    /// exponential is p(x). Burda et al. 2016, arXiv:1509.00519, equation 7.
    pub fn log_weight<T: Element>(&self, p: &Bound<T>, x: &Var<T>, eps: &Var<T>) -> Var<T> {
        let given = Given {
            x: x.clone(),
            y: None,
            u: None,
        };
        let (mu, log_var) = self.posterior_given(p, x, None);
        self.log_weights(p, &given, [&mu, &log_var], eps, 1.0)
            .reshape([x.shape()[0]])
    }

    /// log p(x|z) + weight (log p(z) - log q(z|x)) for the draws of eps `[B k, latents]`, those of
    /// an image side by side: `[B, k]`. `given` has each image k times, q(z|x) once.
    pub(crate) fn log_weights<T: Element>(
        &self,
        p: &Bound<T>,
        given: &Given<T>,
        [mu, log_var]: [&Var<T>; 2],
        eps: &Var<T>,
        weight: f64,
    ) -> Var<T> {
        let [count, latents] = [mu.shape()[0], self.latents];
        let k = eps.shape()[0] / count.max(1);
        let one = |v: &Var<T>| v.reshape([count, 1, latents]);
        let eps = eps.reshape([count, k, latents]);
        let drawn = one(mu) + one(log_var).scale(0.5).exp() * &eps;
        let mut z = drawn.reshape([count * k, latents]);
        let later = self.objective.doubly.then(|| Later::scaled(&z));
        // (z - mu)^2 / var is eps^2, however mu and var change; in the doubly reparameterised
        // gradient they are held where they are, and z alone moves.
        let squares = match &later {
            None => eps.square() + one(log_var),
            Some((scaled, _)) => {
                z = scaled.clone();
                let [mu, log_var] = [mu, log_var].map(|v| one(&v.detach()));
                let z = z.reshape([count, k, latents]);
                (z - mu).square() * log_var.scale(-1.0).exp() + log_var
            }
        };
        let log_q = squares
            .sum_axes(&[2])
            .shift(latents as f64 * TAU.ln())
            .scale(-0.5);
        let ratio = self.log_prior(p, &z).reshape([count, k]) - log_q;
        let ratio = if weight == 1.0 {
            ratio
        } else {
            ratio.scale(weight)
        };
        let log_weights = ratio - self.distortion(p, &z, given).reshape([count, k]);
        if let Some((_, later)) = later {
            later.weigh(&log_weights);
        }
        log_weights
    }

    /// What the networks are given of a batch; `purpose` names the noise of pixels spread out.
    pub(crate) fn given(&self, batch: &Batch, purpose: &str) -> Given<f32> {
        Given {
            x: Var::constant(batch.rows()),
            y: self.classes_of(batch.labels.as_ref()),
            u: (self.output.is_spread()).then(|| batch.uniform(self.spec.dims(), word(purpose))),
        }
    }

    /// The classes as a conditional model is told them.
    ///
    /// # Panics
    /// If the model is conditional and there are none.
    pub(crate) fn classes_of(&self, labels: Option<&Arc<[u32]>>) -> Option<Tensor<f32>> {
        let count = self.layout.classes;
        (count > 0).then(|| {
            let labels = labels.expect("a conditional model is told the class of each image");
            one_hot(labels, count)
        })
    }

    /// -1/k-sample bound and what is reported beside it.
    pub(crate) fn weighted<T: Element>(
        &self,
        p: &Bound<T>,
        given: &Given<T>,
        eps: &Var<T>,
        weight: f64,
    ) -> Var<T> {
        let (mu, log_var) = self.posterior_given(p, &given.x, given.y.as_ref());
        let k = eps.shape()[0] / given.x.shape()[0].max(1);
        let all = given.repeated(k);
        let log_weights = self.log_weights(p, &all, [&mu, &log_var], eps, weight);
        bound::importance_bound(&log_weights)
    }
}

/// log q(z|x) of the draw that eps makes, both `[B, latents]`, in nats: `[B]`.
fn log_posterior<T: Element>(eps: &Var<T>, log_var: &Var<T>) -> Var<T> {
    let latents = eps.shape()[1] as f64;
    (eps.square() + log_var)
        .sum_axes(&[1])
        .shift(latents * TAU.ln())
        .scale(-0.5)
}
