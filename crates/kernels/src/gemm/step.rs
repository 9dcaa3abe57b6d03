//! One block of k: the two inner loops, in either order, and what each tile is given.

use super::Activation;
use super::block::{Product, Rhs};
use super::layout::{CopyOfA, FEW_BLOCKS, Layout, Rooms};
use super::operands::{Ahead, Lhs, Panel};
use super::pack;
use super::strip::Strip;
use super::tile::Tile;
use crate::cache::LINE;
use crate::cut::Cut;
use std::ops::Range;

/// How much of k is copied at a time.
const SLAB: usize = 16;
/// So many blocks of rows meet a panel of b before the next one is packed: enough that its lines
/// come in meanwhile.
const HEAD: usize = 6;

/// One step of the outer loops.
pub(super) struct Step<'a> {
    pub(super) x: &'a Product<'a>,
    pub(super) layout: Layout,
    pub(super) copy_of_a: CopyOfA,
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
        if self.layout.copy_a {
            self.copy_a(blocks.iter(0..blocks.len()), 0..self.slabs(), rooms.a);
        }
        // SAFETY: the caller's promise.
        unsafe { self.panels_outside(&blocks, blocks.len(), 0, rooms) }
    }

    /// Panels outside, the first blocks of rows inside. Packed panels are so far apart in their
    /// room. While the later blocks meet a panel, the next one comes in as it lies, so that the
    /// first block, which packs it, does not wait for it.
    ///
    /// # Safety
    /// The rectangle lies inside c and belongs to this thread.
    unsafe fn panels_outside(&self, blocks: &Cut, count: usize, apart: usize, rooms: &mut Rooms) {
        let (k, origin) = (self.ks.len(), self.rows.start);
        let shares = Cut::into(0..k, count - 1);
        let mut next = blocks.get(0);
        let mut next_a = self.lhs(&next, origin, rooms.a);
        let mut strip = self.strip(&next, next_a);
        for q in 0..self.panels() {
            let panel = self.panel(q);
            let room = &mut rooms.b[q * apart..];
            for n in 0..count {
                let (i, a, is_last) = (next, next_a, n + 1 == count);
                next = blocks.get(if is_last { 0 } else { n + 1 });
                next_a = self.lhs(&next, origin, rooms.a);
                let b = match n {
                    0 => self.first_panel(q, room),
                    _ => self.later_panel(q, room),
                };
                let b_next = if is_last { self.b_at(q + 1) } else { b };
                strip.go_to(i.len(), a.start, self.c_at(&i));
                strip.tile.ahead = match (q, n) {
                    // The first panel brings all rows in; they stay in L2.
                    (0, _) => Ahead::of(&next_a, i.len(), k),
                    (_, 1..) if self.layout.pack_b => self.ahead_of_panel(q + 1, shares.get(n - 1)),
                    _ => Ahead::nothing(a.start),
                };
                // SAFETY: the caller's promise about c; the operands are where they lie or were
                // copied for these rows and this panel.
                unsafe { strip.run(panel.clone(), b, b_next) }
            }
        }
    }

    /// Rows outside, panels inside. The rooms hold two halves for blocks of rows of a, or all of
    /// them, and all panels of b. While one half is multiplied, the other is filled, some of it
    /// before each tile, which brings in what the next one copies: so that the copying takes place
    /// in the shade of the multiply-adds.
    ///
    /// # Safety
    /// The rectangle lies inside c and belongs to this thread.
    pub(super) unsafe fn by_rows(&self, rooms: &mut Rooms) {
        let (x, panels) = (self.x, self.panels());
        let panel_len = self.ks.len() * x.kernels.nr();
        let blocks = Cut::new(self.rows.clone(), x.kernels.mr());
        let together = self.layout.together;
        let (mut current, mut among) = (0, 0);
        // The n-th group of blocks, and all its rows.
        let group = |n: usize| blocks.iter(n * together..(n + 1) * together);
        let rows = |n: usize| {
            let (first, last) = (group(n).next(), group(n).last());
            let end = blocks.get(blocks.len()).start;
            first.map_or(end, |i| i.start)..last.map_or(end, |i| i.end)
        };
        let copies = self.layout.copy_a && self.copy_of_a != CopyOfA::Kept;
        if copies {
            self.copy_a(group(0), 0..self.slabs(), rooms.a);
        }
        let half = match self.copy_of_a {
            CopyOfA::InPassing => rooms.a.len() / 2,
            _ => rooms.a.len() / blocks.len().div_ceil(together).max(1),
        };
        match x.b {
            Rhs::Plain(b) if self.layout.at_once => {
                let ks = (self.ks.start, self.ks.len());
                pack::panels(x.kernels, b, ks, self.cols.clone(), rooms.b);
            }
            _ => {}
        }
        // A share of what is copied, or read with the next block, comes in with each tile.
        let tallest = self.rows.len().div_ceil(blocks.len());
        let shares = match (copies, self.layout.copy_a) {
            (true, _) => Cut::into(0..self.slabs(), together * panels),
            (_, true) => Cut::into(0..tallest * self.ks.len(), panels),
            _ => Cut::into(0..tallest, panels),
        };
        let (nr, whole) = (x.kernels.nr(), x.kernels.whole_panels(self.cols.len()));
        let first = blocks.get(0);
        let mut strip = self.strip(&first, self.lhs(&first, first.start, rooms.a));
        let head = if self.layout.pack_b && !self.layout.at_once && !self.layout.copy_a {
            HEAD.min(blocks.len())
        } else {
            0
        };
        if head > 0 {
            // SAFETY: the caller's promise.
            unsafe { self.panels_outside(&blocks, head, panel_len, rooms) }
        }
        for n in head..blocks.len() {
            let i = blocks.get(n);
            if among == together {
                (current, among) = (current + 1, 0);
            }
            let later = if copies { rows(current + 1) } else { 0..0 };
            let next_kept = {
                let next = current + usize::from(among + 1 == together);
                let at = (i.end - rows(next).start) * Layout::a_pitch(self.ks.len());
                rooms.a.as_ptr().wrapping_add(next * half + at)
            };
            let (now, then) = match self.copy_of_a {
                CopyOfA::InPassing if !current.is_multiple_of(2) => {
                    let (then, now) = rooms.a.split_at_mut(half);
                    (now, then)
                }
                CopyOfA::InPassing => rooms.a.split_at_mut(half),
                _ => rooms.a[current * half..].split_at_mut(half),
            };
            // So many rows have a packed b.
            let b_start = if self.layout.pack_b {
                rooms.b.as_ptr()
            } else {
                self.b_at(0).start
            };
            let packed = |q: usize| Panel::packed(b_start.wrapping_add(q * panel_len), x.kernels);
            let a = self.lhs(&i, rows(current).start, now);
            strip.go_to(i.len(), a.start, self.c_at(&i));
            for q in 0..panels {
                strip.tile.ahead = if copies {
                    let tile = among * panels + q;
                    self.copy_a(group(current + 1), shares.get(tile), then);
                    self.ahead_of_copy(later.clone(), shares.get(tile + 1))
                } else if self.layout.copy_a {
                    let some = shares.get(q);
                    Ahead::contiguous(next_kept.wrapping_add(some.start), some.len())
                } else {
                    let some = shares.get(q);
                    let rows = self.a_at(i.end + some.start, self.ks.start);
                    Ahead::of(&rows, some.len(), self.ks.len())
                };
                let (b, b_next) = if n == 0 && self.layout.pack_b && !self.layout.at_once {
                    let room = &mut rooms.b[q * panel_len..];
                    (self.first_panel(q, room), self.b_at(q + 1))
                } else {
                    (packed(q), packed(q + 1))
                };
                let cols = match q < whole {
                    true => q * nr..(q + 1) * nr,
                    false => self.panel(q),
                };
                // SAFETY: the caller's promise about c; the operands are where they lie or were
                // copied for these rows and this panel.
                unsafe { strip.run(cols, b, b_next) }
            }
            among += 1;
        }
    }

    fn panels(&self) -> usize {
        self.x.kernels.panels(self.cols.len())
    }

    /// The columns of panel q, counted from the first of this step.
    #[inline]
    fn panel(&self, q: usize) -> Range<usize> {
        self.x.kernels.panel(self.cols.len(), q)
    }

    /// Rows of a from `row` and columns from `k` on, where they lie.
    #[inline(always)]
    fn a_at(&self, row: usize, k: usize) -> Lhs {
        let a = self.x.a;
        let at = row * a.row_stride + k * a.col_stride;
        Lhs {
            start: a.data.as_ptr().wrapping_add(at),
            row_stride: a.row_stride,
            col_stride: a.col_stride,
        }
    }

    /// In how many pieces a is copied.
    fn slabs(&self) -> usize {
        self.ks.len().div_ceil(SLAB)
    }

    /// Slab `piece` of k.
    fn slab(&self, piece: usize) -> Range<usize> {
        piece * SLAB..self.ks.len().min((piece + 1) * SLAB)
    }

    /// Copies some slabs of neighbouring blocks of rows of a to columns: slab by slab through all
    /// blocks, so that what is contiguous in memory is read together.
    fn copy_a(
        &self,
        blocks: impl Iterator<Item = Range<usize>> + Clone,
        some: Range<usize>,
        room: &mut [f32],
    ) {
        let (x, k) = (self.x, self.ks.len());
        let Some(origin) = blocks.clone().next().map(|i| i.start) else {
            return;
        };
        for piece in some {
            let slab = self.slab(piece);
            let from = (self.ks.start + slab.start, slab.len());
            blocks.clone().for_each(|i| {
                let at = (i.start - origin) * Layout::a_pitch(k) + slab.start * i.len();
                let rows = (i.start, i.len());
                pack::panel(x.kernels, x.a.t(), from, rows, &mut room[at..], i.len());
            });
        }
    }

    /// What [`Step::copy_a`] reads of `rows` for some slabs, as far as it is contiguous.
    #[inline(always)]
    fn ahead_of_copy(&self, rows: Range<usize>, some: Range<usize>) -> Ahead {
        let a = self.x.a;
        if a.row_stride != 1 && a.col_stride != 1 || rows.is_empty() || some.is_empty() {
            return Ahead::of(&self.a_at(self.rows.start, self.ks.start), 0, 0);
        }
        let k = self.slab(some.start).start..self.slab(some.end - 1).end;
        let (len, jump, parts) = if a.row_stride == 1 {
            (rows.len(), a.col_stride, k.len())
        } else {
            (k.len(), a.row_stride, rows.len())
        };
        Ahead {
            start: self.a_at(rows.start, self.ks.start + k.start).start,
            len,
            jump,
            parts,
        }
    }

    /// Some rows of panel q of b where it lies, whole lines.
    fn ahead_of_panel(&self, q: usize, some: Range<usize>) -> Ahead {
        let (panel, cols) = (self.b_at(q), self.panel(q));
        match self.x.b {
            Rhs::Plain(b) if b.col_stride == 1 && !cols.is_empty() => {
                let inside = panel.start.addr() % LINE / size_of::<f32>();
                Ahead {
                    start: panel
                        .start
                        .wrapping_add(some.start * b.row_stride)
                        .wrapping_sub(inside),
                    len: inside + cols.len(),
                    jump: b.row_stride,
                    parts: some.len(),
                }
            }
            _ => Ahead::nothing(panel.start),
        }
    }

    /// Rows `i` of a: what [`Step::copy_a`] has made, or where they lie.
    fn lhs(&self, i: &Range<usize>, origin: usize, room: &[f32]) -> Lhs {
        if !self.layout.copy_a {
            return self.a_at(i.start, self.ks.start);
        }
        let at = (i.start - origin) * Layout::a_pitch(self.ks.len());
        Lhs {
            start: room.as_ptr().wrapping_add(at),
            row_stride: 1,
            col_stride: i.len(),
        }
    }

    /// Panel q of b where it lies.
    #[inline(always)]
    fn b_at(&self, q: usize) -> Panel {
        let (kernels, ks) = (self.x.kernels, &self.ks);
        let col = self.cols.start + kernels.panel_start(self.cols.len(), q);
        match self.x.b {
            Rhs::Packed(data, n) => {
                let (all, q) = (kernels.panels(n), kernels.panels(self.cols.start) + q);
                let at = (ks.start * all + q * ks.len()) * kernels.nr();
                Panel::packed(data.as_ptr().wrapping_add(at), kernels)
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
    #[inline(always)]
    fn first_panel(&self, q: usize, room: &mut [f32]) -> Panel {
        let x = self.x;
        let cols = self.panel(q);
        let (start, width, nr) = (self.cols.start + cols.start, cols.len(), x.kernels.nr());
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
                pack::panel(x.kernels, b, ks, (start, width), room, nr);
                Panel::packed(room.as_ptr(), x.kernels)
            }
            _ => self.b_at(q),
        }
    }

    /// Panel q for the blocks of rows that follow.
    #[inline(always)]
    fn later_panel(&self, q: usize, room: &[f32]) -> Panel {
        if self.layout.pack_b {
            Panel::packed(room.as_ptr(), self.x.kernels)
        } else {
            self.b_at(q)
        }
    }

    /// The first column of rows `i` of c.
    #[inline(always)]
    fn c_at(&self, i: &Range<usize>) -> *mut f32 {
        let at = i.start * self.x.c_row_stride + self.cols.start;
        self.x.c.wrapping_add(at)
    }

    /// The tiles of rows `i`, which lie at `a`.
    fn strip(&self, i: &Range<usize>, a: Lhs) -> Strip {
        let x = self.x;
        let bias = match x.epilogue.bias {
            Some(bias) if self.last => bias[self.cols.start..].as_ptr(),
            _ => std::ptr::null(),
        };
        let tile = Tile {
            k: self.ks.len(),
            a: a.start,
            a_row_stride: a.row_stride,
            a_col_stride: a.col_stride,
            b: std::ptr::null(),
            b_row_stride: 0,
            packed: std::ptr::null_mut(),
            c: self.c_at(i),
            c_row_stride: x.c_row_stride,
            last: 0,
            accumulate: self.accumulate,
            ahead: Ahead::nothing(a.start),
            b_next: std::ptr::null(),
            b_next_stride: 0,
            bias,
            activation: if self.last {
                x.epilogue.activation
            } else {
                Activation::Identity
            },
        };
        Strip::new(x.kernels, i.len(), self.layout.copy_a, tile)
    }
}
