//! The tiles of a block of rows, one after the other.

use super::kernels::Kernels;
use super::operands::Panel;
use super::tile::Tile;
use std::ops::Range;

/// A block of rows and the tile of it that is computed.
///
/// The tile is made from the one before it, number by number and in place: what is read in other
/// pieces than it was written in, as copies of structures are, waits until every element of c that
/// was written before it has reached the cache.
pub(super) struct Strip {
    pub(super) kernels: &'static Kernels,
    pub(super) rows: usize,
    /// Those of the first column.
    pub(super) c: *mut f32,
    pub(super) bias: *const f32,
    pub(super) tile: Tile,
}

impl Strip {
    /// The tile of panel `cols`. While it is computed, what it says of `ahead` and the start of
    /// `b_next` are brought in.
    ///
    /// # Safety
    /// The tile lies inside c and belongs to this thread; a and `b` have its rows and columns and
    /// the step's k.
    #[inline(always)]
    pub(super) unsafe fn run(&mut self, cols: &Range<usize>, b: Panel, b_next: Panel) {
        let (kernels, width, tile) = (self.kernels, cols.len(), &mut self.tile);
        tile.b = b.start;
        tile.b_row_stride = b.row_stride;
        tile.packed = b.pack_to;
        tile.c = self.c.wrapping_add(cols.start);
        tile.last = width - (kernels.vectors(width) - 1) * kernels.lanes;
        tile.b_next = b_next.start;
        tile.b_next_stride = b_next.row_stride;
        if !self.bias.is_null() {
            tile.bias = self.bias.wrapping_add(cols.start);
        }
        let a_rows = tile.a_row_stride != 1;
        let run = if !b.pack_to.is_null() {
            kernels.packing_tile(self.rows, width, a_rows)
        } else if b.exact && tile.last < kernels.lanes {
            kernels.masked_tile(self.rows, width, a_rows)
        } else {
            kernels.tile(self.rows, width, a_rows)
        };
        // SAFETY: `Kernels` exist only where their instruction set does. The tile is part of the
        // rectangle; its operands are the caller's promise, and rows of b that end inside a
        // vector are packed or masked. Only a whole panel is packed, to where it has room.
        unsafe { run(tile) }
    }
}
