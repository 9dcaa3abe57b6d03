//! One thread's product: a rectangle of c by loops over blocks that fit the caches.
//!
//! ```text
//! many rows                                   few rows: a's share of a block of k fits L2
//! for columns jc of c, as fit L2 with KC:     for k in blocks of KC:
//!     for k in blocks of KC:                      for panels q of NR columns:
//!         for blocks i of at most MR rows:            for blocks i of at most MR rows:
//!             for panels q of NR columns:                 microkernel(i, q)
//!                 microkernel(i, q)
//! b[jc] stays in L2, a[i] most often in L1    a stays in L2
//!
//! where b is packed in passing, the first blocks of rows go by panels too
//! ```
//!
//! 1. Unlike in the usual five loops, with many rows it is b that stays in L2: a is read from
//!    memory once for each jc, where it lies.
//! 2. a is copied to columns where it is not read well as it lies: neither rows nor columns are
//!    contiguous; many panels of b pass over columns far from each other; or what a tile reads at
//!    a time collides in the caches. The first jc copies for all.
//! 3. b is packed if more than a few rows pass over it: contiguous rows by the first block in
//!    passing (reason 5 of `tile`), columns by a transposing copy just before. The blocks after it
//!    meet the panel before the next one is packed, and bring that one in: the first block alone
//!    would wait for each panel. Rows that collide in L1 are packed for all panels at once, each
//!    row in one piece: a tile that packs reads them a few cache lines at a time, and would not
//!    find what it brought in. With few rows the room is that of one panel and never leaves the
//!    cache.
//! 4. While a tile is computed, what later ones read comes in: its part of c, a share of a's next
//!    rows, the next panel. Where a must be copied, some blocks of rows are copied while the ones
//!    before are multiplied, a share before each tile: the multiply-adds still in flight hide it.
//! 5. The blocks of k depend on k alone: with reason 7 of `tile`, cutting c among threads or
//!    packing an operand changes no bit.
//! 6. Bias and activation are applied by the microkernel in the last block of k, while the tile
//!    is in registers.

use super::kernels::Kernels;
use super::layout::{CopyOfA, Layout, Rooms};
use super::pack;
use super::step::Step;
use super::{Epilogue, Mat};
use crate::buffer::Buffer;
use crate::cache;
use crate::cut::Cut;
use std::cell::Cell;
use std::ops::Range;

/// Most rows of b in a block. A block of rows of a (8 or 14 x 1024 f32, 33 or 57 KB) then comes from
/// L2 once more for each panel, which the multiply-adds hide; to go over c again would cost more.
pub(super) const KC: usize = 1024;
/// Most numbers of a that stay in L2 beside the panels of few rows: 512 KB.
const A_IN_L2: usize = 1 << 17;
/// Most numbers of a in a copy that is kept for several blocks of columns: 64 MB.
const A_KEPT: usize = 1 << 24;

/// Most numbers of b in a block with many rows: 9/16 of L2, six panels of 1024 x 48 in 2 MB.
fn b_in_l2() -> usize {
    cache::l2().bytes / 16 * 9 / size_of::<f32>()
}

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

/// The blocks of k: as many as KC asks for, of nearly equal size, by k alone.
pub(super) fn k_blocks(k: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    // k = 0 still takes one step: beta, bias and activation are applied there.
    let (count, size) = match k {
        ..=KC => (1, KC),
        _ => {
            let size = k.div_ceil(k.div_ceil(KC)).next_multiple_of(16);
            (k.div_ceil(size), size)
        }
    };
    (0..count).map(move |i| i * size..((i + 1) * size).min(k))
}

/// How long [`pack_all`]'s result is.
pub(super) fn packed_len(kernels: &Kernels, k: usize, n: usize) -> usize {
    k * kernels.panels(n) * kernels.nr() + kernels.lanes
}

