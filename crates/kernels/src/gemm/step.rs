//! One block of k: the two inner loops, in either order, and what each tile is given.

use super::Activation;
use super::block::{Cut, Product, Rhs};
use super::operands::{Ahead, Lhs, Panel};
use super::pack;
use super::tile::Tile;
use std::ops::Range;

/// Up to how many blocks of rows are too few to pack contiguous rows of b for.
const FEW_BLOCKS: usize = 2;
/// Up to how many panels of b are too few to copy a for.
const FEW_PANELS: usize = 2;
/// Rows whose distance in bytes is a multiple of this fall into the same few sets of L1.
const COLLIDING: usize = 2048;
/// Columns of a that are at most this far apart are as good as a copy.
const NEAR: usize = 32;

/// How many blocks of rows are copied together where columns of a are contiguous: so that what is
/// read at a time is a few cache lines.
const TOGETHER: usize = 8;
/// How much of k is copied at a time where columns of a are contiguous.
const SLAB: usize = 8;

/// Which operands are rearranged.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// a is copied, block of rows by block of rows.
    pub(super) copy_a: bool,
    /// b is packed into panels here.
    pub(super) pack_b: bool,
}

impl Layout {
    /// For so many rows of a and columns of b.
    pub(super) fn new(x: &Product, rows: usize, cols: usize) -> Layout {
        let (a, panels) = (x.a, cols.div_ceil(x.kernels.nr()));
        let fine = panels <= FEW_PANELS;
        let spread = !(a.row_stride * size_of::<f32>()).is_multiple_of(COLLIDING);
        let leave_a = a.col_stride == 1 && (fine || spread)
            || a.row_stride == 1 && (fine || a.col_stride <= NEAR);
        Layout {
            copy_a: !leave_a,
            pack_b: match x.b {
                Rhs::Packed(..) => false,
                Rhs::Plain(b) => b.col_stride != 1 || rows > FEW_BLOCKS * x.kernels.mr(),
            },
        }
    }

    /// How many blocks of rows are copied together.
    fn together(x: &Product) -> usize {
        if x.a.col_stride == 1 { 1 } else { TOGETHER }
    }

    /// Room for what is copied together while blocks of k are at most `kc`.
    pub(super) fn half(&self, x: &Product, kc: usize) -> usize {
        let rows = Layout::together(x) * x.kernels.mr();
        (rows * Layout::a_stride(kc) + x.kernels.lanes).next_multiple_of(16)
    }

    /// From one row to the next in a copy of a: an odd number of cache lines or nearly so, for
    /// the same reason as [`COLLIDING`].
    pub(super) fn a_stride(kc: usize) -> usize {
        kc.next_multiple_of(16) + 16
    }
}

/// Where copies are put.
pub(super) struct Rooms<'a> {
    pub(super) a: &'a mut [f32],
    pub(super) b: &'a mut [f32],
}

/// One step of the outer loops.
pub(super) struct Step<'a> {
    pub(super) x: &'a Product<'a>,
    pub(super) layout: Layout,
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
    pub(super) ks: Range<usize>,
    /// Whether c holds a sum already.
    pub(super) accumulate: bool,
    /// Whether c is finished with this step.
    pub(super) last: bool,
}

