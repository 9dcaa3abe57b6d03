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
    const ACCURACY: Accuracy = Accuracy::ulps(3.0);

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
    const ACCURACY: Accuracy = Accuracy::ulps(3.0);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        // Beyond -14.5 the result rounds to zero; the clamp keeps -inf * 0 away.
        let x = V::constant(-15.0).max(x);
        x * NormalCdf.vector(x)
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
        clamped.mul_add(density(clamped.abs()), NormalCdf.vector(clamped))
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
        a.neg_mul_add(a, V::constant(2.0)) * density(a)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        let x = x.clamp(-40.0, 40.0);
        (2.0 - x * x) * normal::pdf(x)
    }
}

/// e^(-a^2 / 2) for 0 <= a <= 15, the square to more bits than f32 has.
#[inline(always)]
fn bell<V: VectorF32>(a: V) -> V {
    let high = a.high_part();
    let half = V::constant(-0.5);
    exp_pair(half * high * high, half * (a - high) * (a + high))
}

/// phi(a).
#[inline(always)]
fn density<V: VectorF32>(a: V) -> V {
    bell(a) * V::constant(0.398_942_280_401_432_7)
}

/// 1 - Phi(a) for a >= 0.
#[inline(always)]
fn tail<V: VectorF32>(a: V) -> V {
    let a = V::constant(15.0).min(a);
    // erfc by a polynomial in t = 1 / (1 + x/2): Numerical Recipes, erfcc.
    let x = a * V::constant(std::f64::consts::FRAC_1_SQRT_2);
    let t = V::one() / x.mul_add(V::constant(0.5), V::one());
    let p = t.polynomial([
        -1.26551223,
        1.00002368,
        0.37409196,
        0.09678418,
        -0.18628806,
        0.27886807,
        -1.13520398,
        1.48851587,
        -0.82215223,
        0.17087277,
    ]);
    V::constant(0.5) * t * exp_pair(p, V::zero()) * bell(a)
}
