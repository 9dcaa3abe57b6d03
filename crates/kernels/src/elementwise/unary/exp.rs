//! e^x.

use super::UnaryKernel;
use crate::elementwise::Accuracy;
use crate::simd::{Vector, VectorF32};

/// e^x.
///
/// x = n ln 2 + r with integral n and |r| <= ln(2) / 2; e^r is a polynomial and 2^n goes into the
/// exponent (Cody and Waite, Software Manual for the Elementary Functions, 1980, chapter 6).
#[derive(Clone, Copy, Debug, Default)]
pub struct Exp;

impl UnaryKernel for Exp {
    const ACCURACY: Accuracy = Accuracy::ulps(1.0);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        exp_pair(x, V::zero())
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        x.exp()
    }
}

/// e^(x + low) for a small `low` that x has no bits for.
#[inline(always)]
pub(crate) fn exp_pair<V: VectorF32>(x: V, low: V) -> V {
    // Beyond these e^x is infinite or rounds to zero; within them `scale` has room. The order of
    // the arguments lets NaN through.
    let x = V::constant(89.0).min(V::constant(-104.5).max(x));
    let (n, r) = reduce(x, low);
    exp_reduced(r).scale(n)
}

/// n and r with x + low = n ln 2 + r.
#[inline(always)]
pub(crate) fn reduce<V: Vector>(x: V, low: V) -> (V, V) {
    let n = (x * V::constant(std::f64::consts::LOG2_E)).round();
    // ln 2 in two parts, the first short enough that n times it is exact.
    let r = n.neg_mul_add(V::constant(0.693359375), x);
    let r = n.neg_mul_add(V::constant(-2.121_944_400_546_905_8e-4), r);
    (n, r + low)
}

/// e^r for |r| <= 0.36.
#[inline(always)]
pub(crate) fn exp_reduced<V: Vector>(r: V) -> V {
    let p = r.polynomial([
        0.5,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5040.0,
    ]);
    V::one() + (r * r).mul_add(p, r)
}
