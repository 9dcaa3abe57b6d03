//! Distributions of rows: the first axis B counts independent rows, all other axes together are
//! one event.
//!
//! Every log-probability, entropy and divergence is in nats, summed over the event: `[B]`.
//! Probabilities come as logits, variances as log-variances, everywhere. Whatever is drawn for
//! row i is drawn from `stream_of(i)`, so it does not depend on the batch the row is in.

pub mod bernoulli;
pub mod categorical;
pub mod gaussian;
pub mod pixels;
#[cfg(test)]
mod tests;

use grad::{Element, Shape, Var};

/// Sums the event of each row: `[B, ..]` -> `[B]`.
///
/// # Panics
/// If there is no axis.
#[track_caller]
pub fn sum_rows<T: Element>(x: &Var<T>) -> Var<T> {
    rows(x).sum_axes(&[1])
}

/// The event of each row as one axis: `[B, ..]` -> `[B, n]`.
#[track_caller]
fn rows<T: Element>(x: &Var<T>) -> Var<T> {
    x.reshape(row_shape(x.shape()))
}

#[track_caller]
fn row_shape(shape: &Shape) -> [usize; 2] {
    let [rows, event @ ..] = &shape[..] else {
        panic!("a distribution of rows: expected shape [B, ..], found a scalar");
    };
    [*rows, event.iter().product()]
}

#[track_caller]
fn same_shape(what: &str, a: &Shape, b: &Shape) {
    assert_eq!(a, b, "{what} must have one shape");
}
