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
//! 3. Two steps are one round of the loop where registers allow it, weights are asked for some
//!    steps before they are read, and rows that follow each other in memory are one row: pointer
//!    arithmetic competes with the multiply-adds for ports, and a loop's end is often mispredicted.
//! 4. One element of the result is one chain of multiply-adds in the order of the runs whatever
//!    the tile is, so how the work is cut never changes a bit.

mod gather;
mod outer;

use super::panel::Limits;
use super::plan::Run;
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{Isa, Vector, dispatch, prefetch};
use gather::GatherTile;
use outer::OuterTile;

/// What will be read later. A tile asks for a cache line of it a step: for many at once there are
/// no places to wait in, and then what is needed now waits, too.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    at: *const u8,
    step: usize,
    /// From one to the next of the lines asked for in one step.
    other: usize,
}

impl Ahead {
    /// Lines of the cache, `step` elements from one to the next, one a step.
    pub(super) fn lines<T>(first: *const T, step: usize) -> Ahead {
        Ahead {
            at: first.cast(),
            step: step * size_of::<T>(),
            other: 64,
        }
    }

    /// The rows of a tile, one a step.
    #[inline(always)]
    fn rows<V: Vector>(first: *const V::Element, step: usize) -> Ahead {
        Ahead {
            at: first.cast(),
            step: step * size_of::<V::Element>(),
            other: V::LANES * size_of::<V::Element>(),
        }
    }

    /// Asks for a line of a step of this round.
    #[inline(always)]
    fn ask(&self, step: usize, line: usize) {
        prefetch(self.at.wrapping_add(step * self.step + line * self.other));
    }

    #[inline(always)]
    fn advance(&mut self, steps: usize) {
        self.at = self.at.wrapping_add(steps * self.step);
    }
}

/// Memory that some tiles ask for, a piece each. It is cut once for many of them: divisions for each
/// tile would take as long as a few steps.
#[derive(Clone, Copy)]
pub(super) struct Pieces {
    /// Bytes.
    each: usize,
    /// From a step to the next.
    step: usize,
}

impl Pieces {
    /// `len` elements for so many tiles of so many steps.
    pub(super) fn new<T>(len: usize, tiles: usize, steps: usize) -> Pieces {
        let each = (len * size_of::<T>()).div_ceil(tiles.max(1));
        let step = each.div_ceil(steps.max(1));
        Pieces { each, step }
    }

    /// Piece `p` of what begins at `first`.
    #[inline(always)]
    pub(super) fn get<T>(self, first: *const T, p: usize) -> Ahead {
        Ahead {
            at: first.cast::<u8>().wrapping_add(self.each * p),
            step: self.step,
            other: 0,
        }
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
    /// Whether gw is overwritten, not added to.
    pub(super) fresh: bool,
    pub(super) ahead: Ahead,
    /// How many channels of the last vector exist: 1..=LANES.
    pub(super) last: usize,
}

/// # Safety
/// Every element that the description reaches lies in memory that may be read, and for the
/// result written; the result overlaps nothing else, but may be what is added to it.
pub(super) type GatherFn<T> = unsafe fn(Isa, &Gather<T>);
/// # Safety
/// As [`GatherFn`].
pub(super) type OuterFn<T> = unsafe fn(Isa, &Outer<T>);

/// Steps of a round: additions of pointers compete with the multiply-adds for their ports, and the
/// widest tiles have registers left for the addresses of two steps.
const fn round(nv: usize) -> usize {
    if nv == 2 { 2 } else { 1 }
}

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
    Limits::in_registers(V::REGISTERS).rows(nv) >= mr
}

/// Whether vector `j` of `nv` has all its lanes.
#[inline(always)]
fn whole<V: Vector>(j: usize, nv: usize, last: usize) -> bool {
    j + 1 < nv || last == V::LANES
}

/// # Safety
/// LANES elements, or `last` < LANES of them if not `whole`, can be read from `x`.
#[inline(always)]
pub(super) unsafe fn load<V: Vector>(x: *const V::Element, whole: bool, last: usize) -> V {
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
pub(super) unsafe fn store<V: Vector>(x: V, y: *mut V::Element, whole: bool, last: usize) {
    // SAFETY: the caller's.
    unsafe {
        if whole {
            x.store_ptr(y)
        } else {
            x.store_ptr_partial(y, last)
        }
    }
}

/// Activations as parts of instances.
pub(super) mod activation {
    use crate::simd::Vector;

    pub(in crate::conv) const IDENTITY: u8 = 0;
    pub(in crate::conv) const RELU: u8 = 1;
    pub(in crate::conv) const LEAKY_RELU: u8 = 2;

    #[inline(always)]
    pub(in crate::conv) fn of<V: Vector, const ACTIVATION: u8>(x: V, slope: V) -> V {
        let zero = V::zero();
        match ACTIVATION {
            IDENTITY => x,
            RELU => zero.max(x),
            _ => slope.mul_add(zero.min(x), zero.max(x)),
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
