//! Products with a matrix whose non-zeros form a staircase: column j has rows 0..limit(j), and
//! the limits do not fall.
//!
//! ```text
//!         w w w w w w        y = x W + b: a block of columns is one dense product with the rows
//!         . w w w w w        that all of its columns have, and a small one with the ragged rest,
//!         . . . w w w        from a copy with zeros where the staircase ends.
//!         . . . . w w
//! ```
//!
//! Sorting the units of a masked layer by degree brings its mask to this form: about half of the
//! multiply-adds are never done. The stored matrix is dense and what lies below the stairs is
//! never read; its gradient is exactly 0.

use crate::buffer::Buffer;
use crate::element::Element;
use crate::gemm::{Beta, Epilogue, Mat, gemm_strided};
use std::ops::Range;

/// The shape of the staircase: `[rows, columns]`, and how many rows each column has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staircase {
    rows: usize,
    limits: Vec<usize>,
}

/// Into how many blocks the longer axis is cut: each costs a product of its own and saves about
/// 1 / BLOCKS of the ragged waste.
const BLOCKS: usize = 12;
/// Blocks are multiples of this, so that products meet no ragged tiles.
const UNIT: usize = 32;

impl Staircase {
    /// A staircase of `rows` rows whose column j has the first `limits[j]`.
    ///
    /// # Panics
    /// If the limits fall, or one exceeds `rows`.
    #[track_caller]
    pub fn new(rows: usize, limits: Vec<usize>) -> Staircase {
        assert!(
            limits.is_sorted() && limits.last().is_none_or(|&last| last <= rows),
            "staircase: expected limits that do not fall and are at most {rows}"
        );
        Staircase { rows, limits }
    }

    /// Where input unit i may feed output unit j if in_degrees\[i\] <= out_degrees\[j\], or < with
    /// `strict`. Both lists are sorted.
    #[track_caller]
    pub fn by_degree(inputs: &[usize], outputs: &[usize], strict: bool) -> Staircase {
        assert!(
            inputs.is_sorted() && outputs.is_sorted(),
            "staircase: degrees must be sorted"
        );
        let limit =
            |&to: &usize| inputs.partition_point(|&from| from < to || (!strict && from == to));
        Staircase::new(inputs.len(), outputs.iter().map(limit).collect())
    }

    /// How many rows the matrix has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns the matrix has.
    pub fn columns(&self) -> usize {
        self.limits.len()
    }

    /// How many rows column `j` has.
    pub fn limit(&self, j: usize) -> usize {
        self.limits[j]
    }

    /// The first column that has row `i`; the number of columns if none has.
    pub fn first_column(&self, i: usize) -> usize {
        self.limits.partition_point(|&limit| limit <= i)
    }

    /// How many entries the staircase has.
    pub fn entries(&self) -> usize {
        self.limits.iter().sum()
    }

    /// y = act(x W + bias). x `[m, rows]`, w `[rows, columns]`, bias `[columns]`,
    /// y `[m, columns]`.
    ///
    /// # Panics
    /// If a slice has not the length its shape asks for.
    #[track_caller]
    pub fn forward<T: Element>(&self, x: &[T], w: &[T], epilogue: Epilogue<T>, y: &mut [T]) {
        let (k, n) = (self.rows, self.columns());
        let m = self.check("forward", x.len(), w.len(), y.len());
        for columns in blocks(n) {
            let (full, all) = (self.limits[columns.start], self.limits[columns.end - 1]);
            let width = columns.len();
            let epilogue = Epilogue {
                bias: epilogue.bias.map(|bias| &bias[columns.clone()]),
                activation: epilogue.activation,
            };
            let y = &mut y[columns.start.min(m * n)..];
            let dense = Mat::with_strides(&w[columns.start.min(k * n)..], full, width, n, 1);
            let seen = Mat::with_strides(x, m, full, k, 1);
            if all == full {
                gemm_strided(seen, dense, Beta::Zero, y, n, epilogue);
                continue;
            }
            let mut beta = Beta::Zero;
            if full > 0 {
                gemm_strided(seen, dense, beta, y, n, Epilogue::NONE);
                beta = Beta::One;
            }
            let corner = self.corner(w, full..all, columns);
            let seen = Mat::with_strides(&x[full.min(x.len())..], m, all - full, k, 1);
            let ragged = Mat::new(&corner, all - full, width);
            gemm_strided(seen, ragged, beta, y, n, epilogue);
        }
    }

