//! Rows of a microkernel's tile: `NV` vectors side by side.
//!
//! What is done to a row is a function, not part of an unrolled loop over rows: the compiler reads
//! the rounds of such a loop in every instance, those beyond its end, too.

use super::unroll::unroll;
use super::vector::Vector;

/// sums += x * row.
#[inline(always)]
pub(crate) fn mul_add_row<V: Vector, const NV: usize>(x: V, row: &[V; NV], sums: &mut [V; NV]) {
    unroll!(vector j < NV: { sums[j] = x.mul_add(row[j], sums[j]); });
}

/// `NV` vectors; the last one has only `last` numbers unless it is `whole`, and zeros after them.
///
/// # Safety
/// So many elements can be read from `x`; `last <= LANES`.
#[inline(always)]
pub(crate) unsafe fn load_row<V: Vector, const NV: usize>(
    x: *const V::Element,
    whole: bool,
    last: usize,
) -> [V; NV] {
    let mut row = [V::zero(); NV];
    unroll!(vector j < NV: {
        let x = x.wrapping_add(j * V::LANES);
        // SAFETY: the caller's.
        row[j] = unsafe {
            if whole || j + 1 < NV {
                V::load_ptr(x)
            } else {
                V::load_ptr_partial(x, last)
            }
        };
    });
    row
}

/// Writes what [`load_row`] reads.
///
/// # Safety
/// So many elements can be written to `y`; `last <= LANES`.
#[inline(always)]
pub(crate) unsafe fn store_row<V: Vector, const NV: usize>(
    row: &[V; NV],
    y: *mut V::Element,
    whole: bool,
    last: usize,
) {
    unroll!(vector j < NV: {
        let y = y.wrapping_add(j * V::LANES);
        // SAFETY: the caller's.
        unsafe {
            if whole || j + 1 < NV {
                row[j].store_ptr(y);
            } else {
                row[j].store_ptr_partial(y, last);
            }
        }
    });
}
