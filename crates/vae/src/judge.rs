//! What a variational autoencoder is judged by: bounds on -log p(x), and how its code is used.

use crate::model::{Given, Vae};
use grad::kernels::parallel;
use grad::{Tensor, Var};
use nn::Bound;
use nn::dist::gaussian;
use nn::model::{
    Ask, Batch, Better, Figure, ImageSource, Kind, Score, ScoreInfo, SetAsk, SetScore, Step,
};
use nn::random::word;
use nn::stats::Estimate;
use std::f64::consts::TAU;

/// Parameters of pixels that are decoded together, those of 512 binary digits: enough to keep the
/// kernels busy, few enough for the cache, however many samples are asked for.
const TOGETHER_DECODED: usize = 512 * 784;

/// A sum of exponentials that grows, by its logarithm.
#[derive(Clone, Copy)]
struct LogSum {
    max: f64,
    sum: f64,
}

impl LogSum {
    const EMPTY: LogSum = LogSum {
        max: f64::NEG_INFINITY,
        sum: 0.0,
    };

    fn add(&mut self, x: f64) {
        if x > self.max {
            self.sum = self.sum * (self.max - x).exp() + 1.0;
            self.max = x;
        } else {
            // A NaN arrives here and stays.
            self.sum += (x - self.max).exp();
        }
    }

    fn log(self) -> f64 {
        self.max + self.sum.ln()
    }
}

impl Vae {
    /// A bound on -log p(x) of each image, in nats. One sample: -ELBO, the KL exact where it can
    /// be. More: -log of the mean importance weight, a tighter bound.
    pub fn nats(&self, p: &Bound<f32>, batch: &Batch, samples: usize) -> Vec<f64> {
        self.columns(p, batch, samples).swap_remove(0)
    }

    /// The bound on -log p(x), then E[-log p(x|z)] and KL(q(z|x) || p(z)), for each image.
    fn columns(&self, p: &Bound<f32>, batch: &Batch, samples: usize) -> Vec<Vec<f64>> {
        let given = self.given(batch, "evaluation of levels");
        // The encoder runs once, whatever the samples.
        let (mu, log_var) = self.posterior_given(p, &given.x, given.y.as_ref());
        if samples <= 1 {
            let eps = Var::constant(self.noise(batch, 0..1));
            let elbo = self.elbo_at(p, &given, [&mu, &log_var], &eps);
            let nats = &elbo.reconstruction + &elbo.kl;
            return [&nats, &elbo.reconstruction, &elbo.kl]
                .map(numbers)
                .to_vec();
        }
        self.importance(p, batch, &given, [&mu, &log_var], samples)
    }

    /// The same by importance sampling, a chunk of draws after the other.
    fn importance(
        &self,
        p: &Bound<f32>,
        batch: &Batch,
        given: &Given<f32>,
        [mu, log_var]: [&Var<f32>; 2],
        samples: usize,
    ) -> Vec<Vec<f64>> {
        let count = batch.len();
        let each = self.spec.dims() * self.output.width() * count.max(1);
        let chunk = (TOGETHER_DECODED / each).clamp(1, samples);
        let mut sums = vec![LogSum::EMPTY; count];
        let mut elbo = vec![0.0; count];
        let mut all = given.repeated(chunk);
        for first in (0..samples).step_by(chunk) {
            let draws = first..samples.min(first + chunk);
            if draws.len() < chunk {
                all = given.repeated(draws.len());
            }
            let eps = Var::constant(self.noise(batch, draws.clone()));
            let weights = self.log_weights(p, &all, [mu, log_var], &eps, 1.0);
            let rows = weights.value().data().chunks_exact(draws.len());
            for ((sum, elbo), row) in sums.iter_mut().zip(&mut elbo).zip(rows) {
                for &weight in row {
                    sum.add(f64::from(weight));
                    *elbo -= f64::from(weight) / samples as f64;
                }
            }
        }
        let kl = match self.mixture(p) {
            None => numbers(&gaussian::kl_standard(mu, log_var)),
            // One draw: a mixture has no closed form.
            Some(mixture) => {
                let eps = Var::constant(self.noise(batch, 0..1));
                let z = gaussian::reparameterise(mu, log_var, &eps);
                let log_q = gaussian::log_prob(&z, mu, log_var);
                numbers(&(log_q - mixture.log_prob(&z)))
            }
        };
        let nats = sums
            .iter()
            .map(|sum| (samples as f64).ln() - sum.log())
            .collect();
        let reconstruction = elbo.iter().zip(&kl).map(|(elbo, kl)| elbo - kl).collect();
        vec![nats, reconstruction, kl]
    }

    /// Standard normal noise for these draws, those of an image side by side:
    /// `[B draws, latents]`.
    fn noise(&self, batch: &Batch, draws: std::ops::Range<usize>) -> Tensor<f32> {
        let (count, n) = (draws.len(), self.latents);
        let each: Vec<Tensor<f32>> = draws
            .map(|k| batch.normal(n, word("evaluation").wrapping_add(k as u64)))
            .collect();
        Tensor::build([batch.len() * count, n], |out| {
            for (i, row) in out.chunks_exact_mut(n).enumerate() {
                let (image, draw) = (i / count, i % count);
                row.copy_from_slice(&each[draw].data()[image * n..][..n]);
            }
        })
    }
}

fn numbers(v: &Var<f32>) -> Vec<f64> {
    v.value().data().iter().map(|&x| f64::from(x)).collect()
}

impl Score for Vae {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![
            ScoreInfo::nats(Kind::UpperBound),
            ScoreInfo::metric("reconstruction", "nats", Better::Lower),
            ScoreInfo::metric("kl", "nats", Better::Lower),
        ]
    }

    fn is_stochastic(&self) -> bool {
        true
    }

    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        self.columns(step.p, step.batch, ask.samples)
    }
}

