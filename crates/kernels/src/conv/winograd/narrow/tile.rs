//! The tile of few source channels: pairs of results by vectors of channels.

use super::super::lines::Pairs;
use super::super::transform;
use super::KINDS;
use crate::buffer::Plain;
use crate::conv::micro::{activation, load, store};
use crate::conv::panel::Limits;
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{Isa, Kernel, Vector, dispatch, load_row, mul_add_row, opaque, unroll};

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

/// Whether there is an instance for kernel rows of so many threes and twos, and registers for it:
/// 32.
pub(super) fn exists(parts: [usize; 2], limits: Limits) -> bool {
    PARTS.contains(&parts) && fits(limits)
}

const fn fits(limits: Limits) -> bool {
    limits.rows(2) >= 4 * PAIRS
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
        if const { !fits(Limits::in_registers(V::REGISTERS)) } {
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
            let bias = load_row(t.bias, true, 0);
            unroll!(pair i < P: { m[1][i] = bias; });
            let pitch: usize = opaque!(t.pitch * size_of::<T>());
            let pitch3: usize = opaque!(3 * t.pitch * size_of::<T>());
            let mut x = opaque!(t.x.wrapping_offset(tile.sum.x + 2 * tile.pair as isize));
            let mut w = t.w.wrapping_add(tile.sum.before * width);
            for _ in 0..tile.sum.steps {
                // Sum K gets numbers of a kind times row W of the weights.
                macro_rules! product {
                    ($K:literal, $W:expr, $kind:expr, $at:expr) => {
                        let of_channels = load_row(w.add($W * NV * V::LANES), true, 0);
                        unroll!(pair i < P: {
                            let d = V::splat(*x.byte_add($kind).wrapping_add(2 * i + $at));
                            mul_add_row(d, &of_channels, &mut m[$K][i]);
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
                ($plus:literal $activation:ident $slope:expr) => {
                    unroll!(pair i < P: {
                        let m = [m[0][i], m[1][i], m[2][i], m[3][i]];
                        let at = tile.y + i * t.pairs.step;
                        let is_whole = i + 1 < P || is_whole;
                        self.finish::<V, $plus, { activation::$activation }>(m, at, is_whole, $slope);
                    })
                };
            }
            let zero = V::zero();
            match (t.activation, t.plus.is_null()) {
                (Activation::Identity, true) => finish!(false IDENTITY zero),
                (Activation::Identity, false) => finish!(true IDENTITY zero),
                (Activation::Relu, true) => finish!(false RELU zero),
                (Activation::Relu, false) => finish!(true RELU zero),
                (Activation::LeakyRelu(slope), true) => {
                    finish!(false LEAKY_RELU V::constant(slope.into()))
                }
                (Activation::LeakyRelu(slope), false) => {
                    finish!(true LEAKY_RELU V::constant(slope.into()))
                }
            }
        }
    }

    /// Stores act(y + plus), or without `PLUS` act(y), for the results y of a pair's sums: the
    /// first, and if the pair `is_whole` the second.
    ///
    /// # Safety
    /// As [`tile`](Self::tile).
    #[inline(always)]
    unsafe fn finish<V: Vector<Element = T>, const PLUS: bool, const ACTIVATION: u8>(
        &self,
        m: [[V; NV]; 4],
        at: usize,
        is_whole: bool,
        slope: V,
    ) {
        let t = &self.0;
        unroll!(vector j < NV: {
            let whole = j + 1 < NV || t.last == V::LANES;
            let [first, second] = transform::shared([m[0][j], m[1][j], m[2][j], m[3][j]]);
            let at = at + j * V::LANES;
            macro_rules! result {
                ($y:ident, $at:expr) => {{
                    let mut y = $y;
                    // SAFETY: the caller's.
                    unsafe {
                        if PLUS {
                            y = y + load(t.plus.wrapping_add($at), whole, t.last);
                        }
                        let y = activation::of::<V, ACTIVATION>(y, slope);
                        store(y, t.y.wrapping_add($at), whole, t.last);
                    }
                }};
            }
            result!(first, at);
            if is_whole {
                result!(second, at + t.pairs.second);
            }
        });
    }
}
