//! x Phi(x) with Phi the normal distribution function, and its derivatives.

use super::{UnaryKernel, exp_pair};
use crate::elementwise::Accuracy;
use crate::reference::normal;
use crate::simd::VectorF32;

/// Phi(x), the distribution function of the standard normal; its derivative is
/// phi(x) = e^(-x^2 / 2) / sqrt(2 pi).
#[derive(Clone, Copy, Debug, Default)]
pub struct NormalCdf;

/// x Phi(x): the exact form of Hendrycks and Gimpel 2016, arXiv:1606.08415.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gelu;

/// The derivative of [`Gelu`]: Phi(x) + x phi(x).
#[derive(Clone, Copy, Debug, Default)]
pub struct GeluDerivative;

/// The second derivative of [`Gelu`]: (2 - x^2) phi(x).
#[derive(Clone, Copy, Debug, Default)]
pub struct GeluSecondDerivative;

impl UnaryKernel for NormalCdf {
    const ACCURACY: Accuracy = Accuracy::ulps(5.5);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let upper = tail(x.abs());
        x.if_gt(V::zero(), V::one() - upper, upper)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        normal::cdf(x)
    }
}

impl UnaryKernel for Gelu {
    const ACCURACY: Accuracy = Accuracy::ulps(5.5);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        // x Phi(x) = max(x, 0) - |x| (1 - Phi(|x|)) on both sides of zero. Beyond 14.5 the second
        // term rounds to zero; the minimum keeps inf * 0 away.
        let a = x.abs();
        let near = V::constant(15.0).min(a);
        V::zero().max(x) - near * upper(near) * bell(near)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        if x == f64::NEG_INFINITY {
            -0.0
        } else {
            x * normal::cdf(x)
        }
    }
}

impl UnaryKernel for GeluDerivative {
    const ACCURACY: Accuracy = Accuracy {
        ulps: 3.0,
        scale: 1.0,
    };

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let clamped = V::constant(15.0).min(V::constant(-15.0).max(x));
        let a = clamped.abs();
        let bell = bell(a);
        let above = upper(a) * bell;
        let cdf = x.if_gt(V::zero(), V::one() - above, above);
        clamped.mul_add(bell * V::constant(DENSITY), cdf)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        let x = x.clamp(-40.0, 40.0);
        normal::cdf(x) + x * normal::pdf(x)
    }
}

impl UnaryKernel for GeluSecondDerivative {
    const ACCURACY: Accuracy = Accuracy {
        ulps: 3.0,
        scale: 1.0,
    };

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let a = V::constant(15.0).min(x.abs());
        a.neg_mul_add(a, V::constant(2.0)) * (bell(a) * V::constant(DENSITY))
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        let x = x.clamp(-40.0, 40.0);
        (2.0 - x * x) * normal::pdf(x)
    }
}

/// 1 / sqrt(2 pi).
const DENSITY: f64 = 0.398_942_280_401_432_7;

/// e^(-a^2 / 2) for 0 <= a <= 15, the square to more bits than f32 has.
#[inline(always)]
fn bell<V: VectorF32>(a: V) -> V {
    let high = a.high_part();
    let half = V::constant(-0.5);
    exp_pair(half * high * high, half * (a - high) * (a + high))
}

/// 1 - Phi(a) for a >= 0.
#[inline(always)]
fn tail<V: VectorF32>(a: V) -> V {
    let a = V::constant(15.0).min(a);
    upper(a) * bell(a)
}

/// (1 - Phi(a)) / e^(-a^2 / 2) for 0 <= a <= 15.
#[inline(always)]
fn upper<V: VectorF32>(a: V) -> V {
    // It is w p(v) with w = 1 / (a + 2.5) and v = (a - 2.5) w, with the
    // minimax p of relative error 2e-8 on [0, 15].
    let c = V::constant(2.5);
    let w = V::one() / (a + c);
    let v = (a - c) * w;
    let p = v.polynomial([
        0.706_656_659_925,
        -0.433_692_012_236,
        0.131_986_978_167,
        0.009_235_874_700_14,
        -0.016_386_180_823_4,
        -0.001_600_824_561_08,
        0.002_523_920_783_1,
        0.000_684_400_731_592,
        -0.000_311_613_042_445,
        -0.000_157_692_926_21,
    ]);
    w * p
}
