//! Parzen windows: a density made of a Gaussian bump around each sample.
//!
//! Papers on generative stochastic networks and the first ones on adversarial networks quote it.
//! It is here to be compared with them, and it misleads: L. Theis, A. van den Oord and M. Bethge
//! 2016, arXiv:1511.01844, section 3.2, show that it ranks models wrongly and prefers centroids of
//! the data to the data.
//!
//! ```text
//! log p(x) = log 1/n sum_i e^(-|x - s_i|^2 / (2 sigma^2)) - D log(sigma sqrt(2 pi))
//! ```

use grad::kernels::gemm::{Beta, Epilogue, Mat, gemm};
use grad::kernels::parallel;
use grad::kernels::reduce::dot;
use nn::model::{Better, Chain, Figure, ImageSource, NATS, SampleRequest, ScoreInfo, SetAsk};
use nn::stats::{Estimate, log_mean_exp};
use rayon::prelude::*;

/// Named for what it is worth.
pub(crate) const INFO: ScoreInfo = ScoreInfo::metric("parzen_misleading", NATS, Better::Higher);
/// Chains that samples are taken from, and images of each.
const SAMPLES: [usize; 2] = [100, 100];
/// Training images that choose the width of the bumps.
const TO_CHOOSE: usize = 1000;
/// Widths of the bump to choose from.
const SIGMAS: [f64; 9] = [0.1, 0.13, 0.16, 0.2, 0.24, 0.28, 0.34, 0.4, 0.5];
/// Images that are looked at together.
const TOGETHER: usize = 100;

/// The mean over the images of a split, around 10,000 images that chains pass through. Along a
/// training it is left out.
pub(crate) fn figure(chain: &dyn Chain, ask: &SetAsk) -> Vec<Figure> {
    if !ask.thorough || ask.split.is_empty() {
        return Vec::new();
    }
    let [count, frames] = SAMPLES;
    let request = SampleRequest::new(count, ask.seed);
    let samples = chain.frames(&ask.params.constants(), &request, frames);
    let rows = |source: &dyn ImageSource, most: usize| {
        let indices: Vec<u32> = (0..source.len().min(most) as u32).collect();
        source.batch(&indices).images
    };
    let source = if ask.train.is_empty() {
        ask.split
    } else {
        ask.train
    };
    let [train, test] = [rows(source, TO_CHOOSE), rows(ask.split, usize::MAX)];
    let d = samples.len() / (count * frames);
    let nats = log_densities(samples.data(), train.data(), test.data(), d);
    let estimate = Estimate::of(&nats);
    vec![Figure {
        info: INFO,
        value: estimate.mean,
        standard_error: estimate.standard_error,
    }]
}

/// log p(x) of each image of `test` in nats, with the width that is best for the images of `train`:
/// all `[n, d]`.
fn log_densities(samples: &[f32], train: &[f32], test: &[f32], d: usize) -> Vec<f64> {
    let distances = squared_distances(samples, train, d);
    let score = |sigma: f64| of_width(&distances, d, sigma).iter().sum::<f64>();
    let sigma = SIGMAS
        .into_iter()
        .max_by(|&a, &b| score(a).total_cmp(&score(b)));
    of_width(
        &squared_distances(samples, test, d),
        d,
        sigma.unwrap_or(SIGMAS[0]),
    )
}

fn of_width(distances: &[Vec<f32>], d: usize, sigma: f64) -> Vec<f64> {
    let volume = d as f64 * (sigma * (2.0 * std::f64::consts::PI).sqrt()).ln();
    let of = |row: &Vec<f32>| {
        let exponents = row.iter().map(|&x| -f64::from(x) / (2.0 * sigma * sigma));
        log_mean_exp(&exponents.collect::<Vec<_>>()) - volume
    };
    distances.par_iter().map(of).collect()
}

/// |x - s|^2 of each image x and sample s: a row for each image.
fn squared_distances(samples: &[f32], images: &[f32], d: usize) -> Vec<Vec<f32>> {
    let n = samples.len() / d;
    let lengths: Vec<f32> = samples.chunks_exact(d).map(|s| dot(s, s)).collect();
    let parts = images.par_chunks(TOGETHER * d).map(|images| {
        let count = images.len() / d;
        let mut products = vec![0.0; count * n];
        let samples = Mat::new(samples, n, d).t();
        let images_of = Mat::new(images, count, d);
        parallel::serial(|| {
            gemm(
                images_of,
                samples,
                Beta::Zero,
                &mut products,
                Epilogue::NONE,
            )
        });
        let rows = products.chunks_exact(n).zip(images.chunks_exact(d));
        let rows = rows.map(|(products, x)| {
            let length = dot(x, x);
            let pairs = products.iter().zip(&lengths);
            pairs
                .map(|(xs, ss)| (length - 2.0 * xs + ss).max(0.0))
                .collect()
        });
        rows.collect::<Vec<Vec<f32>>>()
    });
    parts.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_sample_is_a_gaussian() {
        let found = log_densities(&[0.5, 0.5], &[0.5, 0.52], &[0.5, 0.5, 0.9, 0.5], 2);
        // The narrowest window is the best for a training image next to the sample.
        let sigma: f64 = SIGMAS[0];
        let peak = -(2.0 * std::f64::consts::PI * sigma * sigma).ln();
        assert!((found[0] - peak).abs() < 1e-5, "{found:?}");
        assert!(
            (found[1] - (peak - 0.16 / (2.0 * sigma * sigma))).abs() < 1e-4,
            "{found:?}"
        );
    }
}
