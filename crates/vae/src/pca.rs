//! Principal components: what a linear code of so many numbers can keep at best.

use grad::{Tensor, Var};
use nn::model::ImageSource;
use nn::random::{normal, stream, word};

/// Images whose covariance is taken, and how many are looked at together.
const IMAGES: usize = 20_000;
const TOGETHER: usize = 500;
/// Directions that are followed beside those that are asked for, and how often: the error of a
/// component falls with (eigenvalue behind the block / its own)^(2 rounds).
const BESIDE: usize = 8;
const ROUNDS: usize = 12;

/// The mean and the first components of some images.
pub struct Pca {
    /// The mean image, `[D]`.
    pub mean: Vec<f64>,
    /// Orthonormal directions in rows, `[k, D]`, of falling variance.
    pub components: Vec<Vec<f64>>,
}

impl Pca {
    /// The first `k` components of the first 20,000 images of a source, by orthogonal iteration.
    pub fn of(source: &dyn ImageSource, k: usize) -> Pca {
        let dims = source.spec().dims();
        let count = source.len().min(IMAGES);
        let batches = || {
            let indices: Vec<u32> = (0..count as u32).collect();
            let parts: Vec<Vec<u32>> = indices.chunks(TOGETHER).map(<[u32]>::to_vec).collect();
            parts.into_iter().map(|part| source.batch(&part).rows())
        };
        let mut mean = vec![0.0; dims];
        for rows in batches() {
            for row in rows.data().chunks_exact(dims) {
                mean.iter_mut()
                    .zip(row)
                    .for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
        let mut covariance = vec![0.0f64; dims * dims];
        for rows in batches() {
            let centred =
                Tensor::from_fn(*rows.shape(), |i| rows.data()[i] - mean[i % dims] as f32);
            let centred = Var::constant(centred);
            let part = centred.matmul_with(&centred, true, false);
            let sums = covariance.iter_mut().zip(part.value().data());
            sums.for_each(|(sum, &x)| *sum += f64::from(x) / count as f64);
        }
        Pca {
            components: leading_eigenvectors(&covariance, dims, k.min(dims)),
            mean,
        }
    }

    /// The squared error of an image that is kept by these components alone.
    pub fn squared_error(&self, image: &[f32]) -> f64 {
        let centred: Vec<f64> = image
            .iter()
            .zip(&self.mean)
            .map(|(&x, mean)| f64::from(x) - mean)
            .collect();
        let all: f64 = centred.iter().map(|x| x * x).sum();
        let kept = |direction: &Vec<f64>| -> f64 {
            direction
                .iter()
                .zip(&centred)
                .map(|(d, x)| d * x)
                .sum::<f64>()
                .powi(2)
        };
        (all - self.components.iter().map(kept).sum::<f64>()).max(0.0)
    }
}

/// The leading `k` eigenvectors of a symmetric matrix of `n` rows, by rows; at most `n`.
pub fn leading_eigenvectors(matrix: &[f64], n: usize, k: usize) -> Vec<Vec<f64>> {
    let block = (k + BESIDE).min(n);
    let mut noise = stream(&[word("components")]);
    let mut q: Vec<Vec<f64>> = (0..block)
        .map(|_| (0..n).map(|_| normal(&mut noise)).collect())
        .collect();
    orthonormal(&mut q);
    let times = |q: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let flat: Vec<f64> = q.concat();
        let q = Var::constant(Tensor::new([q.len(), n], &flat));
        let matrix = Var::constant(Tensor::new([n, n], matrix));
        q.matmul(&matrix)
            .value()
            .data()
            .chunks_exact(n)
            .map(<[f64]>::to_vec)
            .collect()
    };
    for _ in 0..ROUNDS {
        q = times(&q);
        orthonormal(&mut q);
    }
    // Within the block: the eigenvectors of the small matrix Q A Q^T, by Jacobi's rotations.
    let image = times(&q);
    let mut small = vec![0.0; block * block];
    for i in 0..block {
        for j in 0..block {
            small[i * block + j] = q[i].iter().zip(&image[j]).map(|(a, b)| a * b).sum();
        }
    }
    let (values, vectors) = jacobi(small, block);
    let mut order: Vec<usize> = (0..block).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let combine = |&column: &usize| {
        let mut direction = vec![0.0; n];
        for (i, row) in q.iter().enumerate() {
            let weight = vectors[i * block + column];
            direction
                .iter_mut()
                .zip(row)
                .for_each(|(d, x)| *d += weight * x);
        }
        direction
    };
    order[..k.min(n)].iter().map(combine).collect()
}

/// Gram-Schmidt, each row twice; rows that vanish stay zero.
fn orthonormal(rows: &mut [Vec<f64>]) {
    for i in 0..rows.len() {
        let (before, rest) = rows.split_at_mut(i);
        let row = &mut rest[0];
        for _ in 0..2 {
            for other in before.iter() {
                let dot: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let scale = if norm > 1e-150 { 1.0 / norm } else { 0.0 };
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Eigenvalues and eigenvectors (in columns) of a symmetric matrix by rows.
fn jacobi(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut v = vec![0.0; n * n];
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    for _ in 0..50 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * n + j].powi(2))
            .sum();
        let all: f64 = a.iter().map(|x| x * x).sum();
        if off <= 1e-28 * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

/// The rotation of rows and columns p and q that makes their element 0.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
        let (x, y) = (v[k * n + p], v[k * n + q]);
        v[k * n + p] = c * x - s * y;
        v[k * n + q] = s * x + c * y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_directions_are_eigenvectors() {
        let n = 12;
        let mut noise = stream(&[1]);
        // A A^T with columns of falling length.
        let a: Vec<f64> = (0..n * n)
            .map(|i| normal(&mut noise) * 0.7f64.powi((i % n) as i32))
            .collect();
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                matrix[i * n + j] = (0..n).map(|k| a[i * n + k] * a[j * n + k]).sum();
            }
        }
        let mut last = f64::INFINITY;
        for v in leading_eigenvectors(&matrix, n, 4) {
            let image: Vec<f64> = (0..n)
                .map(|i| (0..n).map(|j| matrix[i * n + j] * v[j]).sum())
                .collect();
            let value: f64 = image.iter().zip(&v).map(|(a, b)| a * b).sum();
            assert!(value <= last && value > 0.0);
            last = value;
            for (image, v) in image.iter().zip(&v) {
                assert!(
                    (image - value * v).abs() < 1e-9 * value,
                    "{image} {}",
                    value * v
                );
            }
        }
    }
}
