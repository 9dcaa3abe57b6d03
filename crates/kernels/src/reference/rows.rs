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
