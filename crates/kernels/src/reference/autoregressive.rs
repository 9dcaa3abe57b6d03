//! Autoregressive networks as they are defined.

use crate::autoregressive::{Nade, Staircase, nade::Activation};
use crate::element::Element;

/// The logits of NADE, `[B, D]`, in f64, each hidden layer computed from the start: O(B D^2 H).
pub fn nade_logits<T: Element>(net: &Nade<T>, x: &[T]) -> Vec<f64> {
    let (dims, hidden) = (net.c.len(), net.b.len());
    let mut logits = Vec::with_capacity(x.len());
    for x in x.chunks(dims) {
        for d in 0..dims {
            let mut logit = net.c[d].to_f64();
            for h in 0..hidden {
                let a: f64 = (0..d)
                    .map(|j| x[j].to_f64() * net.w[j * hidden + h].to_f64())
                    .sum();
                let a = a + net.b[h].to_f64();
                let value = match net.activation {
                    Activation::Sigmoid => 1.0 / (1.0 + (-a).exp()),
                    Activation::Relu => a.max(0.0),
                };
                logit += value * net.v[d * hidden + h].to_f64();
            }
            logits.push(logit);
        }
    }
    logits
}

/// The entries of w within the staircase, 0 below it, in f64.
pub fn stairs<T: Element>(staircase: &Staircase, w: &[T]) -> Vec<f64> {
    let n = staircase.columns();
    (w.iter().enumerate())
        .map(|(i, w)| {
            if i / n < staircase.limit(i % n) {
                w.to_f64()
            } else {
                0.0
            }
        })
        .collect()
}
