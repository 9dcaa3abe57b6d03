//! One thread's product: a rectangle of c by loops over blocks that fit the caches.
//!
//! ```text
//! for columns jc of c, NC at a time:
//!     for k in blocks of KC:
//!         pack b[k, jc] into panels of NR columns        // stays in L2
//!         for blocks of at most MR rows of c:
//!             pack a[rows, k], or leave it where it lies // stays in L1
//!             for panels of b:
//!                 microkernel                            // registers
//! ```
//!
//! 1. Unlike the usual five loops, b is what stays in L2 and a panel of a what stays in L1: then
//!    a is read from memory once per NC columns, needs no block of its own, and packing it costs
//!    MR x KC copies for MR x KC x NC multiply-adds.
//! 2. a is packed only if enough panels of b pass over it; a few read it where it lies.
//! 3. b is not packed if only a few rows pass over it and its rows are contiguous; then the two
//!    inner loops change places, so that a panel of b is read from memory once.
//! 4. The blocks of k depend on k alone: with reason 5 of `tile`, cutting c among threads or
//!    packing an operand changes no bit.
//! 5. Bias and activation are applied by the microkernel in the last block of k, while the tile
//!    is in registers.

use super::kernels::Kernels;
use super::pack;
use super::tile::Tile;
use super::{Activation, Epilogue, Mat};
use crate::buffer::Buffer;
use std::cell::Cell;
use std::ops::Range;

/// Most rows of b in a block: a panel of a (14 x 384 f32, 21 KB) fits L1 beside the streams.
const KC: usize = 384;
/// Most columns of b in a block: 384 x 768 f32, 1.2 MB of L2.
const NC: usize = 768;

/// The right-hand operand as the loops see it.
#[derive(Clone, Copy)]
pub(super) enum Rhs<'a> {
    /// As it lies in memory.
    Plain(Mat<'a, f32>),
    /// As [`pack_all`] leaves it, `[k, n]`.
    Packed(&'a [f32], usize, usize),
}

impl Rhs<'_> {
    pub(super) fn cols(&self) -> usize {
        match *self {
            Rhs::Plain(b) => b.cols,
            Rhs::Packed(_, _, n) => n,
        }
    }
}

/// A product whose shapes have been checked: every element that shapes and strides reach exists,
/// c is borrowed uniquely, and a's rows or columns of length 1 have stride 1.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) a: Mat<'a, f32>,
    pub(super) b: Rhs<'a>,
    pub(super) c: *mut f32,
    pub(super) c_row_stride: usize,
    pub(super) accumulate: bool,
    pub(super) epilogue: Epilogue<'a, f32>,
}

// SAFETY: c is written through the pointer only in `run`, whose callers give every thread a
// rectangle of its own; everything else is shared for reading.
unsafe impl Sync for Product<'_> {}

/// The blocks of k: as many as KC asks for, of nearly equal size, by k alone.
pub(super) fn k_blocks(k: usize) -> impl Iterator<Item = Range<usize>> {
    let size = k.div_ceil(k.div_ceil(KC).max(1)).next_multiple_of(4).max(4);
    // k = 0 still takes one step: beta, bias and activation are applied there.
    (0..k.div_ceil(size).max(1)).map(move |i| i * size..((i + 1) * size).min(k))
}

/// Cuts `range` into the fewest parts of at most `most`, nearly equal.
pub(super) fn cut(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (len, parts) = (range.len(), range.len().div_ceil(most));
    (0..parts).map(move |i| range.start + i * len / parts..range.start + (i + 1) * len / parts)
}

/// How long [`pack_all`]'s result is.
pub(super) fn packed_len(kernels: &Kernels, k: usize, n: usize) -> usize {
    k * n.next_multiple_of(kernels.nr()) + kernels.lanes
}

/// Packs all of b: for each block of k, panel after panel.
pub(super) fn pack_all(kernels: &Kernels, b: Mat<f32>, to: &mut [f32]) {
    let nr = kernels.nr();
    let width = b.cols.next_multiple_of(nr);
    for ks in k_blocks(b.rows) {
        for col in (0..b.cols).step_by(nr) {
            let to = &mut to[ks.start * width + col * ks.len()..];
            let cols = (col, nr.min(b.cols - col));
            pack::panel(kernels, b, (ks.start, ks.len()), cols, to, nr);
        }
    }
}

thread_local! {
    /// Room for packed blocks, kept between products.
    static SCRATCH: Cell<Option<Buffer<f32>>> = const { Cell::new(None) };
}

