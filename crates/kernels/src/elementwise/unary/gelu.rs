//! x Phi(x) with Phi the normal distribution function, and its derivatives.

use super::{ExpParts, UnaryKernel};
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
    const ACCURACY: Accuracy = Accuracy::ulps(2.1);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let a = V::constant(15.0).min(x.abs());
        let tail = times_bell(upper(a), bell(a));
        x.if_gt(V::zero(), V::one() - tail, tail)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        normal::cdf(x)
    }
}

impl UnaryKernel for Gelu {
    const ACCURACY: Accuracy = Accuracy::ulps(1.9);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        // x Phi(x) = max(x, 0) - |x| (1 - Phi(|x|)) on both sides of zero. Beyond 14.5 the second
        // term rounds to zero; the minimum keeps inf * 0 away.
        let a = x.abs();
        let near = V::constant(15.0).min(a);
        V::zero().max(x) - times_bell(upper_moment(near), bell(near))
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
        ulps: 2.0,
        scale: 1.0,
    };

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let clamped = V::constant(15.0).min(V::constant(-15.0).max(x));
        let a = clamped.abs();
        let bell = bell(a).value();
        let above = upper(a).0 * bell;
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
        ulps: 1.1,
        scale: 1.0,
    };

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let a = V::constant(15.0).min(x.abs());
        a.neg_mul_add(a, V::constant(2.0)) * (bell(a).value() * V::constant(DENSITY))
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        let x = x.clamp(-40.0, 40.0);
        (2.0 - x * x) * normal::pdf(x)
    }
}

/// 1 / sqrt(2 pi).
const DENSITY: f64 = 0.398_942_280_401_432_7;

/// e^(-a^2 / 2) for 0 <= a <= 15, in parts: the square to more bits than f32 has.
#[inline(always)]
fn bell<V: VectorF32>(a: V) -> ExpParts<V> {
    let half = V::constant(0.5);
    let square = a * a;
    ExpParts::of(-half * square, half * a.residual(a, square))
}

/// (1 - Phi(a)) / e^(-a^2 / 2) for 0 <= a <= 15, as a number and a small correction.
#[inline(always)]
fn upper<V: VectorF32>(a: V) -> (V, V) {
    let (w, error) = over_sum(V::one(), a);
    // w p(v) grows like w^k with k about 1 + 2.6 w.
    let power = w.mul_add(V::constant(2.6), V::one());
    times_p(
        w,
        error * power,
        w.neg_mul_add(V::constant(2.0 * SHIFT), V::one()),
    )
}

/// a (1 - Phi(a)) / e^(-a^2 / 2) for 0 <= a <= 15, likewise.
#[inline(always)]
fn upper_moment<V: VectorF32>(a: V) -> (V, V) {
    let (q, error) = over_sum(a, a);
    // q p(v) grows like q^k with k about 1 - 1.2 q.
    let power = q.neg_mul_add(V::constant(1.2), V::one());
    times_p(q, error * power, (q + q) - V::one())
}

/// c in [`times_p`].
const SHIFT: f64 = 2.5;

/// top / (a + c) for 0 <= a <= 15, as a number and a small correction.
#[inline(always)]
fn over_sum<V: VectorF32>(top: V, a: V) -> (V, V) {
    let c = V::constant(SHIFT);
    let sum = a + c;
    let lost = a - (sum - c);
    let w = V::one() / sum;
    let q = top * w;
    let remainder = q.neg_mul_add(lost, q.residual(sum, top));
    (q, remainder * w)
}

/// (q + error) p(v), likewise: with w = 1 / (a + c) and v = (a - c) w = 1 - 2 c w = 2 a w - 1,
/// w p(v) = (1 - Phi(a)) / e^(-a^2 / 2).
#[inline(always)]
fn times_p<V: VectorF32>(q: V, error: V, v: V) -> (V, V) {
    // The minimax p for 0 <= a <= 15, of relative error 2e-9, as first + v rest: the sum of the
    // two and the product with q are the places where bits would be lost.
    let first = V::constant(0.706_656_656_780_2);
    let rest = v.polynomial([
        -0.433_692_125_917_4,
        0.131_987_283_745,
        0.009_238_620_040_588,
        -0.016_390_124_216_66,
        -0.001_619_551_204_806,
        0.002_539_744_651_481,
        0.000_736_693_425_935_3,
        -0.000_334_595_019_11,
        -0.000_220_211_935_463,
        9.543_109_304_329e-6,
        2.508_658_737_965e-5,
    ]);
    let p = v.mul_add(rest, first);
    let p_minus = v.residual(rest, p - first);
    let y = q * p;
    let low = error.mul_add(p, -q.residual(p, y));
    (y, q.neg_mul_add(p_minus, low))
}

/// The product of a number, with its correction, and e^(-a^2 / 2).
#[inline(always)]
fn times_bell<V: VectorF32>((x, low): (V, V), bell: ExpParts<V>) -> V {
    let (b, b_low) = bell.significand();
    let y = x * b;
    let low = x.mul_add(b_low, low.mul_add(b, -x.residual(b, y)));
    // Rounded before it is scaled: `low` alone might become subnormal.
    (y + low).scale(bell.n)
}
