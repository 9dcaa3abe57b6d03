//! A density fitted to the codes of training images: a mixture of Gaussians with full covariances,
//! by expectation maximisation (Dempster et al. 1977). Samples from N(0, I) fall also where no code
//! of an image lies; those of this density do not. Ghosh et al. 2020, arXiv:1903.12436.

use crate::generate::Draw;
use crate::model::Vae;
use nn::Bound;
use nn::model::{Encoder, ImageSource, Step};
use nn::random::{Stream, stream, uniform, word};
use std::f64::consts::TAU;

/// Gaussians of a density; of a conditional model shared by the classes.
const GAUSSIANS: usize = 20;
/// Training images that a density is fitted to, and how many are encoded at once.
const IMAGES: usize = 5000;
const TOGETHER: usize = 250;
/// Steps of expectation maximisation.
const STEPS: usize = 30;
/// What is added to variances, as a share of the mean variance of the codes.
const RIDGE: f64 = 1e-3;

/// A mixture of Gaussians.
pub(crate) struct Density {
    dims: usize,
    gaussians: Vec<Gaussian>,
}

#[derive(Clone)]
struct Gaussian {
    weight: f64,
    mean: Vec<f64>,
    /// Lower triangle L of the covariance L L^T, by rows, whole.
    factor: Vec<f64>,
}

impl Gaussian {
    /// log w N(z).
    fn log_density(&self, z: &[f64], room: &mut [f64]) -> f64 {
        let n = z.len();
        let mut log = self.weight.max(1e-300).ln() - 0.5 * n as f64 * TAU.ln();
        // L y = z - mean, from above.
        for i in 0..n {
            let row = &self.factor[i * n..][..=i];
            let known: f64 = row.iter().zip(&room[..i]).map(|(l, y)| l * y).sum();
            room[i] = (z[i] - self.mean[i] - known) / row[i];
            log -= 0.5 * room[i] * room[i] + row[i].ln();
        }
        log
    }
}

/// The lower triangle L with L L^T = a + ridge I, of a symmetric a by rows.
fn cholesky(a: &[f64], n: usize, ridge: f64) -> Vec<f64> {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let rest = a[i * n + j] - dot;
            l[i * n + j] = match i == j {
                true => (rest + ridge).max(ridge).sqrt(),
                false => rest / l[j * n + j],
            };
        }
    }
    l
}

impl Density {
    /// Fitted to rows of `dims` numbers.
    pub(crate) fn fit(
        codes: &[f64],
        dims: usize,
        gaussians: usize,
        stream: &mut Stream,
    ) -> Density {
        let count = codes.len() / dims;
        let gaussians = gaussians.min(count / (2 * dims).max(2)).max(1);
        let n = count as f64;
        let mean: Vec<f64> = (0..dims)
            .map(|j| codes.iter().skip(j).step_by(dims).sum::<f64>() / n)
            .collect();
        let centred = codes
            .iter()
            .enumerate()
            .map(|(i, z)| (z - mean[i % dims]).powi(2));
        let variance = centred.sum::<f64>() / codes.len().max(1) as f64;
        let ridge = (RIDGE * variance).max(1e-12);
        let mut density = Density {
            dims,
            gaussians: Vec::new(),
        };
        if count == 0 {
            return density;
        }
        // Each begins at a code, far from those before with a probability that grows with the
        // squared distance (Arthur & Vassilvitskii 2007), as wide as all codes together.
        let mut sphere = vec![0.0; dims * dims];
        (0..dims).for_each(|i| sphere[i * dims + i] = variance);
        let mut nearest = vec![f64::INFINITY; count];
        let mut chosen = ((uniform(stream) * n) as usize).min(count - 1);
        for _ in 0..gaussians {
            let centre = codes[chosen * dims..][..dims].to_vec();
            for (i, z) in codes.chunks_exact(dims).enumerate() {
                let square = z.iter().zip(&centre).map(|(z, c)| (z - c).powi(2)).sum();
                nearest[i] = nearest[i].min(square);
            }
            density.gaussians.push(Gaussian {
                weight: 1.0 / gaussians as f64,
                mean: centre,
                factor: cholesky(&sphere, dims, ridge),
            });
            let target = uniform(stream) * nearest.iter().sum::<f64>();
            let mut sum = 0.0;
            let reached = nearest.iter().position(|square| {
                sum += square;
                target < sum
            });
            chosen = reached.unwrap_or(count - 1);
        }
        (0..STEPS).for_each(|_| density.step(codes, ridge));
        density
    }

    /// One step of expectation maximisation.
    fn step(&mut self, codes: &[f64], ridge: f64) {
        let (n, k) = (self.dims, self.gaussians.len());
        let mut mass = vec![0.0; k];
        let mut first = vec![0.0; k * n];
        let mut second = vec![0.0; k * n * n];
        let (mut room, mut logs) = (vec![0.0; n], vec![0.0; k]);
        for z in codes.chunks_exact(n) {
            for (log, gaussian) in logs.iter_mut().zip(&self.gaussians) {
                *log = gaussian.log_density(z, &mut room);
            }
            let total = nn::stats::logsumexp(&logs);
            for (i, log) in logs.iter().enumerate() {
                let share = (log - total).exp();
                // What counts for nothing costs nothing.
                if share.is_nan() || share <= 1e-6 {
                    continue;
                }
                mass[i] += share;
                for a in 0..n {
                    let weighted = share * z[a];
                    first[i * n + a] += weighted;
                    let row = &mut second[(i * n + a) * n..][..=a];
                    row.iter_mut()
                        .zip(z)
                        .for_each(|(sum, z)| *sum += weighted * z);
                }
            }
        }
        let all: f64 = mass.iter().sum();
        for (i, gaussian) in self.gaussians.iter_mut().enumerate() {
            // One that has lost its codes stays where it is, with no weight.
            gaussian.weight = mass[i] / all;
            if mass[i] < 1.0 {
                continue;
            }
            let mean: Vec<f64> = first[i * n..][..n]
                .iter()
                .map(|sum| sum / mass[i])
                .collect();
            let mut covariance = vec![0.0; n * n];
            for a in 0..n {
                for b in 0..=a {
                    let moment = second[(i * n + a) * n + b] / mass[i];
                    covariance[a * n + b] = moment - mean[a] * mean[b];
                }
            }
            gaussian.mean = mean;
            gaussian.factor = cholesky(&covariance, n, ridge);
        }
    }

