//! The tile of few source channels: pairs of results by vectors of channels.

use super::super::lines::Pairs;
use super::super::transform;
use super::KINDS;
use crate::buffer::Plain;
use crate::conv::micro::{load, store};
use crate::conv::panel::Limits;
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{Isa, Kernel, Vector, dispatch, opaque, unroll};

/// Pairs of a tile at most: with two vectors of channels their products fill 24 registers.
const PAIRS: usize = 3;

/// What is summed for a line of the result.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    /// From the first number of the source lines to the first that is seen.
    pub(super) x: isize,
    /// Kernel rows that reach the source, times channels.
    pub(super) steps: usize,
    /// Rows of a panel's weights before the first of these.
    pub(super) before: usize,
}
impl Plain for Sum {}

/// A panel of some lines of the result.
pub(super) struct Lines<'a, T> {
    /// Lines of the source.
    pub(super) x: *const T,
    /// Numbers of a line of one channel and kind.
    pub(super) pitch: usize,
    /// By line.
    pub(super) sums: &'a [Sum],
    pub(super) w: *const T,
    pub(super) y: *mut T,
    /// From one line of the result to the next.
    pub(super) y_line: usize,
    pub(super) pairs: Pairs,
    /// How many channels of the last vector exist: 1..=LANES.
    pub(super) last: usize,
    /// What is added, laid out like the result, or null.
    pub(super) plus: *const T,
    /// Whole vectors.
    pub(super) bias: *const T,
    pub(super) activation: Activation,
}

/// With so many vectors, and kernel rows of so many threes and twos.
struct LinesOf<'a, T, const NV: usize, const THREES: usize, const TWOS: usize>(Lines<'a, T>);

/// Whether there is an instance for kernel rows of so many threes and twos, and registers for it: 32
/// of vectors of 16 lanes or of 4.
pub(super) fn exists(parts: [usize; 2], lanes: usize) -> bool {
    PARTS.contains(&parts) && fits(lanes)
}

const fn fits(lanes: usize) -> bool {
    Limits::by_lanes(lanes).rows(2) >= 4 * PAIRS
}

/// Kernel rows of so many threes and twos.
macro_rules! instances {
    ($([$threes:literal, $twos:literal])*) => {
        const PARTS: &[[usize; 2]] = &[$([$threes, $twos]),*];

        impl<T: Element> Lines<'_, T> {
            /// # Safety
            /// What the description reaches can be read and written, and [`exists`].
            pub(super) unsafe fn run(self, isa: Isa, parts: [usize; 2], vectors: usize) {
                match (parts, vectors) {
                    $(
                        ([$threes, $twos], 1) => dispatch(isa, LinesOf::<T, 1, $threes, $twos>(self)),
                        ([$threes, $twos], _) => dispatch(isa, LinesOf::<T, 2, $threes, $twos>(self)),
                    )*
                    _ => unreachable!("conv: rows of {parts:?} threes and twos"),
                }
            }
        }
    };
}
// 2 to 9 taps.
instances!([0, 1] [1, 0] [0, 2] [1, 1] [2, 0] [1, 2] [2, 1] [3, 0]);

/// Where a tile is.
#[derive(Clone, Copy)]
struct Tile {
    sum: Sum,
    /// The first pair.
    pair: usize,
    /// Where it is in the result.
    y: usize,
}

impl<T: Element, const NV: usize, const THREES: usize, const TWOS: usize> Kernel<T>
    for LinesOf<'_, T, NV, THREES, TWOS>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        if const { !fits(V::LANES) } {
            unreachable!("conv: products of {PAIRS} pairs in registers");
        }
        let t = &self.0;
        let mut line = 0;
        for &sum in t.sums {
            for pair in (0..t.pairs.count).step_by(PAIRS) {
                let y = line + pair * t.pairs.step;
                let tile = Tile { sum, pair, y };
                // SAFETY: whoever described the lines vouches for every element.
                unsafe {
                    match t.pairs.count - pair {
                        1 => self.tile::<V, 1>(tile),
                        2 => self.tile::<V, 2>(tile),
                        _ => self.tile::<V, 3>(tile),
                    }
                }
            }
            line += t.y_line;
        }
    }
}

