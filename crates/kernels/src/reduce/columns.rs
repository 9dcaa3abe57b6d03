//! Sums over the rows of a matrix, or over the middle one of three dimensions.

use super::rows::check;
use crate::buffer::Buffer;
use crate::element::Element;
use crate::parallel;
use crate::simd::{Isa, Kernel, Vector, dispatch};
use std::ops::Range;

/// y\[c\] = the sum over r of x\[r, c\]: the gradient of a bias.
///
/// Shapes: x `[rows, cols]`, y `[cols]`.
///
/// # Panics
/// If x has not whole rows as long as y.
#[track_caller]
#[inline]
pub fn sum_columns<T: Element>(x: &[T], y: &mut [T]) {
    T::sum_columns(x, y)
}

#[track_caller]
pub(crate) fn sum_columns_body<T: Element>(x: &[T], y: &mut [T]) {
    let cols = y.len();
    let rows = super::rows::count("sum_columns", x.len(), cols);
    slabs(Isa::current(), x, rows, y, parallel::threads() > 1);
}

/// y\[o, i\] = the sum over m of x\[o, m, i\].
///
/// Shapes: x `[outer, n, inner]`, y `[outer, inner]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn sum_middle<T: Element>(x: &[T], n: usize, inner: usize, y: &mut [T]) {
    T::sum_middle(x, n, inner, y)
}

#[track_caller]
pub(crate) fn sum_middle_body<T: Element>(x: &[T], n: usize, inner: usize, y: &mut [T]) {
    let outer = super::rows::count("sum_middle", y.len(), inner);
    check("sum_middle", "x", x.len(), outer * n * inner);
    if inner == 1 {
        return super::sum_rows(x, n, y);
    }
    if y.is_empty() {
        return;
    }
    let isa = Isa::current();
    let split = x.len() > SLAB && parallel::threads() > 1;
    if split && outer > 1 {
        use rayon::prelude::*;
        let one = |(o, y): (usize, &mut [T])| {
            slabs(isa, &x[o * n * inner..][..n * inner], n, y, true);
        };
        y.par_chunks_mut(inner).enumerate().for_each(one);
    } else {
        for (o, y) in y.chunks_exact_mut(inner).enumerate() {
            slabs(isa, &x[o * n * inner..][..n * inner], n, y, split);
        }
    }
}

/// About how many elements make one slab of rows, which is summed by itself: the unit of work of
/// a thread, what stays in its cache between two passes, and what keeps chains of additions short.
const SLAB: usize = 1 << 16;

/// How many rows of `cols` make a slab.
pub(super) fn slab_rows(cols: usize) -> usize {
    (SLAB / cols.max(1)).max(16)
}

fn slabs<T: Element>(isa: Isa, x: &[T], rows: usize, y: &mut [T], split: bool) {
    let cols = y.len();
    if rows <= slab_rows(cols) {
        return dispatch(isa, Columns { x, y });
    }
    let partial = by_slabs(rows, cols, cols, [], split, |slab, [], y| {
        let x = &x[slab.start * cols..slab.end * cols];
        dispatch(isa, Columns { x, y })
    });
    slabs(isa, &partial, partial.len() / cols.max(1), y, false);
}

/// Runs `f` for every slab of `rows` rows: it is given the slab's rows, those rows of each of `M`
/// results `[rows, cols]`, and `width` numbers of its own. Those of all slabs, in order, are
/// returned: `[slabs, width]`.
pub(super) fn by_slabs<T: Element, const M: usize>(
    rows: usize,
    cols: usize,
    width: usize,
    out: [&mut [T]; M],
    split: bool,
    f: impl Fn(Range<usize>, [&mut [T]; M], &mut [T]) + Sync,
) -> Buffer<T> {
    let slab = slab_rows(cols);
    let mut partial = Buffer::recycled(rows.div_ceil(slab) * width);
    let work = Slabs {
        first: 0,
        rows,
        cols,
        width,
        out,
        partial: &mut partial,
    };
    // Kernels that `f` calls ask for the instruction set on whatever thread they are.
    let isa = Isa::current();
    let f = |slab: Range<usize>, out: [&mut [T]; M], partial: &mut [T]| {
        isa.scoped(|| f(slab, out, partial))
    };
    work.run(slab, split && parallel::threads() > 1, &f);
    partial
}

/// Rows from `first` on, what is written of them, and the numbers of their slabs.
struct Slabs<'a, T, const M: usize> {
    first: usize,
    rows: usize,
    cols: usize,
    width: usize,
    out: [&'a mut [T]; M],
    partial: &'a mut [T],
}

impl<T: Element, const M: usize> Slabs<'_, T, M> {
    fn run<F>(self, slab: usize, split: bool, f: &F)
    where
        F: Fn(Range<usize>, [&mut [T]; M], &mut [T]) + Sync,
    {
        if self.rows <= slab {
            if self.rows > 0 {
                f(self.first..self.first + self.rows, self.out, self.partial);
            }
            return;
        }
        let middle = self.rows.div_ceil(slab) / 2 * slab;
        let (partial_left, partial_right) = self.partial.split_at_mut(middle / slab * self.width);
        let mut out_right = self.out;
        let out_left = out_right.each_mut().map(|right| {
            let (left, rest) = std::mem::take(right).split_at_mut(middle * self.cols);
            *right = rest;
            left
        });
        let left = Slabs {
            rows: middle,
            out: out_left,
            partial: partial_left,
            ..self
        };
        let right = Slabs {
            first: self.first + middle,
            rows: self.rows - middle,
            out: out_right,
            partial: partial_right,
            ..self
        };
        if split {
            rayon::join(|| left.run(slab, true, f), || right.run(slab, true, f));
        } else {
            left.run(slab, false, f);
            right.run(slab, false, f);
        }
    }
}

/// y = the sum over the rows of x.
pub(super) struct Columns<'a, T> {
    pub(super) x: &'a [T],
    pub(super) y: &'a mut [T],
}

impl<T: Element> ColumnSums<T> for Columns<'_, T> {
    fn cols(&self) -> usize {
        self.y.len()
    }

    #[inline(always)]
    fn block<V: Vector<Element = T>, const N: usize>(&mut self, c: usize) {
        let mut sums = [V::zero(); N];
        for row in self.x.chunks_exact(self.y.len()) {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = *sum + at::<V, N>(row, c + k * V::LANES);
            }
        }
        for (k, sum) in sums.into_iter().enumerate() {
            sum.store_partial(&mut self.y[c + k * V::LANES..]);
        }
    }
}

impl<T: Element> Kernel<T> for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        self.all::<V>()
    }
}

/// The columns of a vector that begins at column `i`: the last one of `x`, if `N` is 1, may be cut.
#[inline(always)]
pub(super) fn at<V: Vector, const N: usize>(x: &[V::Element], i: usize) -> V {
    if N == 1 {
        V::load_partial(&x[i..])
    } else {
        V::load(&x[i..])
    }
}

/// Sums over rows, `N` vectors of columns at a time: the sums stay in registers.
pub(super) trait ColumnSums<T: Element>: Sized {
    /// How many columns there are.
    fn cols(&self) -> usize;
    /// The sums of the `N` vectors of columns from column `c` on.
    fn block<V: Vector<Element = T>, const N: usize>(&mut self, c: usize);

    #[inline(always)]
    fn all<V: Vector<Element = T>>(mut self) {
        let mut c = 0;
        while c + 4 * V::LANES <= self.cols() {
            self.block::<V, 4>(c);
            c += 4 * V::LANES;
        }
        while c < self.cols() {
            self.block::<V, 1>(c);
            c += V::LANES;
        }
    }
}
