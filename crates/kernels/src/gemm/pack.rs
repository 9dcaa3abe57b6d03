//! Rearranging operands into the order in which the microkernel reads them.
//!
//! A panel of b is NR columns wide: k rows of NR contiguous numbers. A block of rows of a is
//! copied as a panel of the transposed matrix: one function makes both.

use super::Mat;
use super::kernels::Kernels;
use crate::element::Element;
use crate::simd::{Isa, prefetch};
use std::ops::Range;

/// Copies `width` columns from `col` of rows `row..row + k` of x to a panel of row length
/// `stride`: to[p * stride + j] = x[row + p, col + j]. The `stride - width` numbers that are left
/// in each row get no meaning.
///
/// `stride` is a multiple of the vector, or `width`, which then fits one vector.
pub(super) fn panel(
    kernels: &Kernels,
    x: Mat<f32>,
    (row, k): (usize, usize),
    (col, width): (usize, usize),
    to: &mut [f32],
    stride: usize,
) {
    debug_assert!(row + k <= x.rows && col + width <= x.cols && width <= stride);
    debug_assert!(x.span().is_some_and(|span| span <= x.data.len()));
    debug_assert!(width <= kernels.lanes || stride.is_multiple_of(kernels.lanes));
    // Vectors that spill over the last row still end inside.
    assert!(to.len() >= k * stride + kernels.lanes);
    if k == 0 {
        return;
    }
    let from = &x.data[row * x.row_stride + col * x.col_stride..];
    if x.col_stride == 1 {
        // SAFETY: `Kernels` exist only where their instruction set does; the source rows lie
        // inside x, and a spill over the last row inside `to`.
        unsafe {
            (kernels.copy)(
                from.as_ptr(),
                x.row_stride,
                width,
                k,
                to.as_mut_ptr(),
                stride,
            )
        }
    } else if x.row_stride == 1 {
        for j in (0..width).step_by(kernels.lanes) {
            let lanes = (width - j).min(kernels.lanes);
            let from = &from[j * x.col_stride..];
            // SAFETY: as above; only the last vector of a row can be partial, so what spills over
            // lands on what the next row has still to write, or on the room after the last.
            unsafe {
                (kernels.transpose)(
                    from.as_ptr(),
                    x.col_stride,
                    lanes,
                    k,
                    to[j..].as_mut_ptr(),
                    stride,
                )
            }
        }
    } else {
        for (p, to) in to.chunks_exact_mut(stride).take(k).enumerate() {
            for (j, to) in to[..width].iter_mut().enumerate() {
                *to = from[p * x.row_stride + j * x.col_stride];
            }
        }
    }
}

/// How many rows ahead of use [`panels`] reads.
const AHEAD: usize = 4;

/// Copies columns `cols` of rows `row..row + k` of x, which are contiguous in each row, to panels
/// one after the other: what [`panel`] makes of each NR of them, in the order of memory.
pub(super) fn panels(
    kernels: &Kernels,
    x: Mat<f32>,
    (row, k): (usize, usize),
    cols: Range<usize>,
    to: &mut [f32],
) {
    let nr = kernels.nr();
    let count = kernels.panels(cols.len());
    let whole = kernels.whole_panels(cols.len());
    assert!(x.col_stride == 1 && row + k <= x.rows && cols.end <= x.cols);
    assert!(x.span().is_some_and(|span| span <= x.data.len()));
    assert!(to.len() >= k * count * nr);
    for p in 0..k {
        let from = &x.data[(row + p) * x.row_stride + cols.start..][..cols.len()];
        let ahead = from.as_ptr().wrapping_add(AHEAD * x.row_stride);
        for j in (0..cols.len()).step_by(64 / size_of::<f32>()) {
            prefetch(ahead.wrapping_add(j));
        }
        let to = to[p * nr..].as_mut_ptr();
        // SAFETY: `Kernels` exist only where their instruction set does. Panels are k * NR apart,
        // and row p of each, NR numbers, lies inside `to`; a row of x is read up to its end.
        unsafe {
            (kernels.copy)(from.as_ptr(), nr, nr, whole, to, k * nr);
            for q in whole..count {
                let panel = kernels.panel(cols.len(), q);
                let from = from.as_ptr().add(panel.start);
                (kernels.copy)(from, 0, panel.len(), 1, to.add(q * nr * k), 0);
            }
        }
    }
}

/// Rows become columns: to[p * to_stride + i] = from[i * from_stride + p] for i < rows, p < k.
///
/// Numbers of no meaning may be written beyond the last column, up to a whole vector of 16.
///
/// # Panics
/// If a slice is too short, or such a vector does not fit `to_stride`.
pub(crate) fn transpose<T: Element>(
    isa: Isa,
    from: &[T],
    from_stride: usize,
    (rows, k): (usize, usize),
    to: &mut [T],
    to_stride: usize,
) {
    if rows == 0 || k == 0 {
        return;
    }
    let width = rows.next_multiple_of(16);
    assert!((rows - 1) * from_stride + k <= from.len());
    assert!(width <= to_stride && (k - 1) * to_stride + width <= to.len());
    match own::<T>(isa) {
        Some(kernels) => {
            for i in (0..rows).step_by(kernels.lanes) {
                let (from, to) = (&from[i * from_stride..], &mut to[i..]);
                let lanes = (rows - i).min(kernels.lanes);
                // SAFETY: `Kernels` exist only where their instruction set does; elements are
                // f32; every row and every column, rounded up to a vector of at most 16, lies
                // inside the slices.
                unsafe {
                    (kernels.transpose)(
                        from.as_ptr().cast(),
                        from_stride,
                        lanes,
                        k,
                        to.as_mut_ptr().cast(),
                        to_stride,
                    )
                }
            }
        }
        None => {
            for (p, to) in to.chunks_mut(to_stride).take(k).enumerate() {
                for (i, to) in to[..rows].iter_mut().enumerate() {
                    *to = from[i * from_stride + p];
                }
            }
        }
    }
}

/// to[i * to_stride + j] = from[i * from_stride + j] for i < rows, j < width.
///
/// Numbers of no meaning may be written beyond a row, up to a whole vector of 16.
///
/// # Panics
/// If a slice is too short, or such a vector does not fit `to_stride`.
pub(crate) fn copy_rows<T: Element>(
    isa: Isa,
    from: &[T],
    from_stride: usize,
    (rows, width): (usize, usize),
    to: &mut [T],
    to_stride: usize,
) {
    if rows == 0 || width == 0 {
        return;
    }
    let whole = width.next_multiple_of(16);
    assert!((rows - 1) * from_stride + width <= from.len());
    assert!(whole <= to_stride && (rows - 1) * to_stride + whole <= to.len());
    match own::<T>(isa) {
        // SAFETY: `Kernels` exist only where their instruction set does; elements are f32; every
        // row, rounded up to a vector of at most 16, lies inside the slices.
        Some(kernels) => unsafe {
            (kernels.copy)(
                from.as_ptr().cast(),
                from_stride,
                width,
                rows,
                to.as_mut_ptr().cast(),
                to_stride,
            )
        },
        None => {
            for (i, to) in to.chunks_mut(to_stride).take(rows).enumerate() {
                to[..width].copy_from_slice(&from[i * from_stride..][..width]);
            }
        }
    }
}

/// The kernels of an instruction set for elements that are f32.
fn own<T: Element>(isa: Isa) -> Option<&'static Kernels> {
    // Elements are f32 or f64.
    Kernels::of(isa).filter(|_| size_of::<T>() == size_of::<f32>())
}
