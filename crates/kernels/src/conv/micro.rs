//! The two microkernels: small tiles of the result, held in registers while the sum runs.
//!
//! ```text
//! gather (forward, input gradient)          outer (weight gradient)
//! acc[MR][NV] = bias                        acc[MR][NV] = 0
//! for run in runs:                          for row in rows, for pixel in row:
//!     for k in 0..run.len:                      g = load NV vectors of gy[pixel]
//!         w = load NV vectors                   for i in 0..MR:
//!         for i in 0..MR:                           acc[i] += splat(x[pixel, i]) * g
//!             acc[i] += splat(x[i, k]) * w  gw += acc
//! y = act(acc + plus)
//! ```
//! In `gather` the MR rows are neighbouring output pixels of one image row, in `outer` they are
//! neighbouring (tap, channel) pairs of one kernel row; the vectors are output channels in both.
//!
//! 1. NHWC makes the channels of a pixel contiguous, so the splat operand is read where it lies:
//!    no im2col, no packing, only an offset a run. A *run* is a piece of a kernel row whose taps
//!    are neighbours: a 3x3 kernel has 3 runs, a 7x7 kernel on one channel 7 of length 7.
//! 2. The tile fills the register file: 14 x 2 or 6 x 4 vectors of 32, 6 x 2 of 16. Every
//!    height has an instance, so an image row is cut into tiles of nearly equal height.
//! 3. One element of the result is one chain of multiply-adds in the order of the runs whatever
//!    the tile is, so how the work is cut never changes a bit.

use super::panel::Limits;
use super::plan::Run;
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{Isa, Kernel, Vector, dispatch, prefetch, unroll};

/// What a later tile will read: a tile asks for one cache line of it a step.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    at: *const u8,
    step: usize,
}

impl Ahead {
    /// Piece `p` of `pieces` of some bytes, for a tile of so many steps.
    pub(super) fn piece<T>(
        (first, len): (*const T, usize),
        p: usize,
        pieces: usize,
        steps: usize,
    ) -> Ahead {
        let bytes = len * size_of::<T>();
        Ahead {
            at: first.cast::<u8>().wrapping_add(bytes * p / pieces),
            step: (bytes / pieces).div_ceil(steps.max(1)),
        }
    }

    #[inline(always)]
    fn next(&mut self) {
        prefetch(self.at);
        self.at = self.at.wrapping_add(self.step);
    }
}

/// A tile of neighbouring output pixels by vectors of output channels.
pub(super) struct Gather<T> {
    /// The base of the first pixel in the image.
    pub(super) x: *const T,
    /// From one pixel's base to the next one's.
    pub(super) x_step: usize,
    pub(super) runs: *const Run,
    pub(super) run_count: usize,
    /// Rows of NV whole vectors, one for each number of the runs in turn.
    pub(super) w: *const T,
    pub(super) y: *mut T,
    pub(super) y_step: usize,
    /// What is added to y, laid out like it, or null.
    pub(super) plus: *const T,
    /// How many channels of the last vector exist: 1..=LANES.
    pub(super) last: usize,
    /// NV whole vectors, or null.
    pub(super) bias: *const T,
    pub(super) ahead: Ahead,
    pub(super) activation: Activation,
}

/// A tile of neighbouring (tap, channel) pairs by vectors of output channels.
pub(super) struct Outer<T> {
    /// The first pair's number for the first pixel; the others follow it.
    pub(super) x: *const T,
    pub(super) x_step: usize,
    pub(super) x_row_step: usize,
    pub(super) gy: *const T,
    pub(super) gy_step: usize,
    pub(super) gy_row_step: usize,
    pub(super) x_image_step: usize,
    pub(super) gy_image_step: usize,
    pub(super) images: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) gw: *mut T,
    pub(super) gw_step: usize,
    pub(super) ahead: Ahead,
    /// How many channels of the last vector exist: 1..=LANES.
    pub(super) last: usize,
}

/// # Safety
/// Every element that the description reaches lies in memory that may be read, and for the
/// result written; the result overlaps nothing else.
pub(super) type GatherFn<T> = unsafe fn(Isa, &Gather<T>);
/// # Safety
/// As [`GatherFn`].
pub(super) type OuterFn<T> = unsafe fn(Isa, &Outer<T>);

