//! Functions of f64 made of additions, multiplications and divisions alone.
//!
//! A decoder must compute the very probabilities that the encoder did. Those basic operations are
//! rounded alike on every machine; the exponential of a system's library is not.

const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// ln 2 in two parts: the first has zeros at its end, so that k times it is exact.
const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];

/// e^x, to about 1e-15 of itself.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    // Beyond, the result is infinite or 0.
    let x = x.clamp(-746.0, 710.0);
    let k = (x * LOG2_E).round();
    let r = (x - k * LN_2[0]) - k * LN_2[1];
    // |r| <= ln 2 / 2; the first term left out is below 5e-18.
    let series = (1..=13)
        .rev()
        .fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    // In two steps: 2^k alone may be too large or too small a number.
    let half = (k / 2.0).floor();
    series * power_of_2(half) * power_of_2(k - half)
}

/// 2^k for a whole k between -1022 and 1023.
fn power_of_2(k: f64) -> f64 {
    f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

/// 1 / (1 + e^-x).
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// 1 - e^-d for d >= 0, exact also where d is small.
pub(crate) fn one_minus_exp(d: f64) -> f64 {
    if d < 1e-3 {
        // The first term left out is d^4 / 120 of the result.
        d * (1.0 - d / 2.0 * (1.0 - d / 3.0 * (1.0 - d / 4.0)))
    } else {
        1.0 - exp(-d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_library() {
        for i in -7_400..=7_090 {
            let x = 0.1 * f64::from(i) + 0.037;
            let (found, expected) = (exp(x), x.exp());
            let tolerance = 2e-15 * expected + f64::from_bits(2);
            assert!(
                (found - expected).abs() <= tolerance,
                "{x}: {found} {expected}"
            );
            assert!((sigmoid(x) - 1.0 / (1.0 + (-x).exp())).abs() <= 1e-15);
        }
        for i in 0..200 {
            let d = 1.3f64.powi(i - 150);
            let (found, expected) = (one_minus_exp(d), -(-d).exp_m1());
            assert!(
                (found - expected).abs() <= 1e-12 * expected,
                "{d}: {found} {expected}"
            );
        }
        assert_eq!(
            [exp(0.0), exp(f64::NEG_INFINITY), exp(-800.0)],
            [1.0, 0.0, 0.0]
        );
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert!(exp(f64::NAN).is_nan());
    }
}
