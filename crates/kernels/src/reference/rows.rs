//! Reductions and row functions as they are defined, in f64.

/// ln sum e^x, shifted by the maximum; -inf of none.
pub fn logsumexp(x: &[f64]) -> f64 {
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most.is_infinite() {
        return most;
    }
    most + x.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// e^x / sum e^x.
pub fn softmax(x: &[f64]) -> Vec<f64> {
    let all = logsumexp(x);
    x.iter().map(|x| (x - all).exp()).collect()
}

/// The sum of softplus(l) - x l: -ln p of x under Bernoulli variables with logits l.
pub fn bce_with_logits(logits: &[f64], targets: &[f64]) -> f64 {
    let one = |(l, x): (&f64, &f64)| l.max(0.0) + (-l.abs()).exp().ln_1p() - x * l;
    logits.iter().zip(targets).map(one).sum()
}

/// The mean of x and 1 / sqrt(variance + epsilon).
pub fn moments(x: &[f64], epsilon: f64) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// -ln p of level x (levels - 1) under a mixture of discretised logistic distributions, as
/// [`logistic_mixture`](crate::reduce::logistic_mixture) says, by the plain difference of two
/// logistic functions: for scales and levels where that does not cancel.
pub fn logistic_mixture(parameters: &[f64], x: f64, levels: usize) -> f64 {
    let m = parameters.len() / 3;
    let (weights, half) = (softmax(&parameters[..m]), 1.0 / (levels - 1) as f64);
    let [least, largest] = crate::reduce::LOG_SCALES;
    let below = |i: usize, x: f64| {
        let scale = parameters[2 * m + i].clamp(least, largest).exp();
        1.0 / (1.0 + (-(x - parameters[m + i]) / scale).exp())
    };
    let level = (x / half).round() as usize;
    let component = |i: usize| {
        let upper = if level == levels - 1 {
            1.0
        } else {
            below(i, 2.0 * x - 1.0 + half)
        };
        let lower = if level == 0 {
            0.0
        } else {
            below(i, 2.0 * x - 1.0 - half)
        };
        weights[i] * (upper - lower)
    };
    -(0..m).map(component).sum::<f64>().ln()
}
