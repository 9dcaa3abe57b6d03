//! Kernels that treat every row of a matrix alike, and the reductions of a row to a number.

use crate::element::Element;
use crate::parallel::{self, Shared};
use crate::simd::{Isa, Kernel, Vector, dispatch};
use std::marker::PhantomData;
use std::ops::Range;

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
    let parts = Parts::new(out);
    assert!(parts.has(rows), "rows: results of {rows} rows expected");
    let isa = Isa::current();
    // SAFETY: some of the rows, and no two calls have the same.
    let run = |some: Range<usize>| unsafe {
        let first = some.start;
        let out = parts.rows(some.clone());
        let rows = some.len();
        dispatch(
            isa,
            Run {
                kernel,
                first,
                rows,
                out,
            },
        );
    };
    let tile = (TILE / cols.max(1)).max(1);
    if rows > 2 * tile && parallel::threads() > 1 {
        parallel::halves(0..rows, tile, &run);
    } else {
        run(0..rows);
    }
}

/// Results that are handed out in parts: by their types alone, whatever the kernel is.
struct Parts<'a, T, const M: usize> {
    out: [(Shared<T>, usize, usize); M],
    of: PhantomData<&'a mut T>,
}

impl<'a, T: Element, const M: usize> Parts<'a, T, M> {
    fn new(out: [Out<'a, T>; M]) -> Self {
        Parts {
            out: out.map(|out| (Shared(out.data.as_mut_ptr()), out.data.len(), out.width)),
            of: PhantomData,
        }
    }

    /// Whether there are so many rows.
    fn has(&self, rows: usize) -> bool {
        self.out.iter().all(|&(_, len, width)| rows * width <= len)
    }

    /// # Safety
    /// There are these rows, and nobody else uses them.
    unsafe fn rows(&self, some: Range<usize>) -> [Out<'a, T>; M] {
        self.out.map(|(data, _, width)| {
            // SAFETY: the caller's.
            let data = unsafe {
                let first = data.get().add(some.start * width);
                std::slice::from_raw_parts_mut(first, some.len() * width)
            };
            Out { data, width }
        })
    }
}

struct Run<'a, T, K, const M: usize> {
    kernel: K,
    first: usize,
    rows: usize,
    out: [Out<'a, T>; M],
}

/// Row `i` of each.
#[inline(always)]
fn row_of<'a, T, const M: usize>(out: &'a mut [Out<'_, T>; M], i: usize) -> [&'a mut [T]; M] {
    out.each_mut()
        .map(|out| &mut out.data[i * out.width..][..out.width])
}

impl<T: Element, K: RowKernel<T, M>, const M: usize> Kernel<T> for Run<'_, T, K, M> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(mut self) {
        for i in 0..self.rows {
            self.kernel
                .row::<V>(self.first + i, row_of(&mut self.out, i));
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
