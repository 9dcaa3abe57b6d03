//! Kernels that treat every row of a matrix alike, and the reductions of a row to a number.

use crate::element::Element;
use crate::parallel;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// A computation of one row of each of `M` results. What it reads, it holds.
pub(super) trait RowKernel<T: Element, const M: usize>: Copy + Send + Sync {
    /// Writes row `row` of every result; must be `#[inline(always)]`.
    fn row<V: Vector<Element = T>>(self, row: usize, out: [&mut [T]; M]);
}

/// A result: `[rows, width]`.
pub(super) struct Out<'a, T> {
    pub(super) data: &'a mut [T],
    pub(super) width: usize,
}

/// About how many elements a thread takes at a time.
const TILE: usize = 1 << 14;

/// How many rows of `cols` are in `x`.
///
/// # Panics
/// If they are not whole.
#[track_caller]
pub(super) fn count(name: &str, len: usize, cols: usize) -> usize {
    if len == 0 {
        return 0;
    }
    assert!(
        cols > 0 && len.is_multiple_of(cols),
        "{name}: {len} elements are not rows of {cols}"
    );
    len / cols
}

#[track_caller]
pub(super) fn check(name: &str, what: &str, found: usize, expected: usize) {
    assert!(
        found == expected,
        "{name}: {what} has {found} elements, expected {expected}"
    );
}

/// Runs `kernel` for every row of results that all have `rows` rows; `cols` is the work a row.
pub(super) fn rows<T: Element, K: RowKernel<T, M>, const M: usize>(
    kernel: K,
    rows: usize,
    cols: usize,
    out: [Out<T>; M],
) {
    let run = Run {
        kernel,
        first: 0,
        rows,
        out,
    };
    let tile = (TILE / cols.max(1)).max(1);
    if rows > 2 * tile && parallel::threads() > 1 {
        run.parallel(Isa::current(), tile);
    } else {
        dispatch(Isa::current(), run);
    }
}

struct Run<'a, T, K, const M: usize> {
    kernel: K,
    first: usize,
    rows: usize,
    out: [Out<'a, T>; M],
}

impl<T: Element, K: RowKernel<T, M>, const M: usize> Run<'_, T, K, M> {
    fn parallel(self, isa: Isa, tile: usize) {
        let Run {
            kernel,
            first,
            rows,
            mut out,
        } = self;
        if rows <= tile {
            return dispatch(
                isa,
                Run {
                    kernel,
                    first,
                    rows,
                    out,
                },
            );
        }
        let middle = rows.div_ceil(tile) / 2 * tile;
        let left = std::array::from_fn(|i| {
            let whole = std::mem::take(&mut out[i].data);
            let (left, right) = whole.split_at_mut(middle * out[i].width);
            out[i].data = right;
            Out {
                data: left,
                width: out[i].width,
            }
        });
        let left = Run {
            kernel,
            first,
            rows: middle,
            out: left,
        };
        let right = Run {
            kernel,
            first: first + middle,
            rows: rows - middle,
            out,
        };
        rayon::join(|| left.parallel(isa, tile), || right.parallel(isa, tile));
    }
}

impl<T: Element, K: RowKernel<T, M>, const M: usize> Kernel<T> for Run<'_, T, K, M> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(mut self) {
        for i in 0..self.rows {
            let out = self.out.each_mut();
            let row = out.map(|out| &mut out.data[i * out.width..][..out.width]);
            self.kernel.row::<V>(self.first + i, row);
        }
    }
}

macro_rules! to_a_number {
    ($($(#[$doc:meta])* $function:ident $Kernel:ident $line:path;)*) => {
        $(
            #[derive(Clone, Copy)]
            pub(crate) struct $Kernel<'a, T>(&'a [T], usize);

            impl<'a, T: Element> $Kernel<'a, T> {
                #[track_caller]
                pub(crate) fn body(x: &'a [T], cols: usize, y: &mut [T]) {
                    check(stringify!($function), "x", x.len(), y.len() * cols);
                    rows($Kernel(x, cols), y.len(), cols, [Out { data: y, width: 1 }]);
                }
            }

            impl<T: Element> RowKernel<T, 1> for $Kernel<'_, T> {
                #[inline(always)]
                fn row<V: Vector<Element = T>>(self, row: usize, [y]: [&mut [T]; 1]) {
                    y[0] = $line(&self.0[row * self.1..][..self.1]);
                }
            }

            $(#[$doc])*
            ///
            /// Shapes: x `[rows, cols]`, y `[rows]`.
            ///
            /// # Panics
            /// If y has not as many elements as x has rows of `cols`.
            #[track_caller]
            #[inline]
            pub fn $function<T: Element>(x: &[T], cols: usize, y: &mut [T]) {
                T::$function(x, cols, y)
            }
        )*
    };
}

to_a_number! {
    /// y\[r\] = the sum of row r.
    sum_rows Sum super::line::sum::<V>;
    /// y\[r\] = the largest element of row r; NaN if one is.
    max_rows Max super::line::max::<V>;
    /// y\[r\] = ln sum e^x over row r.
    logsumexp_rows LogSumExp super::line::logsumexp::<V>;
}

/// Sums of rows; long ones in pieces whose sums are added pairwise, as [`sum`](super::sum) does.
#[track_caller]
pub(crate) fn sum_rows_body<T: Element>(x: &[T], cols: usize, y: &mut [T]) {
    if cols <= super::CHUNK {
        return Sum::body(x, cols, y);
    }
    check("sum_rows", "x", x.len(), y.len() * cols);
    for (y, row) in y.iter_mut().zip(x.chunks_exact(cols)) {
        *y = super::sum_body(row);
    }
}