    /// gx = g W^T. g `[m, columns]`, w `[rows, columns]`, gx `[m, rows]`.
    ///
    /// # Panics
    /// If a slice has not the length its shape asks for.
    #[track_caller]
    pub fn input_gradient<T: Element>(&self, g: &[T], w: &[T], gx: &mut [T]) {
        let (k, n) = (self.rows, self.columns());
        let m = self.check("input_gradient", gx.len(), w.len(), g.len());
        for rows in blocks(k) {
            // Columns from `any` on have a row of the block, from `full` on they have all.
            let (any, full) = (
                self.first_column(rows.start),
                self.first_column(rows.end - 1),
            );
            let gx = &mut gx[rows.start.min(m * k)..];
            let dense = Mat::with_strides(
                &w[(rows.start * n + full).min(k * n)..],
                rows.len(),
                n - full,
                n,
                1,
            );
            let after = Mat::with_strides(&g[full.min(g.len())..], m, n - full, n, 1);
            gemm_strided(after, dense.t(), Beta::Zero, gx, k, Epilogue::NONE);
            if any < full {
                let corner = self.corner(w, rows.clone(), any..full);
                let ragged = Mat::new(&corner, rows.len(), full - any);
                let after = Mat::with_strides(&g[any.min(g.len())..], m, full - any, n, 1);
                gemm_strided(after, ragged.t(), Beta::One, gx, k, Epilogue::NONE);
            }
        }
    }

    /// gw = x^T g within the staircase, 0 below it. x `[m, rows]`, g `[m, columns]`,
    /// gw `[rows, columns]`.
    ///
    /// # Panics
    /// If a slice has not the length its shape asks for.
    #[track_caller]
    pub fn weight_gradient<T: Element>(&self, x: &[T], g: &[T], gw: &mut [T]) {
        let (k, n) = (self.rows, self.columns());
        let m = self.check("weight_gradient", x.len(), gw.len(), g.len());
        for columns in blocks(n) {
            let all = self.limits[columns.end - 1];
            let seen = Mat::with_strides(x, m, all, k, 1);
            let g = Mat::with_strides(&g[columns.start.min(m * n)..], m, columns.len(), n, 1);
            let to = &mut gw[columns.start.min(k * n)..];
            gemm_strided(seen.t(), g, Beta::Zero, to, n, Epilogue::NONE);
        }
        for (i, row) in gw.chunks_exact_mut(n.max(1)).enumerate() {
            row[..self.first_column(i)].fill(T::ZERO);
        }
    }

    /// The entries of these rows and columns, with zeros below the stairs.
    fn corner<T: Element>(&self, w: &[T], rows: Range<usize>, columns: Range<usize>) -> Buffer<T> {
        let (n, width) = (self.columns(), columns.len());
        let mut corner = Buffer::recycled(rows.len() * width);
        for (i, to) in rows.zip(corner.chunks_exact_mut(width.max(1))) {
            let from = self.first_column(i).clamp(columns.start, columns.end);
            let (below, on) = to.split_at_mut(from - columns.start);
            below.fill(T::ZERO);
            on.copy_from_slice(&w[i * n..][from..columns.end]);
        }
        corner
    }

    /// The number of rows of x and y.
    #[track_caller]
    fn check(&self, op: &str, x: usize, w: usize, y: usize) -> usize {
        let (k, n) = (self.rows, self.columns());
        let m = x.checked_div(k).unwrap_or(y / n.max(1));
        assert!(
            x == m * k && w == k * n && y == m * n,
            "staircase {op}: found {x}, {w} and {y} elements for a matrix [{k}, {n}]"
        );
        m
    }
}

/// The blocks an axis is cut into.
fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    let width = len.div_ceil(BLOCKS).next_multiple_of(UNIT);
    (0..len)
        .step_by(width.max(1))
        .map(move |from| from..(from + width).min(len))
}
