//! 2^x, for probabilities.

use crate::elementwise::{Accuracy, unary::UnaryKernel};
use crate::simd::VectorF32;

/// 2^x; the softmax is taken to base 2, and its scale holds the log2(e).
///
/// 2^x = 2^floor(x) p(x - floor(x)): fewer steps than e^x, which has to take ln 2 apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exp2;

/// The minimax p with p(0) = 1 for 0 <= r <= 1: relative error 8.3e-8.
const POLYNOMIAL: [f64; 6] = [
    1.0,
    0.693_151_311_804_603_7,
    0.240_164_450_155_080_6,
    0.055_799_913_103_749_11,
    0.009_017_030_322_438_434,
    0.001_867_130_069_876_745,
];

impl UnaryKernel for Exp2 {
    const ACCURACY: Accuracy = Accuracy::ulps(2.5);

    #[inline(always)]
    fn vector<V: VectorF32>(self, x: V) -> V {
        self.vectors([x])[0]
    }

    /// Step by step for all of them: what waits to be computed has little room in a core, and of a
    /// vector's own steps each waits for the one before.
    #[inline(always)]
    fn vectors<V: VectorF32, const N: usize>(self, mut x: [V; N]) -> [V; N] {
        let mut r = x;
        for i in 0..N {
            (r[i], x[i]) = x[i].split_floor();
        }
        let mut p = [V::constant(POLYNOMIAL[5]); N];
        for c in POLYNOMIAL[..5].iter().rev() {
            for i in 0..N {
                p[i] = p[i].mul_add(r[i], V::constant(*c));
            }
        }
        for i in 0..N {
            p[i] = p[i].scale(x[i]);
        }
        p
    }

    #[inline]
    fn reference(self, x: f64) -> f64 {
        x.exp2()
    }
}
