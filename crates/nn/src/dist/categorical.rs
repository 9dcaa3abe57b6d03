//! Independent choices among K classes: p(x = k) = softmax(logits)_k, the classes on the last axis.

use super::{same_shape, sum_rows};
use crate::random::{self, Stream};
use grad::{Element, Shape, Tensor, Var};
use std::sync::Arc;

/// -log p(x) = sum logsumexp(logits) - logit_x: `[B]`, in nats.
///
/// logits: `[B, .., K]`; x: a class for each choice, in row-major order of `[B, ..]`.
///
/// # Panics
/// If there are fewer than two axes, not as many classes as choices, or one is not less than K.
#[track_caller]
pub fn nll<T: Element>(logits: &Var<T>, x: Arc<[u32]>) -> Var<T> {
    let shape = *logits.shape();
    let (choices, classes) = split(&shape);
    assert_eq!(
        x.len(),
        choices,
        "categorical::nll: expected a class for each choice of logits {shape}"
    );
    let nats = logits.reshape([choices, classes]).softmax_cross_entropy(x);
    sum_rows(&nats.reshape(shape.without(shape.rank() - 1)))
}

/// log p(x): `[B]`, in nats; minus [`nll`].
///
/// # Panics
/// As [`nll`].
#[track_caller]
pub fn log_prob<T: Element>(logits: &Var<T>, x: Arc<[u32]>) -> Var<T> {
    nll(logits, x).scale(-1.0)
}

/// The entropy, -sum p log p: `[B]`, in nats.
///
/// Finite logits: `[B, .., K]`.
///
/// # Panics
/// If there are fewer than two axes.
#[track_caller]
pub fn entropy<T: Element>(logits: &Var<T>) -> Var<T> {
    split(logits.shape());
    let log_p = logits.log_softmax();
    sum_rows(&(log_p.exp() * &log_p)).scale(-1.0)
}

/// KL(p || q) = sum p (log p - log q): `[B]`, in nats.
///
/// Finite logits p, q: `[B, .., K]`.
///
/// # Panics
/// If the two have different shapes, or fewer than two axes.
#[track_caller]
pub fn kl<T: Element>(p: &Var<T>, q: &Var<T>) -> Var<T> {
    same_shape("categorical::kl: both logits", p.shape(), q.shape());
    split(p.shape());
    let (log_p, log_q) = (p.log_softmax(), q.log_softmax());
    sum_rows(&(log_p.exp() * (&log_p - &log_q)))
}

/// A class for each choice, in row-major order of `[B, ..]`; one random number a choice.
///
/// logits: `[B, .., K]`.
///
/// # Panics
/// If there are fewer than two axes, or the logits of a choice are not such that one class can
/// be drawn: a NaN, an infinity, or all of them -inf.
#[track_caller]
pub fn sample<T: Element>(logits: &Tensor<T>, stream_of: impl Fn(usize) -> Stream) -> Vec<u32> {
    let shape = logits.shape();
    let (choices, classes) = split(shape);
    let mut drawn = Vec::with_capacity(choices);
    let width = shape[1..].iter().product::<usize>().max(1);
    for (i, row) in logits.data().chunks_exact(width).enumerate() {
        let mut stream = stream_of(i);
        for logits in row.chunks_exact(classes) {
            drawn.push(draw(logits, &mut stream));
        }
    }
    drawn
}

/// One class, by the inverse of the distribution function.
#[track_caller]
fn draw<T: Element>(logits: &[T], stream: &mut Stream) -> u32 {
    let max = logits
        .iter()
        .map(|l| l.to_f64())
        .fold(f64::NEG_INFINITY, f64::max);
    let weight = |logit: &T| (logit.to_f64() - max).exp();
    let total: f64 = logits.iter().map(weight).sum();
    // Also false for NaN. The largest weight is 1.
    assert!(
        total >= 1.0,
        "categorical::sample: no class can be drawn from these logits"
    );
    let target = random::uniform(stream) * total;
    let mut sum = 0.0;
    let reached = logits.iter().position(|logit| {
        sum += weight(logit);
        target < sum
    });
    // The same sum in the same order ends at `total`, which the target stays below.
    reached.expect("the target is less than the sum of all weights") as u32
}

/// (choices, classes) of logits `[B, .., K]`.
#[track_caller]
fn split(shape: &Shape) -> (usize, usize) {
    let classes = shape.last_extent();
    assert!(
        shape.rank() >= 2 && classes > 0,
        "categorical: expected logits of shape [B, .., K], found {shape}"
    );
    (shape.elements() / classes, classes)
}
