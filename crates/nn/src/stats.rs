//! What is reported about a model: bits per dimension, accuracy, means and their errors, all in f64.

use grad::{Element, Tensor};
use std::f64::consts::LN_2;

/// -log p of an image in bits per dimension: nats / (dims ln 2).
pub fn bits_per_dim(nats: f64, dims: usize) -> f64 {
    nats / (dims as f64 * LN_2)
}

/// A mean over examples, with its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean. NaN of no examples.
    pub mean: f64,
    /// The standard error of the mean, s / sqrt(n) with s^2 = sum (x - mean)^2 / (n - 1). NaN of
    /// fewer than two examples.
    pub standard_error: f64,
}

impl Estimate {
    /// The estimate from these values. One that is NaN makes the whole NaN: nothing is skipped.
    pub fn of(values: &[f64]) -> Estimate {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
        let standard_error = if values.len() > 1 {
            (squares / (n - 1.0) / n).sqrt()
        } else {
            f64::NAN
        };
        Estimate {
            mean,
            standard_error,
        }
    }

    /// The same in other units.
    pub fn scaled(self, factor: f64) -> Estimate {
        Estimate {
            mean: self.mean * factor,
            standard_error: self.standard_error * factor.abs(),
        }
    }
}

/// For each row of logits `[B, C]` 1 if the largest is that of its target, else 0: the mean is the
/// accuracy, [`Estimate::of`] gives it with its error. Of equal logits the first counts; a row
/// with NaN is wrong.
///
/// # Panics
/// If the logits are not `[B, C]` with C > 0 and one target for each row.
#[track_caller]
pub fn hits<T: Element>(logits: &Tensor<T>, targets: &[u32]) -> Vec<f64> {
    let shape = logits.shape();
    assert!(
        shape.rank() == 2 && shape[0] == targets.len() && shape[1] > 0,
        "hits: expected logits [{}, C], found shape {shape}",
        targets.len()
    );
    let rows = logits.data().chunks_exact(shape[1]);
    let right = (logits.argmax(1).into_iter().zip(targets).zip(rows))
        .map(|((found, &target), row)| found == target && !row[found as usize].is_nan());
    right.map(|right| f64::from(u8::from(right))).collect()
}

/// The share of rows of logits `[B, C]` whose largest is that of their target; NaN of no rows.
///
/// # Panics
/// As [`hits`].
#[track_caller]
pub fn accuracy<T: Element>(logits: &Tensor<T>, targets: &[u32]) -> f64 {
    Estimate::of(&hits(logits, targets)).mean
}

/// log sum_i e^(x_i), safe from overflow; -inf of nothing.
pub fn logsumexp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !max.is_finite() && !values.iter().any(|x| x.is_nan()) {
        return max;
    }
    max + values.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// log (1/n sum_i e^(x_i)): a mean of likelihoods from their logarithms, as in an importance
/// estimate or an ensemble over orderings; -inf of nothing.
pub fn log_mean_exp(values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NEG_INFINITY;
    }
    logsumexp(values) - (values.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} {b}");
    }

    #[test]
    fn a_coin_a_pixel_is_one_bit() {
        near(bits_per_dim(784.0 * LN_2, 784), 1.0);
    }

    #[test]
    fn the_error_is_that_of_the_mean() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0]);
        near(estimate.mean, 2.5);
        near(estimate.standard_error, (5.0f64 / 3.0 / 4.0).sqrt());
        near(estimate.scaled(-2.0).mean, -5.0);
        near(
            estimate.scaled(-2.0).standard_error,
            2.0 * estimate.standard_error,
        );
        assert!(Estimate::of(&[1.0]).standard_error.is_nan());
        assert!(Estimate::of(&[1.0, f64::NAN]).mean.is_nan());
    }

    #[test]
    fn accuracy_counts_the_most_likely_class() {
        let nan = f32::NAN;
        let logits = Tensor::new(
            [4, 3],
            &[
                1.0, 3.0, 2.0, 0.0, 0.0, -1.0, -2.0, -1.0, -3.0, nan, 0.0, 0.0,
            ],
        );
        assert_eq!(hits(&logits, &[1, 0, 2, 0]), [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(accuracy(&logits, &[1, 0, 2, 0]), 0.5);
        assert_eq!(accuracy(&logits.cast::<f64>(), &[1, 1, 1, 1]), 0.5);
        assert!(accuracy(&Tensor::<f32>::zeros([0, 3]), &[]).is_nan());
    }

    #[test]
    #[should_panic(expected = "hits: expected logits [3, C], found shape [2, 5]")]
    fn targets_go_with_rows() {
        accuracy(&Tensor::<f32>::zeros([2, 5]), &[0; 3]);
    }

    #[test]
    fn sums_of_exponentials_do_not_overflow() {
        near(logsumexp(&[1000.0, 1000.0]), 1000.0 + LN_2);
        near(
            logsumexp(&[-1000.0, -1001.0]),
            -1000.0 + (1.0 + (-1f64).exp()).ln(),
        );
        near(log_mean_exp(&[-5.0; 7]), -5.0);
        assert_eq!(logsumexp(&[]), f64::NEG_INFINITY);
        assert_eq!(logsumexp(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
        assert_eq!(logsumexp(&[f64::INFINITY, 0.0]), f64::INFINITY);
        assert!(logsumexp(&[f64::NAN, 0.0]).is_nan());
        assert!(logsumexp(&[f64::NAN, f64::INFINITY]).is_nan());
    }
}
