//! The normal distribution function in f64, to a few units in the last place.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// phi(x) = e^(-x^2 / 2) / sqrt(2 pi).
pub fn pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// Phi(x) = erfc(-x / sqrt 2) / 2.
pub fn cdf(x: f64) -> f64 {
    0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// The error function, 2 / sqrt(pi) * the integral of e^(-t^2) from 0 to x.
pub fn erf(x: f64) -> f64 {
    if x.abs() < 2.0 {
        series(x)
    } else {
        x.signum() * (1.0 - fraction(x.abs()))
    }
}

/// 1 - erf(x), without cancellation for large x.
pub fn erfc(x: f64) -> f64 {
    if x.abs() < 1.0 {
        1.0 - series(x)
    } else if x < 0.0 {
        2.0 - fraction(-x)
    } else {
        fraction(x)
    }
}

/// erf(x) = 2 / sqrt(pi) e^(-x^2) sum over n of 2^n x^(2n + 1) / (1 3 5 .. (2n + 1)): all terms
/// have one sign. (Abramowitz and Stegun 7.1.6.)
fn series(x: f64) -> f64 {
    let square = x * x;
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * square / odd;
        sum += term;
    }
    2.0 / PI.sqrt() * (-square).exp() * sum
}

/// erfc(x) for x >= 1 by the continued fraction e^(-x^2) / sqrt(pi) / (x + 1/2 / (x + 1 / (x +
/// 3/2 / (x + ..)))), from its tail. (Abramowitz and Stegun 7.1.14.)
fn fraction(x: f64) -> f64 {
    if x > 28.0 || x.is_nan() {
        return if x.is_nan() { x } else { 0.0 }; // below the smallest f64
    }
    // Terms needed for 1e-16, found by trial; fewer the larger x is.
    let terms = 10 + (250.0 / (x * x)) as usize;
    let mut tail = x;
    for n in (1..=terms).rev() {
        tail = x + 0.5 * n as f64 / tail;
    }
    (-x * x).exp() / PI.sqrt() / tail
}
