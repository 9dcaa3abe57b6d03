//! Softmax and its logarithm over rows, with their gradients.

use super::line;
use super::rows::{Out, RowKernel, check, count, rows};
use crate::element::Element;
use crate::elementwise::unary::Exp;
use crate::simd::Vector;

/// y\[r, c\] = e^x\[r, c\] / sum over c of e^x\[r, c\].
///
/// Shapes: x and y `[rows, cols]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn softmax<T: Element>(x: &[T], cols: usize, y: &mut [T]) {
    T::softmax(x, cols, y)
}

#[track_caller]
pub(crate) fn softmax_body<T: Element>(x: &[T], cols: usize, y: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Softmax<'a, T>(&'a [T]);
    impl<T: Element> RowKernel<T, 1> for Softmax<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [y]: [&mut [T]; 1]) {
            let x = &self.0[row * y.len()..][..y.len()];
            let most = V::splat(line::max::<V>(x));
            let none = V::constant(f64::NEG_INFINITY);
            let mut sum = V::zero();
            let mut i = 0;
            while i < x.len() {
                let e = (V::load_partial_or(&x[i..], none) - most).apply(Exp);
                e.store_partial(&mut y[i..]);
                sum = sum + e;
                i += V::LANES;
            }
            let factor = V::one() / V::splat(sum.reduce_add());
            let mut i = 0;
            while i < x.len() {
                (V::load_partial(&y[i..]) * factor).store_partial(&mut y[i..]);
                i += V::LANES;
            }
        }
    }
    let n = count("softmax", x.len(), cols);
    check("softmax", "y", y.len(), x.len());
    rows(
        Softmax(x),
        n,
        4 * cols,
        [Out {
            data: y,
            width: cols,
        }],
    );
}

/// gx = y (gy - sum over c of gy y): the gradient of [`softmax`] from its result y.
///
/// Shapes: all `[rows, cols]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn softmax_gradient<T: Element>(y: &[T], gy: &[T], cols: usize, gx: &mut [T]) {
    T::softmax_gradient(y, gy, cols, gx)
}

#[track_caller]
pub(crate) fn softmax_gradient_body<T: Element>(y: &[T], gy: &[T], cols: usize, gx: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Gradient<'a, T>(&'a [T], &'a [T]);
    impl<T: Element> RowKernel<T, 1> for Gradient<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [gx]: [&mut [T]; 1]) {
            let y = &self.0[row * gx.len()..][..gx.len()];
            let gy = &self.1[row * gx.len()..][..gx.len()];
            let mean = V::splat(line::dot::<V>(y, gy));
            let mut i = 0;
            while i < y.len() {
                let g = V::load_partial(&gy[i..]) - mean;
                (V::load_partial(&y[i..]) * g).store_partial(&mut gx[i..]);
                i += V::LANES;
            }
        }
    }
    let n = count("softmax_gradient", y.len(), cols);
    check("softmax_gradient", "gy", gy.len(), y.len());
    check("softmax_gradient", "gx", gx.len(), y.len());
    rows(
        Gradient(y, gy),
        n,
        cols,
        [Out {
            data: gx,
            width: cols,
        }],
    );
}

/// y\[r, c\] = x\[r, c\] - ln sum over c of e^x\[r, c\].
///
/// Shapes: x and y `[rows, cols]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn log_softmax<T: Element>(x: &[T], cols: usize, y: &mut [T]) {
    T::log_softmax(x, cols, y)
}

#[track_caller]
pub(crate) fn log_softmax_body<T: Element>(x: &[T], cols: usize, y: &mut [T]) {
    #[derive(Clone, Copy)]
    struct LogSoftmax<'a, T>(&'a [T]);
    impl<T: Element> RowKernel<T, 1> for LogSoftmax<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [y]: [&mut [T]; 1]) {
            let x = &self.0[row * y.len()..][..y.len()];
            // The two parts one after the other: their sum would round away what is small.
            let most = line::max::<V>(x);
            let rest = V::splat(line::log::<V>(line::sum_exp(x, V::splat(most))));
            let mut i = 0;
            while i < x.len() {
                let shifted = V::load_partial(&x[i..]) - V::splat(most);
                (shifted - rest).store_partial(&mut y[i..]);
                i += V::LANES;
            }
        }
    }
    let n = count("log_softmax", x.len(), cols);
    check("log_softmax", "y", y.len(), x.len());
    rows(
        LogSoftmax(x),
        n,
        4 * cols,
        [Out {
            data: y,
            width: cols,
        }],
    );
}

/// gx = gy - e^y sum over c of gy: the gradient of [`log_softmax`] from its result y.
///
/// Shapes: all `[rows, cols]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn log_softmax_gradient<T: Element>(y: &[T], gy: &[T], cols: usize, gx: &mut [T]) {
    T::log_softmax_gradient(y, gy, cols, gx)
}

#[track_caller]
pub(crate) fn log_softmax_gradient_body<T: Element>(y: &[T], gy: &[T], cols: usize, gx: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Gradient<'a, T>(&'a [T], &'a [T]);
    impl<T: Element> RowKernel<T, 1> for Gradient<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [gx]: [&mut [T]; 1]) {
            let y = &self.0[row * gx.len()..][..gx.len()];
            let gy = &self.1[row * gx.len()..][..gx.len()];
            let sum = V::splat(line::sum::<V>(gy));
            let mut i = 0;
            while i < y.len() {
                let p = V::load_partial(&y[i..]).apply(Exp);
                p.neg_mul_add(sum, V::load_partial(&gy[i..]))
                    .store_partial(&mut gx[i..]);
                i += V::LANES;
            }
        }
    }
    let n = count("log_softmax_gradient", y.len(), cols);
    check("log_softmax_gradient", "gy", gy.len(), y.len());
    check("log_softmax_gradient", "gx", gx.len(), y.len());
    rows(
        Gradient(y, gy),
        n,
        2 * cols,
        [Out {
            data: gx,
            width: cols,
        }],
    );
}
