//! Functions that are one or two instructions: all correctly rounded.

use super::UnaryKernel;
use crate::elementwise::Accuracy;
use crate::simd::VectorF32;

macro_rules! simple {
    ($($(#[$doc:meta])* $Name:ident |$x:ident: $V:ident| $vector:expr, $reference:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default)]
            pub struct $Name;

            impl UnaryKernel for $Name {
                const ACCURACY: Accuracy = Accuracy::EXACT;
                #[inline(always)]
                fn vector<$V: VectorF32>(self, $x: $V) -> $V {
                    $vector
                }
                #[inline]
                fn reference(self, $x: f64) -> f64 {
                    $reference
                }
            }
        )*
    };
}

simple! {
    /// -x.
    Neg |x: V| -x, -x;
    /// |x|.
    Abs |x: V| x.abs(), x.abs();
    /// x^2.
    Square |x: V| x * x, x * x;
    /// sqrt(x); NaN below zero.
    Sqrt |x: V| x.sqrt(), x.sqrt();
    /// 1 / x.
    Recip |x: V| V::one() / x, 1.0 / x;
    /// 1 above zero, -1 below, and x itself at 0 and NaN: the derivative of |x|, 0 at 0.
    Sign |x: V| x.if_gt(V::zero(), V::one(), x.if_lt(V::zero(), -V::one(), x)),
        if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x };
    /// 1 above zero, else 0: the derivative of relu, 0 at 0 and at NaN.
    Step |x: V| x.if_gt(V::zero(), V::one(), V::zero()), if x > 0.0 { 1.0 } else { 0.0 };
    /// max(x, 0); NaN stays NaN.
    Relu |x: V| V::zero().max(x), if x < 0.0 { 0.0 } else { x };
}