/// The tallest tile there is an instance of.
const TALLEST: usize = 28;

/// The element types with instances of the microkernels.
pub trait Micro: Sized + 'static {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    const INSTANCES: Instances<Self>;
}

/// Instances for 1, 2 and 4 vectors, by height; see [`cut`] for which heights there are.
pub struct Instances<T: 'static> {
    gather: [&'static [GatherFn<T>]; 3],
    /// And by whether the last vector is ragged.
    outer: [&'static [[OuterFn<T>; 2]]; 3],
}

impl<T> Instances<T> {
    /// Where the instance of a height is: 1 to 14 are there, and the double 28.
    fn at(rows: usize) -> usize {
        if rows == 28 { 14 } else { rows - 1 }
    }

    pub(super) fn gather(&self, vectors: usize, rows: usize) -> GatherFn<T> {
        self.gather[vectors / 2][Self::at(rows)]
    }

    pub(super) fn outer(&self, vectors: usize, rows: usize, ragged: bool) -> OuterFn<T> {
        self.outer[vectors / 2][Self::at(rows)][usize::from(ragged)]
    }
}

macro_rules! instances {
    ($T:ty) => {
        impl Micro for $T {
            #[allow(private_interfaces)]
            const INSTANCES: Instances<$T> = Instances {
                gather: [
                    instances!(gather $T, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 28),
                    instances!(gather $T, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                    instances!(gather $T, 4: 1 2 3 4 5 6),
                ],
                outer: [
                    instances!(outer $T, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 28),
                    instances!(outer $T, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                    instances!(outer $T, 4: 1 2 3 4 5 6),
                ],
            };
        }
    };
    (gather $T:ty, $nv:literal: $($mr:literal)*) => { &[$(run_gather::<$T, $mr, $nv>),*] };
    (outer $T:ty, $nv:literal: $($mr:literal)*) => {
        &[$([run_outer::<$T, $mr, $nv, false>, run_outer::<$T, $mr, $nv, true>]),*]
    };
}
instances!(f32);
instances!(f64);

/// Whether a tile fits the registers; one that does not is never asked for, and is not compiled.
const fn fits<V: Vector>(mr: usize, nv: usize) -> bool {
    Limits::by_lanes(V::LANES).rows(nv) >= mr
}

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

/// Whether vector `j` of `nv` has all its lanes.
#[inline(always)]
fn whole<V: Vector>(j: usize, nv: usize, last: usize) -> bool {
    j + 1 < nv || last == V::LANES
}

/// Stores a function of every sum.
macro_rules! finish {
    ($t:ident, $acc:ident, |$x:ident| $y:expr) => {{
        let mut y = $t.y;
        unroll!(row I < MR: {
            unroll!(vector J < NV: {
                let $x = $acc[I][J];
                store($y, y.add(J * V::LANES), whole::<V>(J, NV, $t.last), $t.last);
            });
            y = y.wrapping_add($t.y_step);
        });
    }};
}

struct GatherTile<'a, T, const MR: usize, const NV: usize>(&'a Gather<T>);

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
            let mut ahead = t.ahead;
            let mut y = t.y;
            unroll!(row I < MR: {
                unroll!(vector J < NV: { prefetch(y.wrapping_add(J * V::LANES)); });
                y = y.wrapping_add(t.y_step);
            });
            let groups = const { MR.div_ceil(7) };
            let step = Step::new(t.x_step * size_of::<T>());
            for r in 0..t.run_count {
                let run = *t.runs.add(r);
                let mut x = [t.x.wrapping_offset(run.x); TALLEST / 7];
                for (g, x) in x[..groups].iter_mut().enumerate() {
                    *x = opaque(x.wrapping_add(7 * g * t.x_step));
                }
                for _ in 0..run.len {
                    ahead.next();
                    let mut row = [V::zero(); NV];
                    unroll!(vector J < NV: { row[J] = V::load_ptr(w.add(J * V::LANES)); });
                    unroll!(row I < MR: {
                        let x = V::splat(*step.of::<I, T>(x[I / 7]));
                        unroll!(vector J < NV: { acc[I][J] = x.mul_add(row[J], acc[I][J]); });
                    });
                    for x in &mut x[..groups] {
                        *x = opaque(x.wrapping_add(1));
                    }
                    w = w.add(NV * V::LANES);
                }
            }
            if !t.plus.is_null() {
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
                Activation::Identity => finish!(t, acc, |x| x),
                Activation::Relu => finish!(t, acc, |x| zero.max(x)),
                Activation::LeakyRelu(slope) => {
                    let slope = V::constant(slope.into());
                    finish!(t, acc, |x| slope.mul_add(zero.min(x), zero.max(x)));
                }
            }
        }
    }
}