impl<T: Element, const NV: usize, const THREES: usize, const TWOS: usize>
    LinesOf<'_, T, NV, THREES, TWOS>
{
    /// Some pairs of a line.
    ///
    /// # Safety
    /// What the description reaches can be read and written.
    #[inline(always)]
    #[allow(clippy::pointers_in_nomem_asm_block)] // Nothing is read through them.
    unsafe fn tile<V: Vector<Element = T>, const P: usize>(&self, tile: Tile) {
        let t = &self.0;
        let width = NV * V::LANES;
        let mut m = [[[V::zero(); NV]; P]; 4];
        // SAFETY: the caller's.
        unsafe {
            // Of the four sums the second is a term of both results.
            unroll!(vector J < NV: {
                let bias = V::load_ptr(t.bias.wrapping_add(J * V::LANES));
                unroll!(row I < P: { m[1][I][J] = bias; });
            });
            let pitch: usize = opaque!(t.pitch * size_of::<T>());
            let pitch3: usize = opaque!(3 * t.pitch * size_of::<T>());
            let mut x = opaque!(t.x.wrapping_offset(tile.sum.x + 2 * tile.pair as isize));
            let mut w = t.w.wrapping_add(tile.sum.before * width);
            for _ in 0..tile.sum.steps {
                // Sum K gets numbers of a kind times row W of the weights.
                macro_rules! product {
                    ($K:literal, $W:expr, $kind:expr, $at:expr) => {
                        let mut of_channels = [V::zero(); NV];
                        unroll!(vector J < NV: {
                            of_channels[J] = V::load_ptr(w.add(($W * NV + J) * V::LANES));
                        });
                        unroll!(row I < P: {
                            let d = V::splat(*x.byte_add($kind).wrapping_add(2 * I + $at));
                            unroll!(vector J < NV: {
                                m[$K][I][J] = d.mul_add(of_channels[J], m[$K][I][J]);
                            });
                        });
                    };
                }
                // Part S of the threes.
                macro_rules! three {
                    ($S:literal) => {
                        if THREES > $S {
                            product!(0, 4 * $S, pitch3, 3 * $S);
                            product!(1, 4 * $S + 1, 2 * pitch, 3 * $S + 1);
                            product!(2, 4 * $S + 2, pitch, 3 * $S + 1);
                            product!(3, 4 * $S + 3, pitch3, 3 * $S + 1);
                        }
                    };
                }
                // Part S of the twos.
                macro_rules! two {
                    ($S:literal) => {
                        if TWOS > $S {
                            let (w, at) = (4 * THREES + 3 * $S, 3 * THREES + 2 * $S);
                            product!(0, w, pitch, at);
                            product!(1, w + 1, 0, at + 1);
                            product!(3, w + 2, pitch, at + 1);
                        }
                    };
                }
                three!(0);
                three!(1);
                three!(2);
                two!(0);
                two!(1);
                w = w.add((4 * THREES + 3 * TWOS) * width);
                x = opaque!(x.wrapping_byte_add(KINDS * pitch));
            }
            let is_whole = tile.pair + P <= t.pairs.whole;
            // An arm each, so that every sum goes from its register to memory.
            macro_rules! finish {
                (|$y:ident, $plus:ident| $value:expr) => {
                    unroll!(row I < P: {
                        unroll!(vector J < NV: {
                            let whole = J + 1 < NV || t.last == V::LANES;
                            let m = [m[0][I][J], m[1][I][J], m[2][I][J], m[3][I][J]];
                            let [first, second] = transform::shared(m);
                            let at = tile.y + I * t.pairs.step + J * V::LANES;
                            macro_rules! result {
                                ($x:ident, $at:expr) => {
                                    let $y = $x;
                                    let $plus = || load::<V>(t.plus.wrapping_add($at), whole, t.last);
                                    store($value, t.y.wrapping_add($at), whole, t.last);
                                };
                            }
                            result!(first, at);
                            if I + 1 < P || is_whole {
                                result!(second, at + t.pairs.second);
                            }
                        });
                    })
                };
            }
            let zero = V::zero();
            match (t.activation, t.plus.is_null()) {
                (Activation::Identity, true) => finish!(|y, _plus| y),
                (Activation::Identity, false) => finish!(|y, plus| y + plus()),
                (Activation::Relu, true) => finish!(|y, _plus| zero.max(y)),
                (Activation::Relu, false) => finish!(|y, plus| zero.max(y + plus())),
                (Activation::LeakyRelu(slope), is_alone) => {
                    let slope = V::constant(slope.into());
                    finish!(|y, plus| {
                        let y = if is_alone { y } else { y + plus() };
                        slope.mul_add(zero.min(y), zero.max(y))
                    });
                }
            }
        }
    }
}
