//! Functions of two variables where one operand is repeated.

use super::binary::{Binary, BinaryKernel, Visitor, Zip};
use super::lanewise::line;
use super::{Lanewise, lanewise};
use crate::element::Element;
use crate::parallel::{self, Shared};
use crate::simd::{Isa, Kernel, Vector, dispatch};
use std::ops::Range;

/// An operand of a computation on a matrix `[rows, cols]`.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a, T> {
    /// `[rows, cols]`: an element each.
    Full(&'a [T]),
    /// `[cols]`: the same for every row.
    Row(&'a [T]),
    /// `[rows]`: the same for every column.
    Column(&'a [T]),
    /// One for all.
    Scalar(T),
}

/// See [`super::binary_scalar`].
#[track_caller]
pub(crate) fn right<T: Element>(f: Binary, a: &[T], b: T, y: &mut [T]) {
    struct Call<'a, T> {
        a: &'a [T],
        b: T,
        y: &'a mut [T],
    }
    impl<T: Element> Visitor for Call<'_, T> {
        #[track_caller]
        fn visit<F: BinaryKernel>(self, f: F) {
            lanewise(Right(f, self.b.to_f64()), [self.y], [self.a]);
        }
    }
    f.visit(Call { a, b, y });
}

/// See [`super::scalar_binary`].
#[track_caller]
pub(crate) fn left<T: Element>(f: Binary, a: T, b: &[T], y: &mut [T]) {
    struct Call<'a, T> {
        a: T,
        b: &'a [T],
        y: &'a mut [T],
    }
    impl<T: Element> Visitor for Call<'_, T> {
        #[track_caller]
        fn visit<F: BinaryKernel>(self, f: F) {
            lanewise(Left(f, self.a.to_f64()), [self.y], [self.b]);
        }
    }
    f.visit(Call { a, b, y });
}

/// f(., b) for one b.
#[derive(Clone, Copy)]
struct Right<F>(F, f64);

impl<F: BinaryKernel> Lanewise<1, 1> for Right<F> {
    #[inline(always)]
    fn apply<V: Vector>(self, _: [V; 1], [a]: [V; 1]) -> [V; 1] {
        [self.0.vector(a, V::constant(self.1))]
    }
}

/// f(a, .) for one a.
#[derive(Clone, Copy)]
struct Left<F>(F, f64);

impl<F: BinaryKernel> Lanewise<1, 1> for Left<F> {
    #[inline(always)]
    fn apply<V: Vector>(self, _: [V; 1], [b]: [V; 1]) -> [V; 1] {
        [self.0.vector(V::constant(self.1), b)]
    }
}

/// See [`super::binary_broadcast`].
#[track_caller]
pub(crate) fn matrix<T: Element>(
    f: Binary,
    a: Operand<T>,
    b: Operand<T>,
    cols: usize,
    y: &mut [T],
) {
    if y.is_empty() {
        return;
    }
    assert!(
        cols > 0 && y.len().is_multiple_of(cols),
        "broadcast: {} elements are not rows of {cols}",
        y.len()
    );
    let rows = y.len() / cols;
    for operand in [&a, &b] {
        let (found, expected) = match operand {
            Operand::Full(x) => (x.len(), rows * cols),
            Operand::Row(x) => (x.len(), cols),
            Operand::Column(x) => (x.len(), rows),
            Operand::Scalar(_) => continue,
        };
        assert!(
            found == expected,
            "broadcast: an operand has {found} elements, expected {expected} for [{rows}, {cols}]"
        );
    }
    struct Call<'a, T> {
        a: Operand<'a, T>,
        b: Operand<'a, T>,
        cols: usize,
        y: &'a mut [T],
    }
    impl<T: Element> Visitor for Call<'_, T> {
        fn visit<F: BinaryKernel>(self, f: F) {
            let Call { a, b, cols, y } = self;
            let isa = Isa::current();
            // Whole rows by the tile, so that a tile does not depend on the number of threads.
            let tile = (TILE / cols).max(1);
            let rows = y.len() / cols;
            let shared = Shared(y.as_mut_ptr());
            let run = |some: Range<usize>| {
                let first = some.start;
                // SAFETY: these rows of y are this call's alone.
                let y = unsafe {
                    let at = shared.get().add(first * cols);
                    std::slice::from_raw_parts_mut(at, some.len() * cols)
                };
                dispatch(
                    isa,
                    Rows {
                        f,
                        a,
                        b,
                        cols,
                        first,
                        y,
                    },
                );
            };
            if rows * cols >= 2 * TILE && parallel::threads() > 1 {
                parallel::halves(0..rows, tile, &run);
            } else {
                run(0..rows);
            }
        }
    }
    f.visit(Call { a, b, cols, y });
}

/// About how many elements a thread takes at a time.
const TILE: usize = 1 << 15;

/// Consecutive rows of the result, the first of them number `first`.
struct Rows<'a, T, F> {
    f: F,
    a: Operand<'a, T>,
    b: Operand<'a, T>,
    cols: usize,
    first: usize,
    y: &'a mut [T],
}

/// An operand within one row.
#[derive(Clone, Copy)]
enum InRow<'a, T> {
    Each(&'a [T]),
    One(T),
}

impl<'a, T: Element> Operand<'a, T> {
    #[inline(always)]
    fn row(self, row: usize, cols: usize) -> InRow<'a, T> {
        match self {
            Operand::Full(x) => InRow::Each(&x[row * cols..][..cols]),
            Operand::Row(x) => InRow::Each(x),
            Operand::Column(x) => InRow::One(x[row]),
            Operand::Scalar(x) => InRow::One(x),
        }
    }
}

impl<T: Element, F: BinaryKernel> Kernel<T> for Rows<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let Rows {
            f,
            a,
            b,
            cols,
            first,
            y,
        } = self;
        for (i, y) in y.chunks_exact_mut(cols).enumerate() {
            let row = first + i;
            match (a.row(row, cols), b.row(row, cols)) {
                (InRow::Each(a), InRow::Each(b)) => line::<V, _, 1, 2>(Zip(f), [y], [a, b]),
                (InRow::Each(a), InRow::One(b)) => {
                    line::<V, _, 1, 1>(Right(f, b.to_f64()), [y], [a])
                }
                (InRow::One(a), InRow::Each(b)) => {
                    line::<V, _, 1, 1>(Left(f, a.to_f64()), [y], [b])
                }
                (InRow::One(a), InRow::One(b)) => {
                    y.fill(f.vector(V::splat(a), V::splat(b)).reduce_max())
                }
            }
        }
    }
}
