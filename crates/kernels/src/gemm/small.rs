//! Products so small that deciding how to cut and copy them would take as long as they do.
//!
//! Tiles over c, panel by panel, with the operands where they lie; only a b whose columns are
//! contiguous is transposed, to the stack. The tiles are those of larger products and k is one
//! block, so the numbers are the same.

use super::block::{KC, Product, Rhs};
use super::operands::Ahead;
use super::tile::Tile;
use std::mem::MaybeUninit;

/// Most multiply-adds: with more, what is read had better come in ahead.
const MOST: usize = 1 << 15;
/// Most rows of a b that is transposed.
const TRANSPOSED: usize = 64;
/// Most columns of a panel.
const WIDEST: usize = 48;

/// Whether this product is one for [`run`].
#[inline]
pub(super) fn fits(x: &Product) -> bool {
    let (m, k, n) = (x.a.rows, x.a.cols, x.b.cols());
    let b_fits = match x.b {
        Rhs::Packed(..) => true,
        Rhs::Plain(b) => b.col_stride == 1 || b.row_stride == 1 && k <= TRANSPOSED,
    };
    let work = m.saturating_mul(n).saturating_mul(k.max(1));
    work <= MOST && k <= KC && (x.a.row_stride == 1 || x.a.col_stride == 1) && b_fits
}

/// Computes all of c.
///
/// # Safety
/// The product [`fits`], and nobody else touches c.
pub(super) unsafe fn run(x: &Product) {
    let kernels = x.kernels;
    let (m, k, n) = (x.a.rows, x.a.cols, x.b.cols());
    let (nr, lanes) = (kernels.nr(), kernels.lanes);
    let a_rows = x.a.row_stride != 1;
    // As blocks of larger products, of nearly equal height; most often there is one.
    let blocks = match m <= kernels.mr() {
        true => 1,
        false => (m as u32).div_ceil(kernels.mr() as u32),
    };
    let (height, higher) = match blocks {
        1 => (m, 0),
        _ => ((m as u32 / blocks) as usize, (m as u32 % blocks) as usize),
    };
    let mut room = [const { MaybeUninit::<f32>::uninit() }; TRANSPOSED * WIDEST];
    for q in 0..kernels.panels(n) {
        let cols = kernels.panel(n, q);
        let (col, cols) = (cols.start, cols.len());
        let vectors = kernels.vectors(cols);
        let last = cols - (vectors - 1) * lanes;
        let (b, b_row_stride, exact) = match x.b {
            Rhs::Packed(data, _) => (data.as_ptr().wrapping_add(q * nr * k), nr, false),
            Rhs::Plain(b) if b.col_stride == 1 => {
                let start = b.data.as_ptr().wrapping_add(col);
                (start, b.row_stride, last < lanes)
            }
            Rhs::Plain(b) => {
                assert!(k * nr <= room.len() && b.row_stride == 1);
                for j in (0..cols).step_by(lanes) {
                    let from = b.data.as_ptr().wrapping_add((col + j) * b.col_stride);
                    let to = room.as_mut_ptr().cast::<f32>().wrapping_add(j);
                    let some = lanes.min(cols - j);
                    // SAFETY: `Kernels` exist only where their instruction set does; the columns
                    // lie inside b, and k rows of whole vectors inside the room. The copy need not
                    // write what is past the last column, and tiles read it.
                    unsafe {
                        if some < lanes {
                            (0..k).for_each(|p| to.add(p * nr).write_bytes(0, lanes));
                        }
                        (kernels.transpose)(from, b.col_stride, some, k, to, nr)
                    }
                }
                (room.as_ptr().cast(), nr, false)
            }
        };
        let bias = match x.epilogue.bias {
            Some(bias) => bias[col..].as_ptr(),
            None => std::ptr::null(),
        };
        let mut row = 0;
        for i in 0..blocks as usize {
            let rows = height + usize::from(i < higher);
            let a = x.a.data.as_ptr().wrapping_add(row * x.a.row_stride);
            let tile = Tile {
                k,
                a,
                a_row_stride: x.a.row_stride,
                a_col_stride: x.a.col_stride,
                b,
                b_row_stride,
                packed: std::ptr::null_mut(),
                c: x.c.wrapping_add(row * x.c_row_stride + col),
                c_row_stride: x.c_row_stride,
                last,
                accumulate: x.accumulate,
                ahead: Ahead::nothing(a),
                b_next: b,
                b_next_stride: b_row_stride,
                bias,
                activation: x.epilogue.activation,
            };
            let run = if exact {
                kernels.masked_tile(rows, cols, a_rows)
            } else {
                kernels.tile(rows, cols, a_rows)
            };
            // SAFETY: as above; operands and c have what their shapes say, and rows of b that end
            // inside a vector are read up to their end or were transposed.
            unsafe { run(&tile) }
            row += rows;
        }
    }
}
