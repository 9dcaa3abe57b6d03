//! Kernel distance: the unbiased estimate of the squared maximum mean discrepancy.
//!
//! M. Bińkowski et al. 2018, arXiv:1801.01401: the cubic kernel k(x, y) = (x y / d + 1)^3 of d
//! features. Both sets are cut into blocks; the mean over the blocks is unbiased whatever their
//! size, and as the blocks are independent, their spread gives the interval.

use crate::matrix::Matrix;
use nn::random::stream;

/// Blocks of either set, where there are images for so many.
const BLOCKS: usize = 10;
/// The 97.5% points of Student's distribution for 1 to 9 degrees of freedom.
const STUDENT: [f64; 9] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26];

/// An estimate and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelDistance {
    /// The mean over the blocks. It may be below 0, as the true value may be 0.
    pub value: f64,
    /// Its standard error; NaN for less than two blocks.
    pub standard_error: f64,
    /// Half the width of the interval of 95% confidence; NaN for less than two blocks.
    pub half_width: f64,
}

/// The distance between the distributions that two sets are drawn from. `seed` says which rows
/// share a block.
///
/// # Panics
/// If a set has less than two rows, or they are not equally wide.
#[track_caller]
pub fn kernel_distance(x: &Matrix, y: &Matrix, seed: u64) -> KernelDistance {
    let least = x.rows().min(y.rows());
    assert!(
        least > 1,
        "kernel distance: expected two rows of either set, found {least}"
    );
    let blocks = BLOCKS.min(least / 2);
    let parts = |set: &Matrix, which: u64| -> Vec<Matrix> {
        let order = shuffled(set.rows(), seed ^ which);
        let size = set.rows() / blocks;
        (0..blocks)
            .map(|b| set.pick(&order[b * size..(b + 1) * size]))
            .collect()
    };
    let (x, y) = (parts(x, 0x78), parts(y, 0x79));
    let values: Vec<f64> = x.iter().zip(&y).map(|(x, y)| of_block(x, y)).collect();
    let count = values.len() as f64;
    let value = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - value).powi(2)).sum();
    let standard_error = (squares / (count - 1.0) / count).sqrt();
    let factor = STUDENT
        .get(blocks.wrapping_sub(2))
        .copied()
        .unwrap_or(f64::NAN);
    KernelDistance {
        value,
        standard_error,
        half_width: factor * standard_error,
    }
}

/// Numbers below `n` in an order that the seed names.
pub(crate) fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut stream = stream(&[seed, n as u64]);
    for i in (1..n).rev() {
        let j = (nn::random::uniform(&mut stream) * (i + 1) as f64) as usize;
        order.swap(i, j.min(i));
    }
    order
}

fn of_block(x: &Matrix, y: &Matrix) -> f64 {
    let (m, n) = (x.rows() as f64, y.rows() as f64);
    let all = |a: &Matrix, b: &Matrix| sum(a, b, |_, _| true);
    let others = |a: &Matrix| sum(a, a, |i, j| i != j);
    others(x) / (m * (m - 1.0)) + others(y) / (n * (n - 1.0)) - 2.0 * all(x, y) / (m * n)
}

/// The sum of the kernel over those pairs of rows that `counts` picks.
fn sum(a: &Matrix, b: &Matrix, counts: impl Fn(usize, usize) -> bool + Sync) -> f64 {
    let scale = 1.0 / a.columns().max(1) as f64;
    let blocks = a.products(b, |rows, products| {
        let each = rows.zip(products.chunks_exact(b.rows()));
        each.map(|(i, products)| {
            let kernel = |(j, xy): (usize, &f64)| match counts(i, j) {
                true => (xy * scale + 1.0).powi(3),
                false => 0.0,
            };
            products.iter().enumerate().map(kernel).sum::<f64>()
        })
        .sum::<f64>()
    });
    blocks.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::{normal_tensor, stream};

    fn gaussian(rows: usize, mean: f64, deviation: f64, seed: u64) -> Matrix {
        let x = normal_tensor::<f64>([rows, 1], &mut stream(&[seed]));
        let x: Vec<f64> = x.data().iter().map(|x| mean + deviation * x).collect();
        Matrix::new(rows, 1, &x)
    }

    /// E k(x, y) of independent x and y is the sum over m of binomial(3, m) E x^m E y^m, from the
    /// moments of the two Gaussians.
    fn expected(first: [f64; 2], second: [f64; 2]) -> f64 {
        let moments = |[m, s]: [f64; 2]| {
            let v = s * s;
            [1.0, m, m * m + v, m.powi(3) + 3.0 * m * v]
        };
        let kernel = |a: [f64; 2], b: [f64; 2]| {
            let pairs = moments(a)
                .into_iter()
                .zip(moments(b))
                .zip([1.0, 3.0, 3.0, 1.0]);
            pairs.map(|((a, b), factor)| factor * a * b).sum::<f64>()
        };
        kernel(first, first) + kernel(second, second) - 2.0 * kernel(first, second)
    }

    #[test]
    fn gaussians_have_the_distance_of_their_moments() {
        for (first, second) in [([0.0, 1.0], [0.5, 1.0]), ([0.2, 0.8], [-0.1, 1.3])] {
            let x = gaussian(6000, first[0], first[1], 1);
            let y = gaussian(5000, second[0], second[1], 2);
            let found = kernel_distance(&x, &y, 0);
            let expected = expected(first, second);
            assert!(found.standard_error < 0.3 * expected);
            let off = (found.value - expected).abs();
            assert!(off < 4.0 * found.standard_error, "{found:?} {expected}");
        }
    }

    /// The mean over many small samples of one distribution is 0: there is no bias.
    #[test]
    fn small_samples_have_no_bias() {
        let values: Vec<f64> = (0..400)
            .map(|i| {
                kernel_distance(
                    &gaussian(20, 0.0, 1.0, 2 * i),
                    &gaussian(20, 0.0, 1.0, 2 * i + 1),
                    0,
                )
                .value
            })
            .collect();
        let estimate = nn::stats::Estimate::of(&values);
        assert!(
            estimate.mean.abs() < 3.5 * estimate.standard_error,
            "{estimate:?}"
        );
    }

    #[test]
    fn an_order_is_a_permutation() {
        let mut order = shuffled(100, 3);
        assert_ne!(order, shuffled(100, 4));
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(i, &n)| i == n));
    }
}
