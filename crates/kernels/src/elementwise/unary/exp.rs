//! e^x.

use super::UnaryKernel;
use crate::elementwise::Accuracy;
use crate::simd::VectorF32;

/// e^x.
///
/// x = n ln 2 + r with integral n and |r| <= ln(2) / 2; e^r is a polynomial and 2^n goes into the
/// exponent (Cody and Waite, Software Manual for the Elementary Functions, 1980, chapter 6).
#[derive(Clone, Copy, Debug, Default)]
pub struct Exp;

impl UnaryKernel for Exp {
    const ACCURACY: Accuracy = Accuracy::ulps(0.9);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        Parts::of(x, V::zero()).value()
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        x.exp()
    }
}

/// (1 + r) 2^n = e^(x + low), n integral and |r| < 0.42.
#[derive(Clone, Copy)]
pub(crate) struct Parts<V> {
    pub(crate) r: V,
    /// What rounding took from r.
    pub(crate) r_low: V,
    pub(crate) n: V,
}

impl<V: VectorF32> Parts<V> {
    /// For a small `low` that x has no bits for.
    #[inline(always)]
    pub(crate) fn of(x: V, low: V) -> Parts<V> {
        // Beyond these e^x is infinite or rounds to zero; within them `scale` has room. The order
        // of the arguments lets NaN through.
        let x = V::constant(89.0).min(V::constant(-104.5).max(x));
        let n = (x * V::constant(std::f64::consts::LOG2_E)).round();
        // ln 2 in two parts, the first so short that n times it, and with it `high`, is exact.
        let high = n.neg_mul_add(V::constant(0.693_359_375), x);
        let low = n.neg_mul_add(V::constant(-2.121_944_400_546_905_8e-4), low);
        let r = high + low;
        // e^r = 1 + r + r^2 p(r) with the minimax p for |r| <= 0.35: relative error 3e-9.
        let p = r.polynomial([
            0.499_999_933_729,
            0.166_665_195_236,
            0.041_668_401_112_2,
            0.008_368_851_110_95,
            0.001_381_431_944_5,
        ]);
        // Small terms first: r itself is rounded, its parts are not.
        let rest = (r * r).mul_add(p, low);
        let r = high + rest;
        let r_low = rest - (r - high);
        Parts { r, r_low, n }
    }

    /// e^x.
    #[inline(always)]
    pub(crate) fn value(self) -> V {
        (V::one() + self.r).scale(self.n)
    }

    /// 1 + r as the sum of a number and what rounding took from it.
    #[inline(always)]
    pub(crate) fn significand(self) -> (V, V) {
        let high = V::one() + self.r;
        (high, (self.r - (high - V::one())) + self.r_low)
    }
}
