//! ln(x) and ln(1 + x).

use super::UnaryKernel;
use crate::elementwise::Accuracy;
use crate::simd::VectorF32;

/// ln(x); -inf at 0, NaN below.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl UnaryKernel for Log {
    const ACCURACY: Accuracy = Accuracy::ulps(0.9);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        // Subnormals have no exponent of their own: scale them up by 2^23.
        let tiny = x.lt(V::splat(f32::MIN_POSITIVE));
        let scaled = V::select(tiny, x * V::splat(8388608.0), x);
        let shift = V::select(tiny, V::splat(-23.0), V::zero());
        let y = log_scaled(scaled, shift, V::zero());
        let infinity = V::splat(f32::INFINITY);
        // +inf and NaN are their own logarithms.
        let y = V::select(x.lt(infinity), y, x);
        let y = V::select(x.eq(V::zero()), -infinity, y);
        V::select(x.lt(V::zero()), V::splat(f32::NAN), y)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        x.ln()
    }
}

/// ln(1 + x); -inf at -1, NaN below.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log1p;

impl UnaryKernel for Log1p {
    const ACCURACY: Accuracy = Accuracy::ulps(0.9);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let infinity = V::splat(f32::INFINITY);
        let y = log1p_above_minus_one(x);
        let y = V::select(x.lt(infinity), y, x);
        let y = V::select(x.eq(-V::one()), -infinity, y);
        V::select(x.lt(-V::one()), V::splat(f32::NAN), y)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        x.ln_1p()
    }
}

/// ln(1 + x) for finite x > -1.
#[inline(always)]
fn log1p_above_minus_one<V: VectorF32>(x: V) -> V {
    // 1 + x rounds to w; what it lost is recovered from the larger summand, exactly.
    let w = V::one() + x;
    let lost = x.if_gt(V::one(), V::one() - (w - x), x - (w - V::one()));
    let y = log_scaled(w, V::zero(), lost / w);
    // Where w == 1 the logarithm is what was lost; keeps -0 as well.
    V::select(w.eq(V::one()), x, y)
}

/// ln(x) + shift ln 2 + low, for positive finite normal x.
#[inline(always)]
fn log_scaled<V: VectorF32>(x: V, shift: V, low: V) -> V {
    let (m, e) = x.split();
    let e = e + shift;
    let r = m - V::one();
    // Cephes logf: ln(1 + r) = r - r^2 / 2 + r^3 p(r).
    let p = r.polynomial([
        3.3333331174e-1,
        -2.4999993993e-1,
        2.0000714765e-1,
        -1.6668057665e-1,
        1.4249322787e-1,
        -1.2420140846e-1,
        1.1676998740e-1,
        -1.1514610310e-1,
        7.0376836292e-2,
    ]);
    let square = r * r;
    let y = (square * r) * p;
    let y = e.mul_add(V::constant(-2.121_944_400_546_905_8e-4), y + low);
    let y = square.neg_mul_add(V::constant(0.5), y);
    e.mul_add(V::constant(0.693359375), r + y)
}