struct OuterTile<'a, T, const MR: usize, const NV: usize, const RAGGED: bool>(&'a Outer<T>);

impl<T: Element, const MR: usize, const NV: usize, const RAGGED: bool> Kernel<T>
    for OuterTile<'_, T, MR, NV, RAGGED>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        if const { !fits::<V>(MR, NV) } {
            unreachable!("conv: a tile of {MR} x {NV} vectors");
        }
        let t = self.0;
        // SAFETY: the caller of `run_outer` vouches for every element.
        unsafe {
            let mut acc = [[V::zero(); NV]; MR];
            let mut ahead = t.ahead;
            let mut gw = t.gw;
            unroll!(row I < MR: {
                unroll!(vector J < NV: { prefetch(gw.wrapping_add(J * V::LANES)); });
                gw = gw.wrapping_add(t.gw_step);
            });
            for i in 0..t.images * t.rows {
                let (n, i) = (i / t.rows, i % t.rows);
                let mut x = t.x.add(n * t.x_image_step + i * t.x_row_step);
                let mut gy = t.gy.add(n * t.gy_image_step + i * t.gy_row_step);
                for _ in 0..t.cols {
                    ahead.next();
                    let mut row = [V::zero(); NV];
                    unroll!(vector J < NV: {
                        row[J] = load(gy.add(J * V::LANES), !RAGGED || J + 1 < NV, t.last);
                    });
                    unroll!(row I < MR: {
                        let x = V::splat(*x.add(I));
                        unroll!(vector J < NV: { acc[I][J] = x.mul_add(row[J], acc[I][J]); });
                    });
                    x = x.wrapping_add(t.x_step);
                    gy = gy.wrapping_add(t.gy_step);
                }
            }
            let mut gw = t.gw;
            unroll!(row I < MR: {
                unroll!(vector J < NV: {
                    let gw = gw.add(J * V::LANES);
                    let whole = !RAGGED || J + 1 < NV;
                    store(load::<V>(gw, whole, t.last) + acc[I][J], gw, whole, t.last);
                });
                gw = gw.wrapping_add(t.gw_step);
            });
        }
    }
}

/// # Safety
/// LANES elements, or `last` < LANES of them if not `whole`, can be read from `x`.
#[inline(always)]
unsafe fn load<V: Vector>(x: *const V::Element, whole: bool, last: usize) -> V {
    // SAFETY: the caller's.
    unsafe {
        if whole {
            V::load_ptr(x)
        } else {
            V::load_ptr_partial(x, last)
        }
    }
}

/// # Safety
/// LANES elements, or `last` < LANES of them if not `whole`, can be written to `y`.
#[inline(always)]
unsafe fn store<V: Vector>(x: V, y: *mut V::Element, whole: bool, last: usize) {
    // SAFETY: the caller's.
    unsafe {
        if whole {
            x.store_ptr(y)
        } else {
            x.store_ptr_partial(y, last)
        }
    }
}

/// # Safety
/// As [`GatherFn`].
unsafe fn run_gather<T: Element, const MR: usize, const NV: usize>(isa: Isa, t: &Gather<T>) {
    dispatch(isa, GatherTile::<T, MR, NV>(t));
}

/// # Safety
/// As [`GatherFn`].
unsafe fn run_outer<T: Element, const MR: usize, const NV: usize, const RAGGED: bool>(
    isa: Isa,
    t: &Outer<T>,
) {
    dispatch(isa, OuterTile::<T, MR, NV, RAGGED>(t));
}
