//! The tiles of a block of rows, one after the other.

use super::kernels::Kernels;
use super::operands::Panel;
use super::tile::{Tile, TileFn};
use std::ops::Range;

/// A block of rows and the tile of it that is computed.
///
/// The tile is made from the one before it, number by number and in place: what is read in other
/// pieces than it was written in, as copies of structures are, waits until every element of c that
/// was written before it has reached the cache. And all that is the same for most tiles is found
/// once: with short k, a tile takes no longer than a hundred instructions one after the other.
pub(super) struct Strip {
    kernels: &'static Kernels,
    rows: usize,
    /// Whether blocks of a are copies, each with columns as long as it is high.
    copied: bool,
    /// Those of the first column.
    c: *mut f32,
    bias: *const f32,
    /// For a panel of so many columns.
    nr: usize,
    whole: TileFn,
    pub(super) tile: Tile,
}

impl Strip {
    /// A block of so many rows. `tile` knows its a, its first column's c and bias, and all that is
    /// one for the whole step.
    pub(super) fn new(kernels: &'static Kernels, rows: usize, copied: bool, tile: Tile) -> Strip {
        let nr = kernels.nr();
        Strip {
            kernels,
            rows,
            copied,
            c: tile.c,
            bias: tile.bias,
            nr,
            whole: kernels.tile(rows, nr, tile.a_row_stride != 1),
            tile,
        }
    }

    /// On to another block of so many rows, which `a` points to.
    #[inline(always)]
    pub(super) fn go_to(&mut self, rows: usize, a: *const f32, c: *mut f32) {
        self.c = c;
        self.tile.a = a;
        if rows != self.rows {
            self.rows = rows;
            if self.copied {
                self.tile.a_col_stride = rows;
            }
            let a_rows = self.tile.a_row_stride != 1;
            self.whole = self.kernels.tile(rows, self.nr, a_rows);
        }
    }

    /// The tile of panel `cols`. While it is computed, what it says of `ahead` and the start of
    /// `b_next` are brought in.
    ///
    /// # Safety
    /// The tile lies inside c and belongs to this thread; a and `b` have its rows and columns and
    /// the step's k.
    #[inline(always)]
    pub(super) unsafe fn run(&mut self, cols: Range<usize>, b: Panel, b_next: Panel) {
        let tile = &mut self.tile;
        tile.b = b.start;
        tile.b_row_stride = b.row_stride;
        tile.packed = b.pack_to;
        tile.c = self.c.wrapping_add(cols.start);
        tile.b_next = b_next.start;
        tile.b_next_stride = b_next.row_stride;
        if !self.bias.is_null() {
            tile.bias = self.bias.wrapping_add(cols.start);
        }
        let run = if cols.len() == self.nr && b.pack_to.is_null() {
            tile.last = self.kernels.lanes;
            self.whole
        } else {
            self.other(cols.len(), b)
        };
        // SAFETY: `Kernels` exist only where their instruction set does. The tile is part of the
        // rectangle; its operands are the caller's promise, and rows of b that end inside a
        // vector are packed or masked. Only a whole panel is packed, to where it has room.
        unsafe { run(&self.tile) }
    }

    /// What runs a panel that is packed or not whole.
    #[inline(never)]
    fn other(&mut self, width: usize, b: Panel) -> TileFn {
        let (kernels, tile) = (self.kernels, &mut self.tile);
        tile.last = width - (kernels.vectors(width) - 1) * kernels.lanes;
        let a_rows = tile.a_row_stride != 1;
        if !b.pack_to.is_null() {
            kernels.packing_tile(self.rows, width, a_rows)
        } else if b.exact && tile.last < kernels.lanes {
            kernels.masked_tile(self.rows, width, a_rows)
        } else {
            kernels.tile(self.rows, width, a_rows)
        }
    }
}
