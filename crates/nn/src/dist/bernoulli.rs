//! Independent Bernoulli variables: p(x = 1) = sigmoid(logit).

use super::{row_shape, rows, same_shape, sum_rows};
use crate::random::{self, Stream};
use grad::{Element, Tensor, Var};

/// -log p(x) = -sum x log s + (1 - x) log(1 - s), s = sigmoid(logits): `[B]`, in nats.
///
/// logits, x: `[B, ..]`. Of x between 0 and 1 this is the cross entropy, and no likelihood.
///
/// # Panics
/// If the two have different shapes.
#[track_caller]
pub fn nll<T: Element>(logits: &Var<T>, x: &Var<T>) -> Var<T> {
    same_shape("bernoulli::nll: logits and x", logits.shape(), x.shape());
    rows(logits).bce_with_logits_sum_rows(&rows(x))
}

/// log p(x): `[B]`, in nats; minus [`nll`].
///
/// # Panics
/// If the two have different shapes.
#[track_caller]
pub fn log_prob<T: Element>(logits: &Var<T>, x: &Var<T>) -> Var<T> {
    nll(logits, x).scale(-1.0)
}

/// The entropy, sum softplus(-a) + a sigmoid(-a) with a = |logit|: `[B]`, in nats.
///
/// logits: `[B, ..]`.
#[track_caller]
pub fn entropy<T: Element>(logits: &Var<T>) -> Var<T> {
    // The entropy is even in the logit; on this side nothing cancels.
    let a = logits.abs();
    let minus = a.scale(-1.0);
    sum_rows(&(minus.softplus() + a * minus.sigmoid()))
}

/// KL(Bernoulli(l) || Bernoulli(m)) = sum s (l - m) - softplus(l) + softplus(m), s = sigmoid(l):
/// `[B]`, in nats.
///
/// Logits l, m: `[B, ..]`.
///
/// # Panics
/// If the two have different shapes.
#[track_caller]
pub fn kl<T: Element>(l: &Var<T>, m: &Var<T>) -> Var<T> {
    same_shape("bernoulli::kl: both logits", l.shape(), m.shape());
    sum_rows(&(l.sigmoid() * (l - m) - (l.softplus() - m.softplus())))
}

/// Zeros and ones, `[B, ..]`.
///
/// # Panics
/// If the logits have no axis.
#[track_caller]
pub fn sample<T: Element>(logits: &Tensor<T>, stream_of: impl Fn(usize) -> Stream) -> Tensor<T> {
    let [_, width] = row_shape(logits.shape());
    Tensor::build(*logits.shape(), |out| {
        let width = width.max(1);
        let rows = out
            .chunks_exact_mut(width)
            .zip(logits.data().chunks_exact(width));
        for (i, (row, logits)) in rows.enumerate() {
            let mut stream = stream_of(i);
            for (x, logit) in row.iter_mut().zip(logits) {
                let p = 1.0 / (1.0 + (-logit.to_f64()).exp());
                *x = if random::uniform(&mut stream) < p {
                    T::ONE
                } else {
                    T::ZERO
                };
            }
        }
    })
}
