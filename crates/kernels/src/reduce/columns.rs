//! Sums over the rows of a matrix, or over the middle one of three dimensions.

use super::rows::check;
use crate::buffer::Buffer;
use crate::element::Element;
use crate::parallel;
use crate::simd::{Isa, Kernel, Vector, dispatch};

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
/// a thread, and what keeps chains of additions short.
const SLAB: usize = 1 << 16;

fn slabs<T: Element>(isa: Isa, x: &[T], rows: usize, y: &mut [T], split: bool) {
    let cols = y.len();
    let slab = (SLAB / cols.max(1)).max(16);
    if rows <= slab {
        return dispatch(isa, Columns { x, y });
    }
    let slabs = rows.div_ceil(slab);
    let mut partial = Buffer::recycled(slabs * cols);
    let one = |(x, y): (&[T], &mut [T])| dispatch(isa, Columns { x, y });
    if split {
        use rayon::prelude::*;
        x.par_chunks(slab * cols)
            .zip(partial.par_chunks_mut(cols))
            .for_each(one);
    } else {
        x.chunks(slab * cols)
            .zip(partial.chunks_mut(cols))
            .for_each(one);
    }
    slabs_of(isa, &partial, slabs, y);
}

/// The slabs' sums are a matrix too, and summed the same way.
fn slabs_of<T: Element>(isa: Isa, x: &[T], rows: usize, y: &mut [T]) {
    slabs(isa, x, rows, y, false);
}

struct Columns<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Element> Kernel<T> for Columns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let Columns { x, y } = self;
        let cols = y.len();
        let mut c = 0;
        // Four vectors of columns at a time, then one: the sums stay in registers.
        while c + 4 * V::LANES <= cols {
            let mut sums = [V::zero(); 4];
            for row in x.chunks_exact(cols) {
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = *sum + V::load(&row[c + k * V::LANES..]);
                }
            }
            for (k, sum) in sums.into_iter().enumerate() {
                sum.store(&mut y[c + k * V::LANES..]);
            }
            c += 4 * V::LANES;
        }
        while c < cols {
            let mut sum = V::zero();
            for row in x.chunks_exact(cols) {
                sum = sum + V::load_partial(&row[c..]);
            }
            sum.store_partial(&mut y[c..]);
            c += V::LANES;
        }
    }
}