/// Packs all of b: for each block of k, panel after panel.
pub(super) fn pack_all(kernels: &Kernels, b: Mat<f32>, to: &mut [f32]) {
    let nr = kernels.nr();
    let panels = kernels.panels(b.cols);
    for ks in k_blocks(b.rows) {
        for q in 0..panels {
            let to = &mut to[(ks.start * panels + q * ks.len()) * nr..];
            let cols = kernels.panel(b.cols, q);
            let cols = (cols.start, cols.len());
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

/// Computes the rectangle `rows` x `cols` of c: with all of k, or with a part of its blocks only.
///
/// # Safety
/// The rectangle lies inside c, its columns are whole panels, and no other thread touches it
/// meanwhile.
pub(super) unsafe fn run(
    x: &Product,
    rows: Range<usize>,
    cols: Range<usize>,
    blocks: Range<usize>,
) {
    let (k, nr) = (x.a.cols, x.kernels.nr());
    let kc = k_blocks(k).next().map_or(0, |ks| ks.len());
    let few_rows = rows.len() * kc <= A_IN_L2;
    let panels = x.kernels.panels(cols.len());
    let most_panels = match few_rows || panels * nr * kc <= b_in_l2() {
        true => panels,
        false => b_in_l2() / kc / nr,
    };
    let layout = Layout::new(x, rows.len(), panels.min(most_panels), kc);
    // One vector of room for what spills over, rounded up so that both begin at cache lines.
    let room = |len: usize| (len + x.kernels.lanes).next_multiple_of(16);
    let parts = Cut::new(0..panels, most_panels);
    let mut whole_a = 0;
    if layout.copy_a && !few_rows && parts.len() > 1 {
        let groups = rows
            .len()
            .div_ceil(x.kernels.mr())
            .div_ceil(layout.together);
        whole_a = groups * layout.half(x, kc);
    }
    let keep_a = whole_a > 0 && blocks.len() * whole_a <= A_KEPT;
    let mut kept_a = Buffer::recycled(if keep_a { blocks.len() * whole_a } else { 0 });
    let a_len = match (layout.copy_a, few_rows) {
        (false, _) => 0,
        (true, true) => room(rows.len() * Layout::a_pitch(kc)),
        (true, false) if keep_a => 0,
        (true, false) => 2 * layout.half(x, kc),
    };
    let widest = parts.iter(0..parts.len()).map(|part| part.len()).max();
    let b_len = match (layout.pack_b, few_rows) {
        (false, _) => 0,
        (true, true) => room(kc * nr),
        (true, false) => room(kc * nr * widest.unwrap_or(0)),
    };
    with_scratch(a_len + b_len, |scratch| {
        let (a, b) = scratch.split_at_mut(a_len);
        for (p, part) in parts.iter(0..parts.len()).enumerate() {
            for (block, ks) in k_blocks(k).enumerate() {
                if !blocks.contains(&block) {
                    continue;
                }
                let (copy_of_a, a) = if keep_a {
                    let room = &mut kept_a[(block - blocks.start) * whole_a..][..whole_a];
                    let first = p == 0;
                    (
                        if first {
                            CopyOfA::ToKeep
                        } else {
                            CopyOfA::Kept
                        },
                        room,
                    )
                } else {
                    (CopyOfA::InPassing, &mut *a)
                };
                let mut rooms = Rooms { a, b };
                let edge = |q| cols.start + x.kernels.panel_start(cols.len(), q);
                let step = Step {
                    x,
                    layout,
                    copy_of_a,
                    rows: rows.clone(),
                    cols: edge(part.start)..edge(part.end),
                    ks,
                    accumulate: x.accumulate || block > blocks.start,
                    last: block + 1 == blocks.end,
                };
                // SAFETY: the caller's promise about the rectangle; the rooms are as large as
                // the order asks for.
                unsafe {
                    if few_rows {
                        step.by_panels(&mut rooms)
                    } else {
                        step.by_rows(&mut rooms)
                    }
                }
            }
        }
    });
}
