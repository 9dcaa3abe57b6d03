//! Sample inputs: what every operation of the table is checked on.

use crate::{Shape, Tensor, Var};

/// An operation applied to some inputs, in both precisions.
pub struct Sample {
    /// What is special about these inputs.
    pub what: &'static str,
    /// The inputs.
    pub inputs: Vec<Tensor<f64>>,
    /// The operation in f64.
    pub double: Run<f64>,
    /// The same in f32.
    pub single: Run<f32>,
}

/// What a sample computes from its inputs.
pub type Run<T> = fn(&[Var<T>]) -> Var<T>;

/// `sample!("what", [inputs], |x| expression)`: the expression is compiled for f32 and f64.
macro_rules! sample {
    ($what:expr, [$($input:expr),* $(,)?], |$x:ident| $body:expr) => {
        $crate::ops::Sample {
            what: $what,
            inputs: vec![$($input),*],
            double: |$x| $body,
            single: |$x| $body,
        }
    };
}
pub(super) use sample;

/// Numbers spread evenly over [low, high), the same at every call.
pub(super) fn uniform(shape: impl Into<Shape>, low: f64, high: f64) -> Tensor<f64> {
    let shape = shape.into();
    // Inputs of different shape and range get different numbers.
    let mut state = (shape.iter()).fold(low.to_bits() ^ high.to_bits().rotate_left(17), |s, &n| {
        splitmix(s ^ n as u64)
    });
    Tensor::from_fn(shape, |_| {
        state = state.wrapping_add(1);
        low + (high - low) * (splitmix(state) >> 11) as f64 / (1u64 << 53) as f64
    })
}

/// Numbers of both signs that stay `gap` away from 0, where some operations have a kink.
pub(super) fn around_zero(shape: impl Into<Shape>, gap: f64, far: f64) -> Tensor<f64> {
    uniform(shape, -1.0, 1.0).map(|x| x.signum() * (gap + x.abs() * (far - gap)))
}

/// Distinct numbers in a scrambled order, at least `gap` apart.
pub(super) fn distinct(shape: impl Into<Shape>, gap: f64) -> Tensor<f64> {
    let keys = uniform(shape, 0.0, 1.0);
    let rank = |x: f64| keys.data().iter().filter(|&&y| y < x).count() as f64;
    keys.map(|x| (rank(x) - keys.len() as f64 / 2.0) * gap)
}

/// Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
pub(crate) fn splitmix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
