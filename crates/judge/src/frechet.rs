//! Fréchet distance between Gaussians with the moments of two sets.
//!
//! D. C. Dowson and B. V. Landau 1982; for generated images M. Heusel et al. 2017,
//! arXiv:1706.08500: |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)). It is biased, and its bias depends on
//! the number of images and on the model, so it is only compared at one count, beside the distance
//! of real images from real ones.

use crate::eigen;
use crate::matrix::Matrix;

/// Mean and covariance of features.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The mean.
    pub mean: Vec<f64>,
    /// The covariance, row by row.
    pub covariance: Vec<f64>,
}

impl Moments {
    /// Of the rows of a matrix; the covariance is divided by their number less one.
    pub fn of(x: &Matrix) -> Moments {
        Moments {
            mean: x.mean(),
            covariance: x.covariance(),
        }
    }
}

/// The squared Fréchet distance of Gaussians with these moments.
///
/// # Panics
/// If they are not of one width.
#[track_caller]
pub fn frechet_distance(a: &Moments, b: &Moments) -> f64 {
    let n = a.mean.len();
    assert_eq!(n, b.mean.len(), "fréchet distance: features of both");
    let means: f64 = a
        .mean
        .iter()
        .zip(&b.mean)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    let trace = |c: &[f64]| (0..n).map(|i| c[i * n + i]).sum::<f64>();
    // (C C')^(1/2) has the trace of (R C' R)^(1/2) with R = C^(1/2), which is symmetric.
    let root = eigen::square_root(&a.covariance, n);
    let inner = product(&product(&root, &b.covariance, n), &root, n);
    let even: Vec<f64> = (0..n * n)
        .map(|i| 0.5 * (inner[i] + inner[i % n * n + i / n]))
        .collect();
    let (values, _) = eigen::symmetric(&even, n);
    let cross: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    means + trace(&a.covariance) + trace(&b.covariance) - 2.0 * cross
}

fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut c = vec![0.0; n * n];
    for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(n)) {
        for (a, b) in a.iter().zip(b.chunks_exact(n)) {
            for (c, b) in c.iter_mut().zip(b) {
                *c += a * b;
            }
        }
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::{normal_tensor, stream};

    /// Along axes the distance is the sum of (m - m')^2 + (s - s')^2.
    #[test]
    fn gaussians_along_axes() {
        let moments = |mean: [f64; 3], deviations: [f64; 3]| Moments {
            mean: mean.to_vec(),
            covariance: (0..9)
                .map(|i| {
                    if i % 4 == 0 {
                        deviations[i / 4].powi(2)
                    } else {
                        0.0
                    }
                })
                .collect(),
        };
        let a = moments([0.0, 1.0, -2.0], [1.0, 2.0, 0.0]);
        let b = moments([0.5, 1.0, 1.0], [3.0, 2.5, 1.0]);
        let expected = 0.25 + 9.0 + 4.0 + 0.25 + 1.0;
        assert!((frechet_distance(&a, &b) - expected).abs() < 1e-12);
        assert!(frechet_distance(&b, &b).abs() < 1e-12);
    }

    /// Two Gaussians of the plane that share no axes: tr (A B)^(1/2) of two rows and columns is
    /// (tr A B + 2 det(A B)^(1/2))^(1/2).
    #[test]
    fn gaussians_with_other_axes() {
        let (a, b) = ([2.0, 0.7, 0.7, 1.0], [1.5, -0.9, -0.9, 3.0]);
        let det = |m: [f64; 4]| m[0] * m[3] - m[1] * m[2];
        let trace_of_product = a[0] * b[0] + a[1] * b[2] + a[2] * b[1] + a[3] * b[3];
        let cross = (trace_of_product + 2.0 * (det(a) * det(b)).sqrt()).sqrt();
        let expected = a[0] + a[3] + b[0] + b[3] - 2.0 * cross;
        let moments = |c: [f64; 4]| Moments {
            mean: vec![0.0; 2],
            covariance: c.to_vec(),
        };
        let found = frechet_distance(&moments(a), &moments(b));
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        let back = frechet_distance(&moments(b), &moments(a));
        assert!((found - back).abs() < 1e-12);
    }

    /// Samples of N(0, I) and of N(m, 4 I) in 8 dimensions: 8 (0.25 + 1).
    #[test]
    fn samples_come_near_their_distributions() {
        let mut s = stream(&[5]);
        let [x, y] = [(), ()].map(|()| normal_tensor::<f64>([20_000, 8], &mut s));
        let y = y.map(|y| 0.5 + 2.0 * y);
        let moments = |t: &grad::Tensor<f64>| Moments::of(&Matrix::new(20_000, 8, t.data()));
        let found = frechet_distance(&moments(&x), &moments(&y));
        assert!((found - 10.0).abs() < 0.25, "{found}");
    }
}