    /// One code.
    pub(crate) fn draw(&self, draw: Draw, stream: &mut Stream, z: &mut [f32]) {
        let mut target = uniform(stream);
        let chosen = self.gaussians.iter().find(|gaussian| {
            target -= gaussian.weight;
            target < 0.0
        });
        let noise: Vec<f64> = z.iter().map(|_| f64::from(draw.one(stream))).collect();
        let Some(gaussian) = chosen.or(self.gaussians.last()) else {
            // Nothing was fitted: there was no code.
            z.iter_mut().zip(noise).for_each(|(z, e)| *z = e as f32);
            return;
        };
        let n = z.len();
        for (i, z) in z.iter_mut().enumerate() {
            let row = &gaussian.factor[i * n..][..=i];
            let moved: f64 = row.iter().zip(&noise).map(|(l, e)| l * e).sum();
            *z = (gaussian.mean[i] + moved) as f32;
        }
    }
}

/// The density of the codes of training images, or one for each class of a conditional model: codes
/// drawn from q(z|x), one for each image.
pub(crate) fn densities(vae: &Vae, p: &Bound<f32>, train: &dyn ImageSource) -> Vec<Density> {
    let classes = vae.layout.classes.max(1);
    let mut codes: Vec<Vec<f64>> = vec![Vec::new(); classes];
    let indices: Vec<u32> = (0..train.len().min(IMAGES) as u32).collect();
    for part in indices.chunks(TOGETHER) {
        let batch = train.batch(part);
        let tape = grad::Tape::new();
        let step = Step::new(&tape, p, &batch);
        let (mu, sd) = (
            vae.encode(&step),
            vae.spread(&step).expect("it has a spread"),
        );
        let eps = batch.normal(vae.latents, word("codes"));
        let labels = batch.labels.as_ref().filter(|_| classes > 1);
        for (i, &mu) in mu.data().iter().enumerate() {
            let class = labels.map_or(0, |labels| labels[i / vae.latents] as usize);
            codes[class].push(f64::from(mu + sd.data()[i] * eps.data()[i]));
        }
    }
    let each = GAUSSIANS.div_ceil(classes);
    let fit = |(class, codes): (usize, &Vec<f64>)| {
        let mut stream = stream(&[word("codes"), class as u64]);
        Density::fit(codes, vae.latents, each, &mut stream)
    };
    codes.iter().enumerate().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::normal;

    /// Two Gaussians in the plane, one of them narrow along a diagonal.
    #[test]
    fn two_clouds_are_found_and_drawn_from() {
        let mut noise = stream(&[3]);
        let codes: Vec<f64> = (0..2000)
            .flat_map(|i| {
                let (a, b) = (normal(&mut noise), normal(&mut noise));
                match i % 4 {
                    0 => [6.0 + 0.5 * a, -2.0 + 0.5 * b],
                    _ => [a + 0.1 * b, a - 0.1 * b],
                }
            })
            .collect();
        let density = Density::fit(&codes, 2, 2, &mut stream(&[1]));
        let mut weights: Vec<f64> = density.gaussians.iter().map(|it| it.weight).collect();
        weights.sort_by(f64::total_cmp);
        assert!((weights[0] - 0.25).abs() < 0.01, "{weights:?}");
        let draw = Draw {
            temperature: 1.0,
            truncation: None,
        };
        let drawn: Vec<[f32; 2]> = (0..4000)
            .map(|i| {
                let mut z = [0.0; 2];
                density.draw(draw, &mut stream(&[9, i]), &mut z);
                z
            })
            .collect();
        let far = drawn.iter().filter(|z| z[0] - z[1] > 4.0).count() as f64 / 4000.0;
        assert!((far - 0.25).abs() < 0.03, "{far}");
        let near: Vec<_> = drawn.iter().filter(|z| z[0] - z[1] < 4.0).collect();
        let across = near.iter().map(|z| (z[0] - z[1]).powi(2)).sum::<f32>() / near.len() as f32;
        assert!(
            (0.02..0.08).contains(&across),
            "variance across the diagonal {across}"
        );
    }

    #[test]
    fn few_and_equal_codes_do_no_harm() {
        for codes in [vec![], vec![1.0, 2.0], [1.0, 2.0].repeat(40)] {
            let density = Density::fit(&codes, 2, 3, &mut stream(&[1]));
            let mut z = [0.0; 2];
            let draw = Draw {
                temperature: 0.1,
                truncation: Some(2.0),
            };
            density.draw(draw, &mut stream(&[2]), &mut z);
            assert!(z.iter().all(|z| z.is_finite()), "{z:?}");
        }
    }
}
