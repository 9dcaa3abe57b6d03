//! The tile of the forward pass and of the input gradient.

use super::{Ahead, Gather, TALLEST, activation, fits, load, round, store, whole};
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{Kernel, Vector, load_row, mul_add_row, prefetch, unroll};

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

    /// Pixel i, given the base of its seven.
    #[inline(always)]
    fn of<T>(self, i: usize, base: *const T) -> *const T {
        base.wrapping_byte_add(match i % 7 {
            0 => 0,
            1 => self.one,
            2 => 2 * self.one,
            3 => self.three,
            4 => 4 * self.one,
            5 => self.five,
            _ => 2 * self.three,
        })
    }

    /// What pixel i has for step `p`, given the bases of the sevens.
    ///
    /// # Safety
    /// It can be read.
    #[inline(always)]
    unsafe fn number<V: Vector>(
        self,
        i: usize,
        bases: &[*const V::Element; TALLEST / 7],
        p: usize,
    ) -> V {
        // SAFETY: the caller's.
        V::splat(unsafe { *self.of(i, bases[i / 7]).wrapping_add(p) })
    }
}

/// Asks for what comes later: a row of the tile for step `p` of a round, and weights.
#[inline(always)]
fn ask_row<V: Vector, const NV: usize>(ahead: &Ahead, p: usize, w: *const V::Element) {
    unroll!(vector j < NV: {
        ahead.ask(p, j);
        prefetch(w.wrapping_add((WEIGHTS_AHEAD * NV + j) * V::LANES));
    });
}

/// # Safety
/// A row of the tile can be read from `plus`.
#[inline(always)]
unsafe fn add_row<V: Vector, const NV: usize>(
    sums: &mut [V; NV],
    plus: *const V::Element,
    last: usize,
) {
    unroll!(vector j < NV: {
        let whole = whole::<V>(j, NV, last);
        // SAFETY: the caller's.
        sums[j] = sums[j] + unsafe { load(plus.wrapping_add(j * V::LANES), whole, last) };
    });
}

/// Stores act(x + plus), or without `PLUS` act(x).
///
/// # Safety
/// A row of the tile can be read from `plus`, if it is added, and written to `y`.
#[inline(always)]
unsafe fn finish_row<V: Vector, const NV: usize, const PLUS: bool, const ACTIVATION: u8>(
    x: &[V; NV],
    plus: *const V::Element,
    y: *mut V::Element,
    last: usize,
    slope: V,
) {
    unroll!(vector j < NV: {
        let whole = whole::<V>(j, NV, last);
        // SAFETY: the caller's.
        unsafe {
            let mut x = x[j];
            if PLUS {
                x = x + load(plus.wrapping_add(j * V::LANES), whole, last);
            }
            store(activation::of::<V, ACTIVATION>(x, slope), y.add(j * V::LANES), whole, last);
        }
    });
}

pub(super) struct GatherTile<'a, T, const MR: usize, const NV: usize>(pub(super) &'a Gather<T>);

impl<T: Element, const MR: usize, const NV: usize> Kernel<T> for GatherTile<'_, T, MR, NV> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        if const { !fits::<V>(MR, NV) } {
            unreachable!("conv: a tile of {MR} x {NV} vectors");
        }
        // SAFETY: the caller of `run_gather` vouches for every element.
        unsafe { tile::<V, MR, NV>(self.0) }
    }
}

/// The tile itself: a function, so that of instances that are never asked for nothing is compiled.
///
/// # Safety
/// As [`GatherFn`](super::GatherFn).
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize>(t: &Gather<V::Element>) {
    // SAFETY: the caller's.
    unsafe {
        let mut acc = [[V::zero(); NV]; MR];
        if !t.bias.is_null() {
            let bias = load_row(t.bias, true, 0);
            unroll!(tall i < MR: { acc[i] = bias; });
        }
        let mut w = t.w;
        // First the tile's own place, then what comes later.
        let mut ahead = Ahead::rows::<V>(t.y, t.y_step);
        let mut rows = const { MR.next_multiple_of(round(NV)) };
        let groups = const { MR.div_ceil(7) };
        let step = Step::new(t.x_step * size_of::<V::Element>());
        for r in 0..t.run_count {
            let run = *t.runs.add(r);
            let mut x = [t.x.wrapping_offset(run.x); TALLEST / 7];
            for (g, x) in x[..groups].iter_mut().enumerate() {
                *x = opaque(x.wrapping_add(7 * g * t.x_step));
            }
            // Step P of a round.
            macro_rules! step {
                    ($P:literal) => {{
                        let w = w.wrapping_add($P * NV * V::LANES);
                        ask_row::<V, NV>(&ahead, $P, w);
                        let row = load_row(w, true, 0);
                        unroll!(tall i < MR: {
                            mul_add_row(step.number::<V>(i, &x, $P), &row, &mut acc[i]);
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
            unroll!(tall i < MR: {
                if i > 0 {
                    plus = plus.wrapping_add(t.y_step);
                }
                add_row(&mut acc[i], plus, t.last);
            });
        }
        // An arm each, so that every sum goes from its register to memory: merging the arms
        // before storing would spill them all.
        macro_rules! finish {
                ($plus:literal $activation:ident $slope:expr) => {{
                    let mut y = t.y;
                    unroll!(tall i < MR: {
                        if i > 0 {
                            y = y.wrapping_add(t.y_step);
                        }
                        let plus = t.plus.wrapping_byte_add(y.addr() - t.y.addr());
                        finish_row::<V, NV, $plus, { activation::$activation }>(
                            &acc[i], plus, y, t.last, $slope,
                        );
                    });
                }};
            }
        let zero = V::zero();
        match t.activation {
            Activation::Identity if adds => finish!(true IDENTITY zero),
            Activation::Identity => finish!(false IDENTITY zero),
            Activation::Relu => finish!(false RELU zero),
            Activation::LeakyRelu(slope) => finish!(false LEAKY_RELU V::constant(slope.into())),
        }
    }
}
