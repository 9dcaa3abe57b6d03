//! Sums, maxima and what is made of them, with a fixed order of additions: the result depends on
//! the lengths and the instruction set, never on the number of threads.
//!
//! Matrices are row-major `[rows, cols]`; a function that takes `cols` finds `rows` itself.

pub(crate) mod batch_norm;
pub(crate) mod bias;
pub(crate) mod columns;
pub(crate) mod gate;
pub(crate) mod layer_norm;
pub(crate) mod likelihood;
pub(crate) mod line;
pub(crate) mod logistics;
pub(crate) mod pool;
pub(crate) mod rows;
pub(crate) mod softmax;

pub use batch_norm::{batch_norm, batch_norm_gradient};
pub use bias::{bias_activation, bias_activation_gradient};
pub use columns::{sum_columns, sum_middle};
pub use gate::{gate, gate_gradient};
pub use layer_norm::{layer_norm, layer_norm_gradient};
pub use likelihood::{
    bce_with_logits, bce_with_logits_gradient, cross_entropy, cross_entropy_gradient,
};
pub use logistics::{LOG_SCALES, logistic_mixture};
pub use pool::{Pool2d, average_pool, average_pool_gradient, max_pool, pick_taps, place_taps};
pub use rows::{logsumexp_rows, max_rows, sum_rows};
pub use softmax::{log_softmax, log_softmax_gradient, softmax, softmax_gradient};

use crate::compiled::Compiled;
use crate::element::Element;
use crate::parallel;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// Slices are summed in pieces of this many elements, and the pieces' sums pairwise.
const CHUNK: usize = 1 << 15;

/// A reduction of `N` slices to one number that can be put together from those of their pieces.
trait Fold<const N: usize>: Copy + Send + Sync {
    fn piece<V: Vector>(self, x: [&[V::Element]; N]) -> V::Element;
    fn join<T: Element>(self, a: T, b: T) -> T;
}

struct Piece<'a, T, F, const N: usize>(F, [&'a [T]; N]);

impl<T: Element, F: Fold<N>, const N: usize> Kernel<T> for Piece<'_, T, F, N> {
    type Output = T;
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) -> T {
        self.0.piece::<V>(self.1)
    }
}

fn fold<T: Element, F: Fold<N>, const N: usize>(isa: Isa, f: F, x: [&[T]; N], split: bool) -> T {
    let len = x[0].len();
    if len <= CHUNK {
        return dispatch(isa, Piece(f, x));
    }
    let middle = len.div_ceil(CHUNK) / 2 * CHUNK;
    let left = || fold(isa, f, x.map(|x| &x[..middle]), split);
    let right = || fold(isa, f, x.map(|x| &x[middle..]), split);
    let (a, b) = if split {
        rayon::join(left, right)
    } else {
        (left(), right())
    };
    f.join(a, b)
}

/// The sum of the elements; 0 of none.
#[inline]
pub fn sum<T: Element>(x: &[T]) -> T {
    <T as Compiled>::sum(x)
}

pub(crate) fn sum_body<T: Element>(x: &[T]) -> T {
    #[derive(Clone, Copy)]
    struct Sum;
    impl Fold<1> for Sum {
        #[inline(always)]
        fn piece<V: Vector>(self, [x]: [&[V::Element]; 1]) -> V::Element {
            line::sum::<V>(x)
        }
        fn join<T: Element>(self, a: T, b: T) -> T {
            a + b
        }
    }
    fold(Isa::current(), Sum, [x], parallel::threads() > 1)
}

/// The sum of a\[i\] b\[i\].
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn dot<T: Element>(a: &[T], b: &[T]) -> T {
    T::dot(a, b)
}

#[track_caller]
pub(crate) fn dot_body<T: Element>(a: &[T], b: &[T]) -> T {
    #[derive(Clone, Copy)]
    struct Dot;
    impl Fold<2> for Dot {
        #[inline(always)]
        fn piece<V: Vector>(self, [a, b]: [&[V::Element]; 2]) -> V::Element {
            line::dot::<V>(a, b)
        }
        fn join<T: Element>(self, a: T, b: T) -> T {
            a + b
        }
    }
    assert!(
        a.len() == b.len(),
        "dot: lengths {} and {} differ",
        a.len(),
        b.len()
    );
    fold(Isa::current(), Dot, [a, b], parallel::threads() > 1)
}

/// The largest element; -inf of none, NaN if one is.
#[inline]
pub fn max<T: Element>(x: &[T]) -> T {
    T::max(x)
}

pub(crate) fn max_body<T: Element>(x: &[T]) -> T {
    #[derive(Clone, Copy)]
    struct Max;
    impl Fold<1> for Max {
        #[inline(always)]
        fn piece<V: Vector>(self, [x]: [&[V::Element]; 1]) -> V::Element {
            line::max::<V>(x)
        }
        fn join<T: Element>(self, a: T, b: T) -> T {
            // The comparison with itself fails for NaN alone.
            #[allow(clippy::eq_op)]
            if a > b || a != a { a } else { b }
        }
    }
    fold(Isa::current(), Max, [x], parallel::threads() > 1)
}

/// ln sum e^x\[i\], without overflow; -inf of none.
#[inline]
pub fn logsumexp<T: Element>(x: &[T]) -> T {
    T::logsumexp(x)
}

pub(crate) fn logsumexp_body<T: Element>(x: &[T]) -> T {
    let mut y = [T::ZERO];
    if x.is_empty() {
        return T::from_f64(f64::NEG_INFINITY);
    }
    logsumexp_rows(x, x.len(), &mut y);
    y[0]
}
