//! The logistic function.

use super::{UnaryKernel, exp_pair};
use crate::elementwise::Accuracy;
use crate::simd::VectorF32;

/// 1 / (1 + e^-x).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sigmoid;

impl UnaryKernel for Sigmoid {
    const ACCURACY: Accuracy = Accuracy::ulps(2.5);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        // With e = e^-|x| <= 1 nothing overflows, and the left tail keeps its relative precision.
        let e = exp_pair(-x.abs(), V::zero());
        x.if_lt(V::zero(), e, V::one()) / (V::one() + e)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        let e = (-x.abs()).exp();
        (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
    }
}