impl Step<'_> {
    /// Panels outside, rows inside. The rooms hold all rows of a and one panel of b.
    ///
    /// # Safety
    /// The rectangle lies inside c and belongs to this thread.
    pub(super) unsafe fn by_panels(&self, rooms: &mut Rooms) {
        let blocks = Cut::new(self.rows.clone(), self.x.kernels.mr());
        let origin = self.rows.start;
        if self.layout.copy_a {
            self.copy_a(
                blocks.iter(0..blocks.len()),
                0..self.pieces(&self.rows),
                rooms.a,
            );
        }
        for q in 0..self.panels() {
            for n in 0..blocks.len() {
                let i = blocks.get(n);
                let next = blocks.get((n + 1) % blocks.len());
                // The first panel brings all rows in; they stay in L2.
                let rows = if q == 0 { i.len() } else { 0 };
                let ahead = Ahead::of(&self.lhs(&next, origin, rooms.a), rows);
                let b = if n == 0 {
                    self.first_panel(q, rooms.b)
                } else {
                    self.later_panel(q, rooms.b)
                };
                let b_next = if n + 1 == blocks.len() {
                    self.b_at(q + 1)
                } else {
                    b
                };
                let a = self.lhs(&i, origin, rooms.a);
                // SAFETY: the caller's promise about c; the operands are where they lie or were
                // copied for these rows and this panel.
                unsafe { self.tile(&i, q, a, b, ahead, b_next) }
            }
        }
    }

    /// Rows outside, panels inside. The rooms hold two halves for blocks of rows of a and all
    /// panels of b. While one half is multiplied, the other is filled, some of it before each
    /// tile, so that the copying takes place in the shade of the multiply-adds.
    ///
    /// # Safety
    /// The rectangle lies inside c and belongs to this thread.
    pub(super) unsafe fn by_rows(&self, rooms: &mut Rooms) {
        let (x, panels) = (self.x, self.panels());
        let nr = x.kernels.nr();
        let blocks = Cut::new(self.rows.clone(), x.kernels.mr());
        let together = Layout::together(x);
        // The n-th group of blocks, and all its rows.
        let group = |n: usize| blocks.iter(n * together..(n + 1) * together);
        let rows = |n: usize| {
            let (first, last) = (group(n).next(), group(n).last());
            let end = blocks.get(blocks.len()).start;
            first.map_or(end, |i| i.start)..last.map_or(end, |i| i.end)
        };
        if self.layout.copy_a {
            self.copy_a(group(0), 0..self.pieces(&rows(0)), rooms.a);
        }
        for n in 0..blocks.len() {
            let i = blocks.get(n);
            let (current, later) = (n / together, n / together + 1);
            let (now, then) = rooms.a.split_at_mut(rooms.a.len() / 2);
            let (now, then) = if current.is_multiple_of(2) {
                (now, then)
            } else {
                (then, now)
            };
            let tiles = group(current).count() * panels;
            let copies = if self.layout.copy_a {
                self.pieces(&rows(later))
            } else {
                0
            };
            let a = self.lhs(&i, rows(current).start, now);
            for q in 0..panels {
                let at = if self.layout.pack_b {
                    q * self.ks.len() * nr
                } else {
                    0
                };
                let (b, b_next) = if n == 0 {
                    (self.first_panel(q, &mut rooms.b[at..]), self.b_at(q + 1))
                } else {
                    let b = self.later_panel(q, &rooms.b[at..]);
                    let next = b.start.wrapping_add(self.ks.len() * nr);
                    (b, Panel { start: next, ..b })
                };
                if copies > 0 {
                    let tile = n % together * panels + q;
                    let some = copies * tile / tiles..copies * (tile + 1) / tiles;
                    self.copy_a(group(later), some, then);
                }
                // A share of the rows that are read, or copied, with the next block.
                let next = if self.layout.copy_a {
                    i.end + i.len()
                } else {
                    i.end
                };
                let first = i.len() * q / panels;
                let count = i.len() * (q + 1) / panels - first;
                let ahead = self.a_at(next + first, self.ks.start);
                let ahead = Ahead::of(&ahead, count);
                // SAFETY: the caller's promise about c; the operands are where they lie or were
                // copied for these rows and this panel.
                unsafe { self.tile(&i, q, a, b, ahead, b_next) }
            }
        }
    }

    fn panels(&self) -> usize {
        self.cols.len().div_ceil(self.x.kernels.nr())
    }

    /// The columns of panel q.
    fn panel_cols(&self, q: usize) -> Range<usize> {
        let nr = self.x.kernels.nr();
        let start = self.cols.start + q * nr;
        start..self.cols.end.min(start + nr)
    }

    /// Rows of a from `row` and columns from `k` on, where they lie.
    fn a_at(&self, row: usize, k: usize) -> Lhs {
        let a = self.x.a;
        let at = row * a.row_stride + k * a.col_stride;
        Lhs {
            start: a.data.as_ptr().wrapping_add(at),
            row_stride: a.row_stride,
            col_stride: a.col_stride,
        }
    }

    /// In how many pieces rows of a are copied: contiguous rows one by one, else slabs of k.
    fn pieces(&self, rows: &Range<usize>) -> usize {
        if self.x.a.col_stride == 1 {
            rows.len()
        } else {
            self.ks.len().div_ceil(SLAB)
        }
    }

    /// Copies some pieces of neighbouring blocks of rows of a: contiguous rows to rows, everything
    /// else to columns. Those go slab by slab through all blocks, so that what is contiguous in
    /// memory is read together.
    fn copy_a(
        &self,
        blocks: impl Iterator<Item = Range<usize>> + Clone,
        some: Range<usize>,
        room: &mut [f32],
    ) {
        let (x, ks, stride) = (self.x, &self.ks, Layout::a_stride(self.ks.len()));
        let Some(origin) = blocks.clone().next().map(|i| i.start) else {
            return;
        };
        if some.is_empty() {
            return;
        }
        if x.a.col_stride == 1 {
            let to = &mut room[some.start * stride..];
            let rows = (origin + some.start, some.len());
            return pack::panel(x.kernels, x.a, rows, (ks.start, ks.len()), to, stride);
        }
        for piece in some {
            let p = piece * SLAB;
            let slab = (ks.start + p, SLAB.min(ks.len() - p));
            blocks.clone().for_each(|i| {
                let at = (i.start - origin) * stride + p * i.len();
                let rows = (i.start, i.len());
                pack::panel(x.kernels, x.a.t(), slab, rows, &mut room[at..], i.len());
            });
        }
    }

    /// Rows `i` of a: what [`Step::copy_a`] has made, or where they lie.
    fn lhs(&self, i: &Range<usize>, origin: usize, room: &[f32]) -> Lhs {
        if !self.layout.copy_a {
            return self.a_at(i.start, self.ks.start);
        }
        let stride = Layout::a_stride(self.ks.len());
        let (row_stride, col_stride) = if self.x.a.col_stride == 1 {
            (stride, 1)
        } else {
            (1, i.len())
        };
        Lhs {
            start: room.as_ptr().wrapping_add((i.start - origin) * stride),
            row_stride,
            col_stride,
        }
    }

    /// Panel q of b where it lies.
    fn b_at(&self, q: usize) -> Panel {
        let (nr, ks) = (self.x.kernels.nr(), &self.ks);
        let col = self.cols.start + q * nr;
        match self.x.b {
            Rhs::Packed(data, n) => {
                let at = ks.start * n.next_multiple_of(nr) + col * ks.len();
                Panel::packed(data.as_ptr().wrapping_add(at), self.x.kernels)
            }
            Rhs::Plain(b) => Panel {
                start: b
                    .data
                    .as_ptr()
                    .wrapping_add(ks.start * b.row_stride + col * b.col_stride),
                row_stride: b.row_stride,
                exact: true,
                pack_to: std::ptr::null_mut(),
            },
        }
    }

    /// Panel q for the first block of rows that it meets: packed now, or by the tile in passing.
    fn first_panel(&self, q: usize, room: &mut [f32]) -> Panel {
        let x = self.x;
        let cols = self.panel_cols(q);
        let (width, nr) = (cols.len(), x.kernels.nr());
        match x.b {
            Rhs::Plain(b) if self.layout.pack_b => {
                if b.col_stride == 1 && width == nr && self.rows.len() > FEW_BLOCKS * x.kernels.mr()
                {
                    return Panel {
                        pack_to: room.as_mut_ptr(),
                        ..self.b_at(q)
                    };
                }
                let ks = (self.ks.start, self.ks.len());
                pack::panel(x.kernels, b, ks, (cols.start, width), room, nr);
                Panel::packed(room.as_ptr(), x.kernels)
            }
            _ => self.b_at(q),
        }
    }

    /// Panel q for the blocks of rows that follow.
    fn later_panel(&self, q: usize, room: &[f32]) -> Panel {
        if self.layout.pack_b {
            Panel::packed(room.as_ptr(), self.x.kernels)
        } else {
            self.b_at(q)
        }
    }

    /// One tile: rows `i` by panel `q`. While it is computed, rows `ahead` of a and the start of
    /// `b_next` are brought in.
    ///
    /// # Safety
    /// The tile lies inside c and belongs to this thread; `a` and `b` have its rows and columns
    /// and the step's k.
    #[inline]
    unsafe fn tile(
        &self,
        i: &Range<usize>,
        q: usize,
        a: Lhs,
        b: Panel,
        ahead: Ahead,
        b_next: Panel,
    ) {
        let (x, kernels) = (self.x, self.x.kernels);
        let cols = self.panel_cols(q);
        let mut tile = Tile {
            k: self.ks.len(),
            a: a.start,
            a_row_stride: a.row_stride,
            a_col_stride: a.col_stride,
            b: b.start,
            b_row_stride: b.row_stride,
            packed: b.pack_to,
            c: x.c.wrapping_add(i.start * x.c_row_stride + cols.start),
            c_row_stride: x.c_row_stride,
            last: cols.len() - (cols.len() - 1) / kernels.lanes * kernels.lanes,
            accumulate: self.accumulate,
            ahead: ahead.start,
            ahead_step: ahead.step,
            ahead_jump: ahead.jump,
            ahead_parts: ahead.parts,
            b_next: b_next.start,
            b_next_stride: b_next.row_stride,
            bias: match x.epilogue.bias {
                Some(bias) if self.last => bias[cols.start..].as_ptr(),
                _ => std::ptr::null(),
            },
            activation: if self.last {
                x.epilogue.activation
            } else {
                Activation::Identity
            },
        };
        let (rows, width, a_rows) = (i.len(), cols.len(), a.row_stride != 1);
        let run = if !b.pack_to.is_null() {
            kernels.packing_tile(rows, width, a_rows)
        } else if b.exact && tile.last < kernels.lanes {
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
        } else {
            kernels.tile(rows, width, a_rows)
        };
        // SAFETY: `Kernels` exist only where their instruction set does. The tile is part of the
        // rectangle; its operands are the caller's promise, and rows of b that end inside a
        // vector are packed or masked. Only a whole panel is packed, to where it has room.
        unsafe { run(&tile) }
    }
}
