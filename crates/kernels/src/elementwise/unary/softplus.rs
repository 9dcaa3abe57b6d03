//! The smooth relu.

use super::{UnaryKernel, exp_pair};
use crate::elementwise::Accuracy;
use crate::simd::VectorF32;

/// ln(1 + e^x), as max(x, 0) + ln(1 + e^-|x|).
#[derive(Clone, Copy, Debug, Default)]
pub struct Softplus;

impl UnaryKernel for Softplus {
    const ACCURACY: Accuracy = Accuracy::ulps(2.5);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let e = exp_pair(-x.abs(), V::zero());
        // ln(1 + e) = e + e^2 p(e) with the minimax p on [0, 1]: relative error 8e-9.
        let p = e.polynomial([
            -0.5,
            0.333_322_506_546,
            -0.249_750_996_892,
            0.197_743_339_751,
            -0.155_695_711_168,
            0.110_251_924_145,
            -0.060_922_106_128_8,
            0.021_875_760_024_9,
            -0.003_677_540_912_96,
        ]);
        V::zero().max(x) + (e * e).mul_add(p, e)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        // Not f64::max, which would drop NaN; |x| keeps it.
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }
}
