//! The tile of the forward pass and of the input gradient.

use super::{Ahead, Gather, TALLEST, fits, load, round, store, whole};
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{Kernel, Vector, prefetch, unroll};

/// How many vectors' rows of weights ahead of use are brought in.
const WEIGHTS_AHEAD: usize = 16;

/// Hides from the optimiser where a value came from. Without it, loop strength reduction turns
/// a few bases and shared steps into one pointer a pixel, and those do not fit the registers.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // Nothing is read through it.
fn opaque<T>(mut x: *const T) -> *const T {
    // SAFETY: an empty statement that touches one register.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) x, options(nomem, nostack, preserves_flags));
    }
    x
}

/// Distances between the seven pixels that share a base, in bytes: with 1, 3 and 5 steps in
/// registers, scaled addressing reaches 0 to 6.
#[derive(Clone, Copy)]
struct Step {
    one: usize,
    three: usize,
    five: usize,
}

impl Step {
    #[inline(always)]
    fn new(step: usize) -> Step {
        let hide = std::ptr::without_provenance::<u8>;
        Step {
            one: opaque(hide(step)).addr(),
            three: opaque(hide(3 * step)).addr(),
            five: opaque(hide(5 * step)).addr(),
        }
    }

    /// Pixel I, given the base of its seven.
    #[inline(always)]
    fn of<const I: usize, T>(self, base: *const T) -> *const T {
        base.wrapping_byte_add(match I % 7 {
            0 => 0,
            1 => self.one,
            2 => 2 * self.one,
            3 => self.three,
            4 => 4 * self.one,
            5 => self.five,
            _ => 2 * self.three,
        })
    }
}

/// Stores a function of every sum, which may read what is added there.
macro_rules! finish {
    ($t:ident, $acc:ident, |$x:ident, $plus:ident, $whole:ident| $y:expr) => {{
        let mut y = $t.y;
        unroll!(row I < MR: {
            if I > 0 {
                y = y.wrapping_add($t.y_step);
            }
            let plus = $t.plus.wrapping_byte_add(y.addr() - $t.y.addr());
            unroll!(vector J < NV: {
                let $whole = whole::<V>(J, NV, $t.last);
                let ($x, $plus) = ($acc[I][J], plus.wrapping_add(J * V::LANES));
                store($y, y.add(J * V::LANES), $whole, $t.last);
            });
        });
    }};
}

pub(super) struct GatherTile<'a, T, const MR: usize, const NV: usize>(pub(super) &'a Gather<T>);

impl<T: Element, const MR: usize, const NV: usize> Kernel<T> for GatherTile<'_, T, MR, NV> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        if const { !fits::<V>(MR, NV) } {
            unreachable!("conv: a tile of {MR} x {NV} vectors");
        }
        let t = self.0;
        // SAFETY: the caller of `run_gather` vouches for every element.
        unsafe {
            let mut acc = [[V::zero(); NV]; MR];
            if !t.bias.is_null() {
                unroll!(vector J < NV: {
                    let bias = V::load_ptr(t.bias.add(J * V::LANES));
                    unroll!(row I < MR: { acc[I][J] = bias; });
                });
            }
            let mut w = t.w;
            // First the tile's own place, then what comes later.
            let mut ahead = Ahead::rows::<V>(t.y, t.y_step);
            let mut rows = const { MR.next_multiple_of(round(NV)) };
            let groups = const { MR.div_ceil(7) };
            let step = Step::new(t.x_step * size_of::<T>());
            for r in 0..t.run_count {
                let run = *t.runs.add(r);
                let mut x = [t.x.wrapping_offset(run.x); TALLEST / 7];
                for (g, x) in x[..groups].iter_mut().enumerate() {
                    *x = opaque(x.wrapping_add(7 * g * t.x_step));
                }
                // Step P of a round.
                macro_rules! step {
                    ($P:literal) => {{
                        unroll!(vector J < NV: { ahead.ask($P, J); });
                        let w = w.wrapping_add($P * NV * V::LANES);
                        let mut row = [V::zero(); NV];
                        unroll!(vector J < NV: {
                            row[J] = V::load_ptr(w.wrapping_add(J * V::LANES));
                            prefetch(w.wrapping_add((WEIGHTS_AHEAD * NV + J) * V::LANES));
                        });
                        unroll!(row I < MR: {
                            let x = V::splat(*step.of::<I, T>(x[I / 7]).wrapping_add($P));
                            unroll!(vector J < NV: { acc[I][J] = x.mul_add(row[J], acc[I][J]); });
                        });
                    }};
                }
                macro_rules! advance {
                    ($steps:expr) => {
                        ahead.advance($steps);
                        for x in &mut x[..groups] {
                            *x = opaque(x.wrapping_add($steps));
                        }
                        w = w.wrapping_add($steps * NV * V::LANES);
                    };
                }
                let round = const { round(NV) };
                let mut left = run.len;
                while left > 0 {
                    let steps = if rows > 0 { left.min(rows) } else { left };
                    for _ in 0..steps % round {
                        step!(0);
                        advance!(1);
                    }
                    for _ in 0..steps / round {
                        step!(0);
                        if round > 1 {
                            step!(1);
                        }
                        advance!(round);
                    }
                    left -= steps;
                    if rows > 0 {
                        rows -= steps;
                        if rows == 0 {
                            ahead = t.ahead;
                        }
                    }
                }
            }
            let adds = !t.plus.is_null();
            if adds && t.activation != Activation::Identity {
                let mut plus = t.plus;
                unroll!(row I < MR: {
                    unroll!(vector J < NV: {
                        let whole = whole::<V>(J, NV, t.last);
                        let plus = load::<V>(plus.add(J * V::LANES), whole, t.last);
                        acc[I][J] = acc[I][J] + plus;
                    });
                    plus = plus.wrapping_add(t.y_step);
                });
            }
            // An arm each, so that every sum goes from its register to memory: merging the arms
            // before storing would spill them all.
            let zero = V::zero();
            match t.activation {
                Activation::Identity if adds => {
                    finish!(t, acc, |x, plus, whole| x + load(plus, whole, t.last));
                }
                Activation::Identity => finish!(t, acc, |x, _plus, _whole| x),
                Activation::Relu => finish!(t, acc, |x, _plus, _whole| zero.max(x)),
                Activation::LeakyRelu(slope) => {
                    let slope = V::constant(slope.into());
                    finish!(t, acc, |x, _plus, _whole| slope
                        .mul_add(zero.min(x), zero.max(x)));
                }
            }
        }
    }
}
