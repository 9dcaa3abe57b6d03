//! What an instruction set brings to the product: a table of microkernels and a transposing copy.

use super::layout::FEW_BLOCKS;
use super::tile::TileFn;
use crate::simd::{Isa, IsaKind};
use std::ops::Range;

/// Copies `rows` rows of k contiguous elements to columns: to[p * to_stride + i] = from[i *
/// from_stride + p]. Lanes of `to` beyond `rows` get numbers of no meaning.
///
/// # Safety
/// The machine has the instruction set; 1 <= rows <= lanes; every element of `from` can be read
/// and `lanes` elements can be written at `to + p * to_stride` for each p < k. With a
/// `to_stride` below `lanes`, later columns overwrite what spills over.
pub(super) type TransposeFn = unsafe fn(*const f32, usize, usize, usize, *mut f32, usize);

/// Copies k rows of `width` elements: to[p * to_stride + j] = from[p * from_stride + j] for
/// j < width, in whole vectors on the side of `to`.
///
/// # Safety
/// The machine has the instruction set; every element of `from` can be read; `width`, rounded up
/// to vectors, elements can be written at `to + p * to_stride` for each p < k.
pub(super) type CopyFn = unsafe fn(*const f32, usize, usize, usize, *mut f32, usize);

/// The functions of one instruction set. Held only behind [`Kernels::of`].
pub(super) struct Kernels {
    /// How many f32 a vector holds, a power of two.
    pub(super) lanes: usize,
    /// Microkernels by [vectors - 1][rows - 1][form].
    pub(super) tiles: &'static [&'static [[TileFn; 2]]],
    /// The same, packing b on the way, for the tallest tiles: by [vectors - 1][MR - rows][form].
    pub(super) packing: &'static [&'static [[TileFn; 2]]],
    /// The same with the last vector read through a mask.
    pub(super) masked: &'static [&'static [[TileFn; 2]]],
    pub(super) transpose: TransposeFn,
    pub(super) copy: CopyFn,
    /// Kernels with wider tiles of fewer rows, for matrices with room for them.
    pub(super) wider: Option<&'static Kernels>,
}

impl Kernels {
    /// The kernels of an instruction set, if there are any of our own.
    pub(super) fn of(isa: Isa) -> Option<&'static Kernels> {
        match isa.kind() {
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx512 => Some(&super::x86::AVX512),
            #[cfg(target_arch = "x86_64")]
            IsaKind::Avx2 => Some(&super::x86::AVX2),
            _ => None,
        }
    }

    /// The kernels for products with so many columns. By this alone, so that a packed operand
    /// fits every product that it is used in.
    pub(super) fn for_columns(&'static self, cols: usize) -> &'static Kernels {
        match self.wider {
            Some(wider) if wider.fit(cols) => wider,
            _ => self,
        }
    }

    /// The kernels for a product of `rows` x `cols` whose operands are as they lie in memory. One
    /// or two blocks of rows are better off if those are tall: b is not packed for them.
    pub(super) fn for_product(&'static self, rows: usize, cols: usize) -> &'static Kernels {
        if rows > FEW_BLOCKS * self.mr() {
            self.for_columns(cols)
        } else {
            self
        }
    }

    /// Whether there is room for a tile of three vectors and no panel of one besides.
    fn fit(&self, cols: usize) -> bool {
        let vectors = self.vectors(cols);
        vectors >= self.tiles.len() && vectors != self.tiles.len() + 1
    }

    /// The tallest tile.
    pub(super) fn mr(&self) -> usize {
        self.tiles[0].len()
    }

    /// The width of the widest tile.
    pub(super) fn nr(&self) -> usize {
        self.tiles.len() * self.lanes
    }

    /// How many vectors so many columns are. A shift: this is asked for each tile.
    #[inline]
    pub(super) fn vectors(&self, cols: usize) -> usize {
        (cols + self.lanes - 1) >> self.lanes.trailing_zeros()
    }

    /// How many panels.
    #[inline]
    pub(super) fn panels(&self, cols: usize) -> usize {
        // Small products ask too, and most have one.
        if cols <= self.nr() {
            return usize::from(cols > 0);
        }
        cols.div_ceil(self.nr())
    }

    /// Where panel q of so many columns begins, or the last one ends: at multiples of NR. But a
    /// single vector is not left over where the panel before it has one to give. A matrix that is
    /// cut where panels begin has the same panels in each part.
    #[inline]
    pub(super) fn panel_start(&self, cols: usize, q: usize) -> usize {
        let (nr, widest) = (self.nr(), self.tiles.len());
        let start = q * nr;
        if start + nr < cols || q == 0 {
            return start;
        }
        if start >= cols {
            cols
        } else if widest > 2 && cols - start <= self.lanes {
            start - self.lanes
        } else {
            start
        }
    }

    /// How many panels are whole, the first ones: all but the last, or but two that share what is
    /// left.
    #[inline]
    pub(super) fn whole_panels(&self, cols: usize) -> usize {
        let nr = self.nr();
        let count = cols / nr;
        count - usize::from(self.panel_start(cols, count) < count * nr)
    }

    /// The columns of panel q.
    #[inline]
    pub(super) fn panel(&self, cols: usize, q: usize) -> Range<usize> {
        self.panel_start(cols, q)..self.panel_start(cols, q + 1)
    }

    /// The microkernel for a tile of `rows` x `cols`. `a_rows`: rows of a are contiguous, else
    /// its columns are.
    #[inline]
    pub(super) fn tile(&self, rows: usize, cols: usize, a_rows: bool) -> TileFn {
        self.tiles[self.vectors(cols) - 1][rows - 1][usize::from(a_rows)]
    }

    /// As [`Kernels::tile`], packing b on the way. The first of three or more nearly equal blocks
    /// of rows is tall enough for it.
    #[inline]
    pub(super) fn packing_tile(&self, rows: usize, cols: usize, a_rows: bool) -> TileFn {
        self.packing[self.vectors(cols) - 1][self.mr() - rows][usize::from(a_rows)]
    }

    /// As [`Kernels::tile`], reading no more of b than there is.
    #[inline]
    pub(super) fn masked_tile(&self, rows: usize, cols: usize, a_rows: bool) -> TileFn {
        self.masked[self.vectors(cols) - 1][rows - 1][usize::from(a_rows)]
    }
}
