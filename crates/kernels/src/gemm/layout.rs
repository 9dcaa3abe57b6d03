//! Which operands a block of k rearranges, and where the copies go.

use super::block::{Product, Rhs};
use crate::cache::{self, LINE};

/// Up to how many blocks of rows are too few to pack contiguous rows of b for.
pub(super) const FEW_BLOCKS: usize = 2;
/// Up to how many panels of b are too few to copy a for.
const FEW_PANELS: usize = 2;
/// Rows whose distance in bytes is a multiple of this all fall into the same set of L1, which
/// does not hold what a tile reads ahead of its use, nor a line of each of its rows of a.
const COLLIDING: usize = 4096;
/// Sets of so many ways do not hold the rows of b that a tile packs in passing. (With 12 ways it is
/// packing all of them at once that takes longer: 448 -> 460 GFLOP/s for 1024^3 on two threads.)
const FEW_WAYS: usize = 8;
/// Columns of a at a multiple of this share so few sets of L1 and L2 that a block of k of them is
/// gone when the next rows want the rest of its lines.
const COLLIDING_COLUMNS: usize = 1024;
/// Columns of a that are at most this far apart are as good as a copy.
const NEAR: usize = 32;

/// Most blocks of rows that are copied together, so that what is read at a time is a few cache
/// lines.
const TOGETHER: usize = 8;
/// The copies before and after take this part of L2 each.
const COPIES_OF_L2: usize = 8;

/// How many colliding rows of a may be read side by side: as sets do not replace their oldest line
/// first, a few more than there are ways. (14 rows on 12 ways are faster as they lie, on 8 ways it
/// takes 1.4 times as long as copying them before.)
fn rows_of_a_set() -> usize {
    cache::l1().ways * 5 / 4
}

/// Whether rows of b so far apart collide.
pub(super) fn collide(row_stride: usize) -> bool {
    cache::l1().ways <= FEW_WAYS && apart(row_stride, COLLIDING)
}

/// Whether so many numbers are a multiple of so many bytes.
fn apart(stride: usize, by: usize) -> bool {
    (stride * size_of::<f32>()).is_multiple_of(by)
}

/// Which operands are rearranged.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// a is copied, some blocks of rows at a time.
    pub(super) copy_a: bool,
    /// How many.
    pub(super) together: usize,
    /// b is packed into panels here.
    pub(super) pack_b: bool,
    /// All panels at once, since a pass over one would collide.
    pub(super) at_once: bool,
}

impl Layout {
    /// For so many rows of a and panels of b, and blocks of k of up to `kc`.
    pub(super) fn new(x: &Product, rows: usize, panels: usize, kc: usize) -> Layout {
        let (a, mr) = (x.a, x.kernels.mr());
        let copy_a = if a.col_stride == 1 {
            panels > FEW_PANELS && rows.min(mr) > rows_of_a_set() && apart(a.row_stride, COLLIDING)
        } else if a.row_stride == 1 {
            // What is left of their lines is there for the next rows.
            let stays =
                !apart(a.col_stride, COLLIDING_COLUMNS) && kc * LINE <= cache::l1().bytes / 4 * 3;
            (panels > FEW_PANELS || !stays) && a.col_stride > NEAR
        } else {
            true
        };
        let (pack_b, at_once) = match x.b {
            Rhs::Packed(..) => (false, false),
            Rhs::Plain(b) => {
                let collide = collide(b.row_stride);
                let many = rows > FEW_BLOCKS * mr;
                (
                    b.col_stride != 1 || many,
                    b.col_stride == 1 && many && collide,
                )
            }
        };
        let together = if copy_a {
            let block = mr * kc * size_of::<f32>();
            // The first ones are copied before anything else can be done.
            (cache::l2().bytes / COPIES_OF_L2 / block.max(1))
                .min(rows.div_ceil(5 * mr))
                .clamp(1, TOGETHER)
        } else {
            1
        };
        Layout {
            copy_a,
            together,
            pack_b,
            at_once,
        }
    }

    /// Room for what is copied together while blocks of k are at most `kc`.
    pub(super) fn half(&self, x: &Product, kc: usize) -> usize {
        let rows = self.together * x.kernels.mr();
        (rows * Layout::a_pitch(kc) + x.kernels.lanes).next_multiple_of(16)
    }

    /// Numbers for each row in a copy of a: more than there are, since whole vectors are written,
    /// and what spills over must not land on the next block of rows.
    pub(super) fn a_pitch(kc: usize) -> usize {
        kc.next_multiple_of(16) + 16
    }
}

/// What becomes of a copy of a, where rows are outside.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum CopyOfA {
    /// Each half of the room is filled anew once it has been multiplied.
    InPassing,
    /// The room is for all rows, and is filled now.
    ToKeep,
    /// It has been filled.
    Kept,
}

/// Where copies are put.
pub(super) struct Rooms<'a> {
    pub(super) a: &'a mut [f32],
    pub(super) b: &'a mut [f32],
}
