//! The two-sample classifier test: can a classifier that has seen half of both sets tell the other
//! half apart?
//!
//! D. Lopez-Paz and M. Oquab 2017, arXiv:1610.06545. The classifier is a logistic regression on the
//! features and their squares, with a small penalty, so it sees means and variances. An accuracy
//! of one half on what is held out means that it cannot.

use crate::kid::shuffled;
use crate::matrix::Matrix;

/// What half the squared size of the weights counts for each image.
const RIDGE: f64 = 1e-3;
/// Steps of Newton's method.
const STEPS: usize = 12;

/// How well samples are told from real images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoSample {
    /// The share of held-out images that are told right; one half by chance.
    pub accuracy: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// Tells samples from real images, as many of both as the smaller set has. `seed` says which half
/// is held out.
///
/// # Panics
/// If a set has less than four rows, or they are not equally wide.
#[track_caller]
pub fn two_sample(real: &Matrix, samples: &Matrix, seed: u64) -> TwoSample {
    let count = real.rows().min(samples.rows());
    assert!(
        count >= 4,
        "two-sample test: expected four rows of either set, found {count}"
    );
    let half = count / 2;
    let orders = [
        shuffled(real.rows(), seed),
        shuffled(samples.rows(), seed ^ 1),
    ];
    let split = |from: usize, to: usize| {
        let rows = orders.each_ref().map(|order| &order[from..to]);
        let all = rows[0].iter().map(|&i| real.row(i));
        let all = all.chain(rows[1].iter().map(|&i| samples.row(i)));
        all.map(|row| row.to_vec()).collect::<Vec<_>>()
    };
    let (mut seen, mut held) = (split(0, half), split(half, 2 * half));
    let scale = Scale::of(&seen);
    for row in seen.iter_mut().chain(&mut held) {
        scale.apply(row);
    }
    let weights = fit(&seen, half);
    let right = held.iter().enumerate().filter(|(i, row)| {
        let says_real = dot(&weights, row) > 0.0;
        says_real == (*i < half)
    });
    let total = held.len() as f64;
    let accuracy = right.count() as f64 / total;
    TwoSample {
        accuracy,
        standard_error: (accuracy * (1.0 - accuracy) / total).sqrt(),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Features in units of their deviation, their squares, and a constant.
struct Scale {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scale {
    fn of(rows: &[Vec<f64>]) -> Scale {
        let n = rows.len() as f64;
        let columns = rows[0].len();
        let mean: Vec<f64> = (0..columns)
            .map(|j| rows.iter().map(|row| row[j]).sum::<f64>() / n)
            .collect();
        let deviation = (0..columns).map(|j| {
            let square = rows
                .iter()
                .map(|row| (row[j] - mean[j]).powi(2))
                .sum::<f64>()
                / n;
            square.sqrt().max(1e-9)
        });
        Scale {
            deviation: deviation.collect(),
            mean,
        }
    }

    fn apply(&self, row: &mut Vec<f64>) {
        for (x, (mean, deviation)) in row.iter_mut().zip(self.mean.iter().zip(&self.deviation)) {
            // What is far outside must not rule the fit.
            *x = ((*x - mean) / deviation).clamp(-8.0, 8.0);
        }
        let squares: Vec<f64> = row.iter().map(|x| (x * x - 1.0) / 4.0).collect();
        row.extend(squares);
        row.push(1.0);
    }
}

/// The weights of a logistic regression whose first `ones` rows are of class 1: Newton's method,
/// the step halved while it makes the loss worse.
fn fit(rows: &[Vec<f64>], ones: usize) -> Vec<f64> {
    let (n, columns) = (rows.len() as f64, rows[0].len());
    let loss = |w: &[f64]| {
        let of = |(i, row): (usize, &Vec<f64>)| {
            let d = dot(w, row);
            let d = if i < ones { -d } else { d };
            d.max(0.0) + (-d.abs()).exp().ln_1p()
        };
        rows.iter().enumerate().map(of).sum::<f64>() / n + 0.5 * RIDGE * dot(w, w)
    };
    let mut w = vec![0.0; columns];
    let mut now = loss(&w);
    for _ in 0..STEPS {
        let mut gradient: Vec<f64> = w.iter().map(|w| RIDGE * w).collect();
        let mut hessian = vec![0.0; columns * columns];
        for j in 0..columns {
            hessian[j * columns + j] = RIDGE;
        }
        for (i, row) in rows.iter().enumerate() {
            let p = 1.0 / (1.0 + (-dot(&w, row)).exp());
            let off = (p - f64::from(u8::from(i < ones))) / n;
            let weight = (p * (1.0 - p)).max(1e-9) / n;
            for (j, (g, x)) in gradient.iter_mut().zip(row).enumerate() {
                *g += off * x;
                let factor = weight * x;
                let line = &mut hessian[j * columns..=j * columns + j];
                for (h, x) in line.iter_mut().zip(row) {
                    *h += factor * x;
                }
            }
        }
        let step = solve(&mut hessian, gradient, columns);
        let mut size = 1.0;
        let better = loop {
            let next: Vec<f64> = w.iter().zip(&step).map(|(w, s)| w - size * s).collect();
            let value = loss(&next);
            if value < now {
                break Some((next, value));
            }
            size *= 0.5;
            if size < 1e-3 {
                break None;
            }
        };
        let Some((next, value)) = better else { break };
        let gained = now - value;
        (w, now) = (next, value);
        if gained < 1e-7 {
            break;
        }
    }
    w
}

/// x of a x = b for a symmetric positive a, given by its lower triangle: Cholesky, in place.
fn solve(a: &mut [f64], mut b: Vec<f64>, n: usize) -> Vec<f64> {
    for j in 0..n {
        let (head, tail) = a.split_at_mut((j + 1) * n);
        let row = &mut head[j * n..];
        let pivot = (row[j] - dot(&row[..j], &row[..j])).max(1e-12).sqrt();
        row[j] = pivot;
        let row = &head[j * n..];
        for other in tail.chunks_exact_mut(n) {
            other[j] = (other[j] - dot(&other[..j], &row[..j])) / pivot;
        }
    }
    for j in 0..n {
        b[j] = (b[j] - dot(&a[j * n..j * n + j], &b[..j])) / a[j * n + j];
    }
    for j in (0..n).rev() {
        let above: f64 = (j + 1..n).map(|i| a[i * n + j] * b[i]).sum();
        b[j] = (b[j] - above) / a[j * n + j];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::{normal_tensor, stream};

    fn gaussian(rows: usize, mean: f64, deviation: f64, seed: u64) -> Matrix {
        let x = normal_tensor::<f64>([rows, 4], &mut stream(&[seed]));
        let x: Vec<f64> = x.data().iter().map(|x| mean + deviation * x).collect();
        Matrix::new(rows, 4, &x)
    }

    #[test]
    fn equal_distributions_cannot_be_told_apart() {
        let found = two_sample(
            &gaussian(2000, 0.0, 1.0, 1),
            &gaussian(2000, 0.0, 1.0, 2),
            0,
        );
        assert!(
            (found.accuracy - 0.5).abs() < 4.0 * found.standard_error,
            "{found:?}"
        );
    }

    /// The best there is for means 2 a apart along each of 4 axes: Phi(2 a), 0.8413 for a = 1/2.
    #[test]
    fn shifted_gaussians_are_told_apart_as_well_as_can_be() {
        let found = two_sample(
            &gaussian(4000, -0.5, 1.0, 1),
            &gaussian(4000, 0.5, 1.0, 2),
            0,
        );
        assert!(
            (found.accuracy - 0.8413).abs() < 4.0 * found.standard_error,
            "{found:?}"
        );
    }

    #[test]
    fn variances_are_seen_as_well() {
        let found = two_sample(
            &gaussian(2000, 0.0, 1.0, 1),
            &gaussian(2000, 0.0, 2.5, 2),
            0,
        );
        assert!(found.accuracy > 0.85, "{found:?}");
    }

    #[test]
    fn a_system_is_solved() {
        let mut a = vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, -1.0, 1.0, 3.0];
        let x = solve(
            &mut a,
            vec![4.0 + 4.0 - 3.0, 2.0 + 10.0 + 3.0, -1.0 + 2.0 + 9.0],
            3,
        );
        for (x, expected) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((x - expected).abs() < 1e-12);
        }
    }
}
