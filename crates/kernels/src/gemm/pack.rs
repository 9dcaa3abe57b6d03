//! Rearranging operands into the order in which the microkernel reads them.
//!
//! A panel of b is NR columns wide: k rows of NR contiguous numbers. A block of rows of a is
//! copied as rows, or as a panel of the transposed matrix: one function makes all three.

use super::Mat;
use super::kernels::Kernels;

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
