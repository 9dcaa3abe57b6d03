//! Mixtures of discretised logistic distributions: [`logistic_mixture`] with its gradient, and what
//! sampling and coding need of the same distribution.

use super::choose;
use super::portable::{exp, one_minus_exp, sigmoid};
use crate::random::{Stream, uniform};
use grad::kernels::Binary;
use grad::kernels::buffer::Buffer;
use grad::kernels::elementwise::{self, Operand};
use grad::kernels::reduce::{self, LOG_SCALES, logistic_mixture};
use grad::{Element, Op, Saves, Tensor, Var, Vjp};
use std::cell::OnceCell;

/// -log p(x) of each row, `[B]`: parameters `[B, D, 3, M]`, x `[B, D]`.
pub(super) fn nll<T: Element>(parameters: &Var<T>, x: &Tensor<T>, levels: usize) -> Var<T> {
    let op = Nll {
        x: x.clone(),
        levels,
        gradient: OnceCell::new(),
    };
    Var::apply(op, &[parameters])
}

struct Nll<T: Element> {
    x: Tensor<T>,
    levels: usize,
    /// By the parameters, from the forward pass: kept instead of those.
    gradient: OnceCell<Buffer<T>>,
}

impl<T: Element> Op<T> for Nll<T> {
    fn name(&self) -> &'static str {
        "logistic_mixture"
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    fn forward(&self, parameters: &[&Tensor<T>]) -> Tensor<T> {
        let [rows, dims] = [self.x.shape()[0], self.x.shape()[1]];
        let mut nll = Buffer::recycled(self.x.len());
        let mut gradient = Buffer::recycled(parameters[0].len());
        logistic_mixture(
            parameters[0].data(),
            self.x.data(),
            self.levels,
            &mut nll,
            &mut gradient,
        );
        let _ = self.gradient.set(gradient);
        Tensor::build([rows], |sums| reduce::sum_rows(&nll, dims, sums))
    }

    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let gradient = self.gradient.get().expect("set by the forward pass");
            let (shape, g) = (at.input_shape(0), g.value().data());
            let columns = shape[1..].iter().product();
            Var::constant(Tensor::build(shape, |out| {
                let (gradient, g) = (Operand::Full(gradient), Operand::Column(g));
                elementwise::binary_broadcast(Binary::Mul, gradient, g, columns, out)
            }))
        });
    }

    fn first_order_only(&self) -> bool {
        true
    }
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
