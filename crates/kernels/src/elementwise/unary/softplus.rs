//! The smooth relu.

use super::{UnaryKernel, exp_pair, log::log1p_above_minus_one};
use crate::elementwise::Accuracy;
use crate::simd::VectorF32;

/// ln(1 + e^x), as max(x, 0) + ln(1 + e^-|x|).
#[derive(Clone, Copy, Debug, Default)]
pub struct Softplus;

impl UnaryKernel for Softplus {
    const ACCURACY: Accuracy = Accuracy::ulps(2.0);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let e = exp_pair(-x.abs(), V::zero());
        V::zero().max(x) + log1p_above_minus_one(e)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        // Not f64::max, which would drop NaN; |x| keeps it.
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }
}
