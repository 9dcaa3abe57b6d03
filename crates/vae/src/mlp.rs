//! Variational autoencoder with multilayer perceptrons.
//!
//! D. P. Kingma and M. Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114; the
//! network of its appendix C.1, with ReLU for tanh.
//!
//! ```text
//! p(z)   = N(0, I)                               z in R^latents
//! p(x|z) = prod_d Bernoulli(x_d; logits_d(z))    decoder
//! q(z|x) = N(mu(x), diag exp(log_var(x)))        encoder
//!
//! -log p(x) <= -ELBO(x) = E_q[-log p(x|z)] + KL(q(z|x) || p(z))
//! ```
//!
//! The expectation is one draw z = mu + exp(log_var / 2) * eps with eps ~ N(0, I) (section 2.4);
//! the KL is exact (appendix B).

use grad::kernels::gemm::Activation;
use grad::{Element, Tensor, Var};
use nn::dist::gaussian;
use nn::hyper::{Hyper, HyperError, Value};
use nn::layers::Linear;
use nn::model::{
    Ask, Batch, Built, Encoder, Entry, ImageSpec, Kind, Latent, Loss, Model, Recipe, SampleRequest,
    Sampler, Score, ScoreInfo, Scored, Setup, Spread, Step,
};
use nn::optim::Optimiser;
use nn::random::{normal, stream, word};
use nn::schedule::Schedule;
use nn::{Bound, Builder, Params};
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry::new(
    "vae",
    "variational autoencoder, multilayer perceptrons, Bernoulli pixels",
    build,
)
.paper("Kingma & Welling 2014, arXiv:1312.6114")
.hypers(&[
    Hyper {
        name: "hidden",
        meaning: "units of each hidden layer of the encoder; the decoder mirrors them",
        default: Value::Counts(&[400]),
    },
    Hyper {
        name: "latents",
        meaning: "dimensions of the code z",
        default: Value::Count(20),
    },
])
.recipe(recipe)
.binary()
.small(&[("hidden", "16"), ("latents", "2")]);

/// Adam at 1e-3 and batches of 128 (the paper: Adagrad, batches of 100).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("elbo", Optimiser::adam(1e-3))
        .schedule(Schedule::Constant)
        .batch_size(128)
        .epochs(30)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec, seed) = (setup.hypers, &setup.image, setup.seed);
    let mut params = Params::new();
    let hidden = hypers.counts("hidden");
    let model = Vae::new(
        &mut Builder::new(&mut params, seed),
        *spec,
        &hidden,
        hypers.count("latents"),
    );
    Ok((Box::new(model), params))
}

/// Encoder and decoder. The values of the parameters live in [`Params`].
pub struct Vae {
    spec: ImageSpec,
    latents: usize,
    /// x -> h.
    encoder: Vec<Linear>,
    /// h -> [mu, log_var].
    posterior: Linear,
    /// z -> h.
    decoder: Vec<Linear>,
    /// h -> logits of the pixels.
    pixels: Linear,
}

/// The two terms of -ELBO, in nats, one number for each image: `[B]`.
pub struct Elbo<T: Element> {
    /// -log p(x|z) at the z that was drawn.
    pub reconstruction: Var<T>,
    /// KL(q(z|x) || p(z)).
    pub kl: Var<T>,
}

impl Vae {
    /// A model for images of this kind; `hidden` lists the encoder's layers from the pixels
    /// inward.
    pub fn new(b: &mut Builder, spec: ImageSpec, hidden: &[usize], latents: usize) -> Vae {
        let stack = |b: &mut Builder, sizes: &[usize]| -> Vec<Linear> {
            (sizes.windows(2).enumerate())
                .map(|(i, io)| Linear::new(&mut b.scope(i), io[0], io[1]))
                .collect()
        };
        let outward: Vec<usize> = hidden.iter().rev().copied().collect();
        let first = *outward.first().unwrap_or(&spec.dims());
        let last = *outward.last().unwrap_or(&latents);
        Vae {
            spec,
            latents,
            encoder: stack(&mut b.scope("encoder"), &[&[spec.dims()], hidden].concat()),
            posterior: Linear::new(&mut b.scope("posterior"), first, 2 * latents),
            decoder: stack(
                &mut b.scope("decoder"),
                &[&[latents], &outward[..]].concat(),
            ),
            pixels: Linear::new(&mut b.scope("pixels"), last, spec.dims()),
        }
    }

