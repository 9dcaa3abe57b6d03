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
//! 4. Otherwise rows of b that are contiguous are packed by the first block of rows in passing
//!    (reason 5 of `tile`); columns are transposed in a pass of their own.
//! 5. The blocks of k depend on k and n alone: with reason 6 of `tile`, cutting c among threads or
//!    packing an operand changes no bit.
//! 6. Bias and activation are applied by the microkernel in the last block of k, while the tile
//!    is in registers.

use super::kernels::Kernels;
use super::pack;
use super::tile::{BLOCK, Tile};
use super::{Activation, Epilogue, Mat};
use crate::buffer::Buffer;
use std::cell::Cell;
use std::ops::Range;

/// Most rows of b in a block: a panel of a (14 x 400 f32, 22 KB) fits L1 beside the streams.
const KC: usize = 400;
/// The same for c of at most NARROW columns: reading a in one piece weighs more there.
const KC_NARROW: usize = 1024;
const NARROW: usize = 128;
/// Most columns of b in a block: 400 x 768 f32, 1.2 MB of L2.
const NC: usize = 768;

/// Up to how many blocks of rows are too few to pack b for.
const FEW_BLOCKS: usize = 2;

/// The right-hand operand as the loops see it.
#[derive(Clone, Copy)]
pub(super) enum Rhs<'a> {
    /// As it lies in memory.
    Plain(Mat<'a, f32>),
    /// As [`pack_all`] leaves it, with n columns.
    Packed(&'a [f32], usize),
}

impl Rhs<'_> {
    pub(super) fn cols(&self) -> usize {
        match *self {
            Rhs::Plain(b) => b.cols,
            Rhs::Packed(_, n) => n,
        }
    }
}

/// A product whose shapes have been checked: every element that shapes and strides reach exists,
/// c may be written, and a's rows or columns of length 1 have stride 1.
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

/// The blocks of k: as many as KC asks for, of nearly equal size, by k and n alone.
pub(super) fn k_blocks(k: usize, n: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let most = if n <= NARROW { KC_NARROW } else { KC };
    let size = k
        .div_ceil(k.div_ceil(most).max(1))
        .next_multiple_of(16)
        .max(16);
    // k = 0 still takes one step: beta, bias and activation are applied there.
    (0..k.div_ceil(size).max(1)).map(move |i| i * size..((i + 1) * size).min(k))
}

