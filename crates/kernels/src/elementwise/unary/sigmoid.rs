//! The logistic function.

use super::{Exp, UnaryKernel};
use crate::elementwise::Accuracy;
use crate::simd::VectorF32;

/// 1 / (1 + e^-x).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sigmoid;

impl UnaryKernel for Sigmoid {
    const ACCURACY: Accuracy = Accuracy::ulps(2.0);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        // With e = e^-|x| <= 1 nothing overflows, and the left tail keeps its relative precision.
        let e = Exp.vector(-x.abs());
        let top = x.if_lt(V::zero(), e, V::one());
        let bottom = V::one() + e;
        let y = top / bottom;
        // The divisor lost at most 2^-24 when it was rounded: to make up for that, its inverse
        // need not be more than a line through [1, 2], 4% off.
        let lost = e - (bottom - V::one());
        let minus_inverse = bottom.mul_add(V::constant(0.485), V::constant(-1.457));
        (y * lost).mul_add(minus_inverse, y)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        let e = (-x.abs()).exp();
        (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
    }
}