/// Runs `f` with at least `len` numbers of scratch.
fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    if len == 0 {
        return f(&mut []);
    }
    let mut scratch = match SCRATCH.take() {
        Some(scratch) if scratch.len() >= len => scratch,
        _ => Buffer::recycled(len),
    };
    let result = f(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// How a block of b is reached: panel q begins at `start + q * panel`.
struct Panels {
    start: *const f32,
    panel: usize,
    row_stride: usize,
    /// No row may be read beyond its columns.
    exact: bool,
}

/// Computes the rectangle `rows` x `cols` of c.
///
/// # Safety
/// The rectangle lies inside c, `cols.start` is a multiple of NR, and no other thread touches the
/// rectangle meanwhile.
pub(super) unsafe fn run(x: &Product, rows: Range<usize>, cols: Range<usize>) {
    let kernels = x.kernels;
    let (mr, nr, k) = (kernels.mr(), kernels.nr(), x.a.cols);
    let few_rows = rows.len() <= 2 * mr;
    let leave_b = match x.b {
        Rhs::Packed(..) => true,
        Rhs::Plain(b) => b.col_stride == 1 && few_rows,
    };
    let (kc, nc) = (k.min(KC + 4), NC.min(cols.len()).next_multiple_of(nr));
    let panels = nc / nr;
    let leave_a = (x.a.col_stride == 1 && panels < 4) || (x.a.row_stride == 1 && panels < 3);
    // Rounded up, so that panels of b begin at cache lines.
    let a_len = if leave_a {
        0
    } else {
        (mr * kc + kernels.lanes).next_multiple_of(16)
    };
    let b_len = if leave_b { 0 } else { kc * nc + kernels.lanes };
    with_scratch(a_len + b_len, |scratch| {
        let (a_room, b_room) = scratch.split_at_mut(a_len);
        for jc in (cols.start..cols.end).step_by(nc) {
            let jc = jc..(jc + nc).min(cols.end);
            for ks in k_blocks(k) {
                let b = match x.b {
                    Rhs::Packed(data, k, n) => Panels {
                        start: data[ks.start * n.next_multiple_of(nr) + jc.start * ks.len()..]
                            .as_ptr(),
                        panel: ks.len() * nr,
                        row_stride: nr,
                        exact: k == 0,
                    },
                    Rhs::Plain(b) if leave_b => Panels {
                        start: b.data[(ks.start * b.row_stride + jc.start).min(b.data.len())..]
                            .as_ptr(),
                        panel: nr,
                        row_stride: b.row_stride,
                        exact: true,
                    },
                    Rhs::Plain(b) => {
                        for (q, col) in jc.clone().step_by(nr).enumerate() {
                            let to = &mut b_room[q * ks.len() * nr..];
                            let cols = (col, nr.min(jc.end - col));
                            pack::panel(kernels, b, (ks.start, ks.len()), cols, to, nr);
                        }
                        Panels {
                            start: b_room.as_ptr(),
                            panel: ks.len() * nr,
                            row_stride: nr,
                            exact: false,
                        }
                    }
                };
                let last = ks.end == k;
                let tile = Tile {
                    k: ks.len(),
                    a: std::ptr::null(),
                    a_row_stride: x.a.row_stride,
                    a_col_stride: x.a.col_stride,
                    b: std::ptr::null(),
                    b_row_stride: b.row_stride,
                    c: std::ptr::null_mut(),
                    c_row_stride: x.c_row_stride,
                    last: 0,
                    accumulate: x.accumulate || ks.start > 0,
                    bias: std::ptr::null(),
                    activation: if last {
                        x.epilogue.activation
                    } else {
                        Activation::Identity
                    },
                };
                let bias = x.epilogue.bias.filter(|_| last);
                let step = |i: Range<usize>, q: usize, a: *const f32, packed: bool| {
                    let col = jc.start + q * nr;
                    let width = nr.min(jc.end - col);
                    let mut tile = tile;
                    tile.a = a;
                    if packed {
                        (tile.a_row_stride, tile.a_col_stride) = (1, i.len());
                    }
                    tile.b = b.start.wrapping_add(q * b.panel);
                    tile.c = x.c.wrapping_add(i.start * x.c_row_stride + col);
                    tile.last = width - (width - 1) / kernels.lanes * kernels.lanes;
                    if let Some(bias) = bias {
                        tile.bias = bias[col..].as_ptr();
                    }
                    let a_rows = !packed && x.a.row_stride != 1;
                    let run = kernels.tile(i.len(), width, a_rows, b.exact);
                    // SAFETY: `Kernels` exist only where their instruction set does. The tile is
                    // part of the rectangle; its operands are parts of a and b, or were packed.
                    unsafe { run(&tile) }
                };
                let a_at = |row: usize| {
                    let at = row * x.a.row_stride + ks.start * x.a.col_stride;
                    x.a.data.as_ptr().wrapping_add(at)
                };
                let count = jc.len().div_ceil(nr);
                if leave_a && few_rows {
                    for q in 0..count {
                        for i in cut(rows.clone(), mr) {
                            step(i.clone(), q, a_at(i.start), false);
                        }
                    }
                } else {
                    for i in cut(rows.clone(), mr) {
                        let a = if leave_a {
                            a_at(i.start)
                        } else {
                            let columns = (i.start, i.len());
                            let ks = (ks.start, ks.len());
                            pack::panel(kernels, x.a.t(), ks, columns, a_room, i.len());
                            a_room.as_ptr()
                        };
                        for q in 0..count {
                            step(i.clone(), q, a, !leave_a);
                        }
                    }
                }
            }
        }
    });
}