/// Cuts `range` into the fewest parts of at most `most`, nearly equal.
pub(super) fn cut(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
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
    for ks in k_blocks(b.rows, b.cols) {
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

/// A block of b as the microkernel reads it: panel q begins at `start + q * panel`.
#[derive(Clone, Copy)]
struct Panels {
    start: *const f32,
    panel: usize,
    row_stride: usize,
    /// Whether rows may only be read up to their end.
    exact: bool,
    /// Where the first block of rows packs panels to, for those that follow; and where a ragged
    /// last panel has been packed to already.
    pack_to: Option<(*mut f32, *mut f32)>,
}

/// One step of the two outer loops: a block of b and what goes with it.
struct Step<'a> {
    x: &'a Product<'a>,
    cols: Range<usize>,
    ks: Range<usize>,
    b: Panels,
    /// Whether c holds a sum already.
    accumulate: bool,
    /// Whether c is finished with this step.
    last: bool,
}

/// Computes the rectangle `rows` x `cols` of c: with all of k, or with a part of its blocks only.
///
/// # Safety
/// The rectangle lies inside c, `cols.start` is a multiple of NR, and no other thread touches the
/// rectangle meanwhile.
pub(super) unsafe fn run(
    x: &Product,
    rows: Range<usize>,
    cols: Range<usize>,
    blocks: Range<usize>,
) {
    let (mr, nr, k) = (x.kernels.mr(), x.kernels.nr(), x.a.cols);
    let kc = k_blocks(k, x.b.cols()).next().map_or(0, |ks| ks.len());
    let nc = NC.min(cols.len()).next_multiple_of(nr);
    let few_rows = rows.len() <= FEW_BLOCKS * mr;
    let wide = nc / nr;
    // Rows whose distance is a multiple of 2 KB fall into the same few sets of L1.
    let spread = !(x.a.row_stride * size_of::<f32>()).is_multiple_of(2048);
    let leave_a = x.a.col_stride == 1 && (wide <= 2 || wide <= 16 && spread)
        || x.a.row_stride == 1 && wide <= 2;
    // One vector of room for what spills over, rounded up so that panels of b are aligned.
    let room = |len: usize| (len + x.kernels.lanes).next_multiple_of(16);
    let a_len = if leave_a { 0 } else { room(mr * kc) };
    let b_len = match x.b {
        Rhs::Packed(..) => 0,
        Rhs::Plain(b) if few_rows && b.col_stride == 1 => 0,
        Rhs::Plain(_) => room(kc * nc),
    };
    with_scratch(a_len + b_len, |scratch| {
        let (a_room, b_room) = scratch.split_at_mut(a_len);
        for jc in cols.clone().step_by(nc) {
            let jc = jc..(jc + nc).min(cols.end);
            for (block, ks) in k_blocks(k, x.b.cols()).enumerate() {
                if !blocks.contains(&block) {
                    continue;
                }
                let step = Step {
                    x,
                    accumulate: x.accumulate || block > blocks.start,
                    last: block + 1 == blocks.end,
                    cols: jc.clone(),
                    b: panels(x, &jc, &ks, few_rows, b_room),
                    ks,
                };
                // SAFETY: the caller's promise about the rectangle.
                unsafe { step.run(rows.clone(), (!leave_a).then_some(&mut *a_room), few_rows) }
            }
        }
    });
}

/// Makes a block of b readable for the microkernel, by packing it if need be.
fn panels(
    x: &Product,
    cols: &Range<usize>,
    ks: &Range<usize>,
    few_rows: bool,
    room: &mut [f32],
) -> Panels {
    let nr = x.kernels.nr();
    let pack = |b: Mat<f32>, col: usize, to: &mut [f32]| {
        let width = nr.min(cols.end - col);
        pack::panel(x.kernels, b, (ks.start, ks.len()), (col, width), to, nr);
    };
    let packed = |start: &[f32]| Panels {
        start: start.as_ptr(),
        panel: ks.len() * nr,
        row_stride: nr,
        exact: false,
        pack_to: None,
    };
    match x.b {
        Rhs::Packed(data, n) => {
            packed(&data[ks.start * n.next_multiple_of(nr) + cols.start * ks.len()..])
        }
        Rhs::Plain(b) if b.col_stride == 1 => {
            let ragged = cols.len() % nr;
            let pack_to = (!few_rows).then(|| {
                let at = (cols.len() - ragged) * ks.len();
                if ragged > 0 {
                    pack(b, cols.end - ragged, &mut room[at..]);
                }
                let room = room.as_mut_ptr();
                (room, room.wrapping_add(at))
            });
            let first = ks.start * b.row_stride + cols.start;
            Panels {
                start: b.data.as_ptr().wrapping_add(first),
                panel: nr,
                row_stride: b.row_stride,
                exact: true,
                pack_to,
            }
        }
        Rhs::Plain(b) => {
            for (q, col) in cols.clone().step_by(nr).enumerate() {
                pack(b, col, &mut room[q * ks.len() * nr..]);
            }
            packed(room)
        }
    }
}

impl Step<'_> {
    /// The two inner loops, over blocks of rows and panels of b.
    ///
    /// # Safety
    /// The rows of the step's columns lie inside c and belong to this thread.
    unsafe fn run(mut self, rows: Range<usize>, mut a_room: Option<&mut [f32]>, few_rows: bool) {
        let kernels = self.x.kernels;
        let panels = self.cols.len().div_ceil(kernels.nr());
        let blocks = cut(rows, kernels.mr());
        if few_rows && a_room.is_none() {
            for q in 0..panels {
                for i in blocks.clone() {
                    // SAFETY: the caller's promise; a is read where it lies.
                    unsafe { self.tile(&i, q, self.plain_a(i.start)) }
                }
            }
            return;
        }
        for i in blocks {
            let a = match a_room.as_deref_mut() {
                None => self.plain_a(i.start),
                Some(room) => {
                    let ks = (self.ks.start, self.ks.len());
                    pack::panel(kernels, self.x.a.t(), ks, (i.start, i.len()), room, i.len());
                    (room.as_ptr(), 1, i.len())
                }
            };
            for q in 0..panels {
                // SAFETY: the caller's promise; a is where it lies or was packed for these rows.
                unsafe { self.tile(&i, q, a) }
            }
            if let Some((packed, _)) = self.b.pack_to.take() {
                self.b = Panels {
                    start: packed,
                    panel: self.ks.len() * kernels.nr(),
                    row_stride: kernels.nr(),
                    exact: false,
                    pack_to: None,
                };
            }
        }
    }

    /// Rows of a from `row` on, where they lie: the first element and the two strides.
    fn plain_a(&self, row: usize) -> (*const f32, usize, usize) {
        let a = self.x.a;
        let at = row * a.row_stride + self.ks.start * a.col_stride;
        (a.data.as_ptr().wrapping_add(at), a.row_stride, a.col_stride)
    }

    /// One tile: rows `i` by panel `q`, with a given by its first element and strides.
    ///
    /// # Safety
    /// The tile lies inside c and belongs to this thread; `a` has rows `i` and the step's k, and
    /// one of its strides is 1.
    #[inline]
    unsafe fn tile(&self, i: &Range<usize>, q: usize, a: (*const f32, usize, usize)) {
        let Step { x, cols, ks, b, .. } = self;
        let (kernels, nr) = (x.kernels, x.kernels.nr());
        let col = cols.start + q * nr;
        let width = nr.min(cols.end - col);
        // The first panel's tile has the rows of the next block brought in.
        let (ahead, ahead_step, ahead_jump) = if q == 0 {
            let (next, row, col) = self.plain_a(i.end);
            if row == 1 {
                (next, col, BLOCK * col)
            } else {
                (next, row, BLOCK * col)
            }
        } else {
            (a.0, 0, 0)
        };
        let mut tile = Tile {
            k: ks.len(),
            a: a.0,
            a_row_stride: a.1,
            a_col_stride: a.2,
            b: b.start.wrapping_add(q * b.panel),
            b_row_stride: b.row_stride,
            packed: std::ptr::null_mut(),
            c: x.c.wrapping_add(i.start * x.c_row_stride + col),
            c_row_stride: x.c_row_stride,
            last: width - (width - 1) / kernels.lanes * kernels.lanes,
            accumulate: self.accumulate,
            ahead,
            ahead_step,
            ahead_jump,
            bias: match x.epilogue.bias {
                Some(bias) if self.last => bias[col..].as_ptr(),
                _ => std::ptr::null(),
            },
            activation: if self.last {
                x.epilogue.activation
            } else {
                Activation::Identity
            },
        };
        let (rows, a_rows) = (i.len(), a.1 != 1);
        let run = match b.pack_to {
            Some((room, _)) if width == nr => {
                tile.packed = room.wrapping_add(q * ks.len() * nr);
                kernels.packing_tile(rows, width, a_rows)
            }
            Some((_, ragged)) => {
                (tile.b, tile.b_row_stride) = (ragged, nr);
                kernels.tile(rows, width, a_rows)
            }
            None if b.exact && tile.last < kernels.lanes => {
                if width > kernels.lanes {
                    let whole = Tile {
                        last: kernels.lanes,
                        ..tile
                    };
                    // SAFETY: as below, for the vectors before the last.
                    unsafe { kernels.tile(rows, kernels.lanes, a_rows)(&whole) }
                    tile.b = tile.b.wrapping_add(kernels.lanes);
                    tile.c = tile.c.wrapping_add(kernels.lanes);
                    if !tile.bias.is_null() {
                        tile.bias = tile.bias.wrapping_add(kernels.lanes);
                    }
                }
                kernels.masked_tile(rows, a_rows)
            }
            None => kernels.tile(rows, width, a_rows),
        };
        // SAFETY: `Kernels` exist only where their instruction set does. The tile is part of the
        // rectangle; its operands are parts of a and b, and rows of b that end inside a vector
        // are packed or masked. A panel is packed to where it has room.
        unsafe { run(&tile) }
    }
}
