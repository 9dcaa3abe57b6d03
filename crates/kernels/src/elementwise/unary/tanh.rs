//! The hyperbolic tangent.

use super::{Exp, UnaryKernel};
use crate::elementwise::Accuracy;
use crate::simd::VectorF32;

/// tanh(x).
#[derive(Clone, Copy, Debug, Default)]
pub struct Tanh;

impl UnaryKernel for Tanh {
    const ACCURACY: Accuracy = Accuracy::ulps(1.4);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        let a = x.abs();
        // Cephes tanhf: x + x^3 p(x^2) near zero, else through e^(2x).
        let square = x * x;
        let p = square.polynomial([
            -3.33332819422e-1,
            1.33314422036e-1,
            -5.37397155531e-2,
            2.06390887954e-2,
            -5.70498872745e-3,
        ]);
        let near = (square * a).mul_add(p, a);
        let e = Exp.vector(a + a);
        let far = V::one() - V::constant(2.0) / (e + V::one());
        a.if_lt(V::constant(0.625), near, far).copysign(x)
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        x.tanh()
    }
}
