//! Where a tile finds its operands, and what it brings in for later.

use super::kernels::Kernels;

/// A block of rows of a: the first element and the strides, one of which is 1.
#[derive(Clone, Copy)]
pub(super) struct Lhs {
    pub(super) start: *const f32,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

/// What a tile brings in for later: `parts` pieces of `len` elements, `jump` apart; with a length
/// of 0, elements `jump` apart, one a step.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub(super) start: *const f32,
    pub(super) len: usize,
    pub(super) jump: usize,
    pub(super) parts: usize,
}

impl Ahead {
    /// Nothing. Tiles ask for `near` all the same: something that is there, since looking for a
    /// page that is not takes long.
    #[inline(always)]
    pub(super) fn nothing(near: *const f32) -> Ahead {
        Ahead {
            start: near,
            len: 0,
            jump: 0,
            parts: 0,
        }
    }

    /// So many elements one after the other.
    #[inline(always)]
    pub(super) fn contiguous(start: *const f32, len: usize) -> Ahead {
        Ahead {
            start,
            len,
            jump: 0,
            parts: 1,
        }
    }

    /// The first `rows` rows of `a`, which has `k` columns.
    #[inline(always)]
    pub(super) fn of(a: &Lhs, rows: usize, k: usize) -> Ahead {
        let (len, jump, parts) = if a.col_stride == 1 {
            (k, a.row_stride, rows)
        } else {
            // An element of a column brings in its neighbours, the other rows.
            (0, a.col_stride, rows.min(1))
        };
        Ahead {
            start: a.start,
            len,
            jump,
            parts,
        }
    }
}

/// A panel of b: the first element and the distance between rows.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub(super) start: *const f32,
    pub(super) row_stride: usize,
    /// Whether rows may only be read up to their end.
    pub(super) exact: bool,
    /// Where the tile packs it to in passing, or null.
    pub(super) pack_to: *mut f32,
}

impl Panel {
    #[inline(always)]
    pub(super) fn packed(start: *const f32, kernels: &Kernels) -> Panel {
        Panel {
            start,
            row_stride: kernels.nr(),
            exact: false,
            pack_to: std::ptr::null_mut(),
        }
    }
}