    /// q(z|x): x [B, D] in [0, 1] -> (mu, log_var), [B, latents] each.
    pub fn posterior_of<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let h = perceptron(&self.encoder, p, x);
        let h = self.posterior.forward(p, &h);
        let n = self.latents;
        (h.slice(1, 0..n), h.slice(1, n..2 * n))
    }

    /// p(x|z): z [B, latents] -> logits of the pixels, [B, D].
    pub fn logits<T: Element>(&self, p: &Bound<T>, z: &Var<T>) -> Var<T> {
        self.pixels.forward(p, &perceptron(&self.decoder, p, z))
    }

    /// The terms of -ELBO for x [B, D] in {0, 1}, with the draw that eps [B, latents] makes.
    pub fn elbo<T: Element>(&self, p: &Bound<T>, x: &Var<T>, eps: &Var<T>) -> Elbo<T> {
        let (mu, log_var) = self.posterior_of(p, x);
        let z = gaussian::reparameterise(&mu, &log_var, eps);
        Elbo {
            reconstruction: self.logits(p, &z).bce_with_logits_sum_rows(x),
            kl: gaussian::kl_standard(&mu, &log_var),
        }
    }

    /// log p(x, z) - log q(z|x) in nats for x [B, D] and the draw of eps: `[B]`. The mean of its
    /// exponential is p(x). Burda et al. 2016, arXiv:1509.00519, equation 7.
    pub fn log_weight<T: Element>(&self, p: &Bound<T>, x: &Var<T>, eps: &Var<T>) -> Var<T> {
        let (mu, log_var) = self.posterior_of(p, x);
        let z = gaussian::reparameterise(&mu, &log_var, eps);
        // (z - mu)^2 / var is eps^2, and the constants of prior and posterior cancel.
        let ratio = (eps.square() + &log_var - z.square()).sum_axes(&[1]) * 0.5;
        ratio - self.logits(p, &z).bce_with_logits_sum_rows(x)
    }

    fn flat(&self, batch: &Batch) -> Var<f32> {
        Var::constant(batch.rows())
    }

    /// The probability of each pixel to be 1: `[B, H, W, C]`.
    fn picture(&self, p: &Bound<f32>, z: &Var<f32>) -> Tensor<f32> {
        let probabilities = self.logits(p, z).sigmoid().into_value();
        probabilities.reshape(self.spec.shape(z.shape()[0]))
    }
}

/// A ReLU after each layer.
fn perceptron<T: Element>(layers: &[Linear], p: &Bound<T>, x: &Var<T>) -> Var<T> {
    layers.iter().fold(x.clone(), |h, layer| {
        layer.forward_with(p, &h, Activation::Relu)
    })
}

impl Model for Vae {
    fn loss(&self, step: &Step) -> Loss {
        let eps = Var::constant(step.batch.normal(self.latents, word("posterior")));
        let elbo = self.elbo(step.p, &self.flat(step.batch), &eps);
        let (reconstruction, kl) = (elbo.reconstruction.sum(), elbo.kl.sum());
        let parts = [&reconstruction, &kl].map(|part| f64::from(part.item()));
        Loss::nats(reconstruction + kl)
            .with("reconstruction", parts[0])
            .with("kl", parts[1])
    }

    /// Measured at 128 images a step on two cores: two lanes make 1.15 times the images per second
    /// of kernels that split their work, and need no barrier within a step.
    fn spread(&self, batch_size: usize) -> Spread {
        Spread::Lanes(batch_size.div_ceil(2).clamp(1, 64))
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self)]
    }

    fn sampler(&self) -> Option<&dyn Sampler> {
        Some(self)
    }

    fn latent(&self) -> Option<&dyn Latent> {
        Some(self)
    }
}

impl Score for Vae {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![ScoreInfo::nats(Kind::UpperBound)]
    }

    fn is_stochastic(&self) -> bool {
        true
    }

    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        vec![self.nats(step.p, step.batch, ask.samples)]
    }
}

impl Vae {
    /// A bound on -log p(x) of each image, in nats. One sample: -ELBO, the KL exact. More: -log of
    /// the mean importance weight, a tighter bound.
    pub fn nats(&self, p: &Bound<f32>, batch: &Batch, samples: usize) -> Vec<f64> {
        let x = self.flat(batch);
        let noise = |k: usize| {
            let purpose = word("evaluation").wrapping_add(k as u64);
            Var::constant(batch.normal(self.latents, purpose))
        };
        if samples <= 1 {
            let elbo = self.elbo(p, &x, &noise(0));
            let nats = elbo.reconstruction + elbo.kl;
            let nats = nats.value().data();
            return nats.iter().map(|&nats| f64::from(nats)).collect();
        }
        let mut log_weights = vec![Vec::with_capacity(samples); batch.len()];
        for k in 0..samples {
            let weights = self.log_weight(p, &x, &noise(k));
            for (list, &weight) in log_weights.iter_mut().zip(weights.value().data()) {
                list.push(f64::from(weight));
            }
        }
        log_weights
            .iter()
            .map(|list| -nn::stats::log_mean_exp(list))
            .collect()
    }
}

impl Sampler for Vae {
    /// The mean of p(x|z) for z drawn from the prior: probabilities, not binary pixels.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        let z = self.prior(p, request.count, request.seed);
        self.picture(p, &Var::constant(z))
    }
}

impl Latent for Vae {
    fn shape(&self) -> Vec<usize> {
        vec![self.latents]
    }

    /// N(0, I).
    fn prior(&self, _p: &Bound<f32>, count: usize, seed: u64) -> Tensor<f32> {
        Tensor::build([count, self.latents], |out| {
            for (i, row) in out.chunks_exact_mut(self.latents).enumerate() {
                let mut stream = stream(&[seed, word("prior"), i as u64]);
                row.fill_with(|| normal(&mut stream) as f32);
            }
        })
    }

    /// The mean of p(x|z).
    fn decode(&self, p: &Bound<f32>, z: &Tensor<f32>, _: Option<&Arc<[u32]>>) -> Tensor<f32> {
        self.picture(p, &Var::constant(z.clone()))
    }

    fn encoder(&self) -> Option<&dyn Encoder> {
        Some(self)
    }
}

impl Encoder for Vae {
    /// mu(x).
    fn encode(&self, step: &Step) -> Tensor<f32> {
        self.posterior_of(step.p, &self.flat(step.batch))
            .0
            .into_value()
    }

    fn spread(&self, step: &Step) -> Option<Tensor<f32>> {
        let (_, log_var) = self.posterior_of(step.p, &self.flat(step.batch));
        Some((log_var * 0.5).exp().into_value())
    }
}