/// Images whose codes are looked at together.
const MOST: usize = 1000;
/// Images that are encoded at once.
const TOGETHER: usize = 250;
/// A dimension is active if its mean varies more than this over the images. Burda et al. 2016,
/// section 5.
const ACTIVE: f64 = 0.01;

/// Means and log-variances of the codes of some images, in rows.
struct Codes {
    latents: usize,
    mu: Vec<f64>,
    log_var: Vec<f64>,
}

impl Codes {
    /// Of the first images of a source.
    fn of(vae: &Vae, p: &Bound<f32>, images: &dyn ImageSource) -> Codes {
        let mut codes = Codes {
            latents: vae.latents,
            mu: Vec::new(),
            log_var: Vec::new(),
        };
        let indices: Vec<u32> = (0..images.len().min(MOST) as u32).collect();
        for part in indices.chunks(TOGETHER) {
            let given = vae.given(&images.batch(part), "evaluation of levels");
            let (mu, log_var) = vae.posterior_given(p, &given.x, given.y.as_ref());
            codes.mu.extend(numbers(&mu));
            codes.log_var.extend(numbers(&log_var));
        }
        codes
    }

    fn count(&self) -> usize {
        self.mu.len() / self.latents
    }

    /// How many dimensions of the mean vary over the images.
    fn active(&self) -> usize {
        let (n, count) = (self.latents, self.count() as f64);
        let varies = |j: &usize| {
            let column = || self.mu.iter().skip(*j).step_by(n);
            let mean = column().sum::<f64>() / count;
            column().map(|mu| (mu - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0) > ACTIVE
        };
        (0..n).filter(varies).count()
    }

    /// log of the mean of q(z|x_i) over the images, at each of these codes.
    fn log_aggregate(&self, z: &[f64]) -> Vec<f64> {
        let n = self.latents;
        let precision: Vec<f64> = self
            .log_var
            .iter()
            .map(|log_var| (-log_var).exp())
            .collect();
        let rows = self.log_var.chunks_exact(n);
        let own: Vec<f64> = rows
            .map(|row| row.iter().sum::<f64>() + n as f64 * TAU.ln())
            .collect();
        let at = |z: &[f64]| {
            let mut sum = LogSum::EMPTY;
            let posteriors = self.mu.chunks_exact(n).zip(precision.chunks_exact(n));
            for ((mu, precision), own) in posteriors.zip(&own) {
                let terms = z.iter().zip(mu).zip(precision);
                let square: f64 = terms.map(|((z, mu), p)| (z - mu) * (z - mu) * p).sum();
                sum.add(-0.5 * (square + own));
            }
            sum.log() - (self.count() as f64).ln()
        };
        z.chunks_exact(n).map(at).collect()
    }
}

impl SetScore for Vae {
    /// The number of active dimensions, and KL(q(z) || p(z)) of the aggregate posterior q(z), the
    /// mean of q(z|x) over the first images: what samples from the prior suffer from. It is the
    /// mean KL minus what the code tells about which image it is of, and counts for little where
    /// that is near the logarithm of the number of images.
    fn about(&self) -> Vec<ScoreInfo> {
        vec![
            ScoreInfo::metric("active_units", "dimensions", Better::Higher),
            ScoreInfo::metric("aggregate_kl", "nats", Better::Lower),
        ]
    }

    fn of(&self, ask: &SetAsk) -> Vec<Figure> {
        let p = ask.params.constants();
        let codes = Codes::of(self, &p, ask.split);
        let count = codes.count();
        let indices: Vec<u32> = (0..count as u32).collect();
        // One draw of each posterior.
        let eps = ask
            .split
            .batch(&indices)
            .normal(self.latents, word("aggregate"));
        let noise = eps.data().iter().zip(&codes.mu).zip(&codes.log_var);
        let z: Vec<f64> = noise
            .map(|((&e, mu), log_var)| mu + (0.5 * log_var).exp() * f64::from(e))
            .collect();
        let single: Vec<f32> = z.iter().map(|&z| z as f32).collect();
        let prior = parallel::serial(|| {
            let z = Var::constant(Tensor::new([count, self.latents], &single));
            numbers(&self.log_prior(&p, &z))
        });
        let aggregate = codes.log_aggregate(&z);
        let differences: Vec<f64> = aggregate.iter().zip(&prior).map(|(q, p)| q - p).collect();
        let estimate = Estimate::of(&differences);
        let about = SetScore::about(self);
        vec![
            Figure {
                info: about[0],
                value: codes.active() as f64,
                standard_error: f64::NAN,
            },
            Figure {
                info: about[1],
                value: estimate.mean,
                standard_error: estimate.standard_error,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_sum_is_the_sum() {
        let values = [-1000.0, -3.0, 2.0, -900.0, 1.5];
        let mut sum = LogSum::EMPTY;
        values.iter().for_each(|&x| sum.add(x));
        assert!((sum.log() - nn::stats::logsumexp(&values)).abs() < 1e-12);
        sum.add(f64::NAN);
        assert!(sum.log().is_nan());
    }

    /// Two posteriors far apart: the aggregate is half of either where it is.
    #[test]
    fn the_aggregate_is_a_mean_of_posteriors() {
        let codes = Codes {
            latents: 2,
            mu: vec![0.0, 0.0, 50.0, 0.0],
            log_var: vec![0.0, 0.0, 4f64.ln(), 0.0],
        };
        let found = codes.log_aggregate(&[0.0, 1.0, 50.0, 0.0]);
        let expected = [-TAU.ln() - 0.5, -TAU.ln() - 2f64.ln()].map(|log| log - 2f64.ln());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(codes.active(), 1);
    }
}
