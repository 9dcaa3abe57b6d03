//! The product within a step: some cells by some vectors, in registers.

use crate::simd::{Registers, Vector, load_row, mul_add_row, unroll};

/// Most cells of a tile, and most cells that a cell sees.
pub(super) const MOST: usize = 10;
pub(super) const TAPS: usize = 3;
/// Most cells of a tile of four vectors.
pub(super) const MOST_OF_FOUR: usize = 6;

/// Where the rows of the left operand are: by tap, by cell.
pub(super) type Left<T, const CELLS: usize> = [[*const T; CELLS]; TAPS];

/// How many cells by `nv` vectors there are registers for, the general ones that point to cells
/// included: more than latency times ports of the multiply-adds, where there are so many vectors.
pub(super) const fn cells(Registers { lanes, count }: Registers, nv: usize) -> usize {
    match (count, nv) {
        (16.., 1) => MOST,
        (32.., 2) if lanes >= 16 => MOST,
        (16.., 2) | (32.., _) => MOST_OF_FOUR,
        (_, 1) => 4,
        _ => 2,
    }
}

/// acc\[i\] += sum over taps and p < depth of a\[tap\]\[i\]\[p\] b\[tap * depth + p\], for `rows` cells.
///
/// # Safety
/// `depth` numbers can be read at each of the first `rows` pointers of every tap, and `NV` vectors
/// for each of the rows of b, one after the other.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, const NV: usize, const CELLS: usize, const SEEN: usize>(
    rows: usize,
    (a, taps): (&Left<V::Element, SEEN>, usize),
    depth: usize,
    b: *const V::Element,
    acc: &mut [[V; NV]; CELLS],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => tile::<V, 1, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            2 => tile::<V, 2, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            3 => tile::<V, 3, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            4 => tile::<V, 4, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            5 => tile::<V, 5, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            6 => tile::<V, 6, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            7 => tile::<V, 7, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            8 => tile::<V, 8, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            9 => tile::<V, 9, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            10 => tile::<V, 10, NV, CELLS, SEEN>(&a[..taps], depth, b, acc),
            _ => unreachable!("recurrent: a tile of {rows} cells"),
        }
    }
}

/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn tile<
    V: Vector,
    const MR: usize,
    const NV: usize,
    const CELLS: usize,
    const SEEN: usize,
>(
    a: &[[*const V::Element; SEEN]],
    depth: usize,
    mut b: *const V::Element,
    acc: &mut [[V; NV]; CELLS],
) {
    if const { MR > cells(V::REGISTERS, NV) || MR > CELLS } {
        unreachable!("recurrent: a tile of {MR} cells by {NV} vectors");
    }
    let mut sums = [[V::zero(); NV]; MR];
    sums.copy_from_slice(&acc[..MR]);
    for a in a {
        let mut from = [b; MR];
        from.copy_from_slice(&a[..MR]);
        for p in 0..depth {
            // SAFETY: the caller's promise.
            unsafe {
                let row = load_row(b, true, 0);
                unroll!(row i < MR: {
                    mul_add_row(V::splat(*from[i].add(p)), &row, &mut sums[i]);
                });
            }
            b = b.wrapping_add(NV * V::LANES);
        }
    }
    acc[..MR].copy_from_slice(&sums);
}
