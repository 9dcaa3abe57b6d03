//! A training step of a variational autoencoder, and what else the model hands out.

use crate::bound;
use crate::model::Vae;
use grad::Var;
use nn::model::{Latent, Loss, Model, Sampler, Scored, Spread, Step};
use nn::random::word;

impl Model for Vae {
    fn loss(&self, step: &Step) -> Loss {
        let (p, objective) = (step.p, &self.objective);
        let weight = objective.weight(step.step);
        let given = self.given(step.batch, "spread");
        let draws = objective.samples;
        let eps = step.batch.normal(draws * self.latents, word("posterior"));
        let rows = step.batch.len() * draws;
        let eps = Var::constant(eps.reshape([rows, self.latents]));
        let told = |sum| match objective.is_bound() {
            true => Loss::nats(sum),
            false => Loss::of(sum),
        };
        if objective.is_weighted() {
            let loss = told(self.weighted(p, &given, &eps, weight).sum());
            return match objective.doubly {
                true => loss.surrogate(),
                false => loss,
            };
        }
        let (mu, log_var) = self.posterior_given(p, &given.x, given.y.as_ref());
        let elbo = self.elbo_at(p, &given, [&mu, &log_var], &eps);
        let (reconstruction, kl) = (elbo.reconstruction.sum(), elbo.kl.sum());
        let parts = [&reconstruction, &kl].map(|part| f64::from(part.item()));
        let mut paid = match objective.free_bits {
            0.0 => kl,
            free => bound::with_free_bits(&bound::kl_of_dimensions(&mu, &log_var), free),
        };
        if weight != 1.0 {
            paid = paid.scale(weight);
        }
        told(reconstruction + paid)
            .with("reconstruction", parts[0])
            .with("kl", parts[1])
    }

    /// Measured at 128 images a step on two cores: two lanes make 1.15 times the images per second
    /// of kernels that split their work, and need no barrier within a step.
    fn spread(&self, batch_size: usize) -> Spread {
        let most = match self.layout.channels.is_empty() {
            true => 64,
            false => 16,
        };
        let rows = batch_size.div_ceil(2).clamp(1, most);
        Spread::Lanes((rows / self.objective.samples).max(1))
    }

    fn classes(&self) -> Option<usize> {
        Some(self.layout.classes).filter(|&classes| classes > 0)
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self), Scored::Set(self)]
    }

    fn sampler(&self) -> Option<&dyn Sampler> {
        Some(self)
    }

    fn latent(&self) -> Option<&dyn Latent> {
        Some(self)
    }
}
