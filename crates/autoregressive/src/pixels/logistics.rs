//! Mixtures of discretised logistic distributions.
//!
//! With the level at c in [-1, 1], half a level h, and a = (c + h - mu) / s, b = (c - h - mu) / s:
//!
//! ```text
//! p = sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)),   a - b = 2 h / s
//! ```
//!
//! so log p is a sum of three terms none of which cancels, however far the level lies in a tail.
//! The first level has b = -inf, the last a = inf: there just one of the three remains.

use super::choose;
use super::portable::{exp, one_minus_exp, sigmoid};
use grad::{Element, Tensor, Var};
use nn::random::{Stream, uniform};

/// Scales are not smaller than e^-7, an eighth of a level of 256, as in the paper's code; and not
/// so large that f32 cannot tell the chance of a single level from 0.
const LOG_SCALES: [f64; 2] = [-7.0, 20.0];

/// -log p(x) of each row, `[B]`: parameters `[B, D, 3, M]`, x `[B, D]`.
pub(super) fn nll<T: Element>(parameters: &Var<T>, x: &Tensor<T>, levels: usize) -> Var<T> {
    let [rows, dims, _, components] = parameters.shape()[..] else {
        unreachable!("the caller has reshaped the parameters");
    };
    let part = |i| {
        parameters
            .slice(2, i..i + 1)
            .reshape([rows, dims, components])
    };
    let log_weight = part(0).log_softmax();
    let mu = part(1);
    let [least, largest] = LOG_SCALES.map(|s| Var::constant(Tensor::scalar(T::from_f64(s))));
    let log_scale = part(2).max(&least).min(&largest);

    let half = 1.0 / (levels - 1) as f64;
    let column = |f: &dyn Fn(f64) -> f64| {
        Var::constant(
            x.map(|x| T::from_f64(f(x.to_f64())))
                .reshape([rows, dims, 1]),
        )
    };
    let has = |condition: bool| if condition { 1.0 } else { 0.0 };
    // Within half a level of the ends, whatever rounding x went through.
    let first = |x: f64| x < 0.5 * half;
    let last = |x: f64| x > 1.0 - 0.5 * half;

    let inverse_scale = log_scale.scale(-1.0).exp();
    let a = (column(&|x| 2.0 * x - 1.0 + half) - &mu) * &inverse_scale;
    let b = (column(&|x| 2.0 * x - 1.0 - half) - &mu) * &inverse_scale;
    // 1 - e^-d = 2 t / (1 + t) with t = tanh(d / 2): exact also for small d.
    let t = inverse_scale.scale(half).tanh();
    let width = (t.scale(2.0) / t.shift(1.0)).log();
    let log_p = width * column(&|x| has(!first(x) && !last(x)))
        - a.scale(-1.0).softplus() * column(&|x| has(!last(x)))
        - b.softplus() * column(&|x| has(!first(x)));
    (log_weight + log_p).logsumexp(2).sum_axes(&[1]).scale(-1.0)
}

/// (logit of the weight, mu, scale) of each component.
fn components(parameters: &[f32]) -> impl Iterator<Item = (f32, f64, f64)> {
    let m = parameters.len() / 3;
    (0..m).map(move |i| {
        let log_scale = f64::from(parameters[2 * m + i]).clamp(LOG_SCALES[0], LOG_SCALES[1]);
        (parameters[i], f64::from(parameters[m + i]), exp(log_scale))
    })
}

/// p of every level.
pub(super) fn probabilities(parameters: &[f32], p: &mut [f64]) {
    let max = (components(parameters).map(|c| c.0)).fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = components(parameters)
        .map(|c| exp(f64::from(c.0 - max)))
        .sum();
    let half = 1.0 / (p.len() - 1) as f64;
    let last = p.len() - 1;
    p.fill(0.0);
    for (logit, mu, scale) in components(parameters) {
        let weight = exp(f64::from(logit - max)) / total;
        for (level, p) in p.iter_mut().enumerate() {
            let centre = 2.0 * level as f64 * half - 1.0;
            let (a, b) = ((centre + half - mu) / scale, (centre - half - mu) / scale);
            *p += weight
                * match level {
                    0 => sigmoid(a),
                    _ if level == last => sigmoid(-b),
                    _ => sigmoid(a) * sigmoid(-b) * one_minus_exp(2.0 * half / scale),
                };
        }
    }
}

/// A value in `[0, 1]`: a component, a logistic number, the nearest level. Two random numbers.
pub(super) fn draw(
    parameters: &[f32],
    levels: usize,
    temperature: f32,
    stream: &mut Stream,
) -> f32 {
    let m = parameters.len() / 3;
    let chosen = choose(&parameters[..m], temperature, stream);
    let (_, mu, scale) = components(parameters)
        .nth(chosen)
        .expect("chosen among them");
    // Never 0, where the logarithm would be infinite.
    let u = uniform(stream).max(f64::MIN_POSITIVE);
    let value = mu + scale * f64::from(temperature) * (u.ln() - (-u).ln_1p());
    assert!(!value.is_nan(), "pixels: a NaN for a mean or scale");
    let top = (levels - 1) as f64;
    let level = ((value + 1.0) / 2.0 * top).round().clamp(0.0, top);
    (level / top) as f32
}
