//! The gated activation, whose two arguments are the halves of each row.

use super::rows::{Out, RowKernel, check, count, rows};
use crate::element::Element;
use crate::elementwise::unary::{Sigmoid, Tanh};
use crate::simd::Vector;

/// y = tanh(a) sigmoid(b) for rows x = (a, b): the gated activation of van den Oord et al. 2016,
/// arXiv:1606.05328, equation 2.
///
/// Shapes: x `[rows, 2 cols]`, y `[rows, cols]`; halves = (tanh(a), sigmoid(b)) like x, written
/// for [`gate_gradient`].
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn gate<T: Element>(x: &[T], cols: usize, y: &mut [T], halves: &mut [T]) {
    T::gate(x, cols, y, halves)
}

#[track_caller]
pub(crate) fn gate_body<T: Element>(x: &[T], cols: usize, y: &mut [T], halves: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Gate<'a, T>(&'a [T]);
    impl<T: Element> RowKernel<T, 2> for Gate<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [y, halves]: [&mut [T]; 2]) {
            let (a, b) = self.0[row * halves.len()..][..halves.len()].split_at(y.len());
            let (tanh, sigmoid) = halves.split_at_mut(y.len());
            let mut i = 0;
            while i < y.len() {
                let t = V::load_partial(&a[i..]).apply(Tanh);
                let s = V::load_partial(&b[i..]).apply(Sigmoid);
                t.store_partial(&mut tanh[i..]);
                s.store_partial(&mut sigmoid[i..]);
                (t * s).store_partial(&mut y[i..]);
                i += V::LANES;
            }
        }
    }
    let n = count("gate", y.len(), cols);
    check("gate", "x", x.len(), 2 * y.len());
    check("gate", "halves", halves.len(), x.len());
    let out = [
        Out {
            data: y,
            width: cols,
        },
        Out {
            data: halves,
            width: 2 * cols,
        },
    ];
    rows(Gate(x), n, 16 * cols, out);
}

/// The gradient of [`gate`] from what it wrote: with t = tanh(a) and s = sigmoid(b),
/// ga = gy s (1 - t^2) and gb = gy t s (1 - s), gx = (ga, gb). Reading t and s again takes less
/// than a third of the time of computing them.
///
/// Shapes: halves and gx `[rows, 2 cols]`, gy `[rows, cols]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn gate_gradient<T: Element>(halves: &[T], gy: &[T], cols: usize, gx: &mut [T]) {
    T::gate_gradient(halves, gy, cols, gx)
}

#[track_caller]
pub(crate) fn gate_gradient_body<T: Element>(halves: &[T], gy: &[T], cols: usize, gx: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Gradient<'a, T>(&'a [T], &'a [T]);
    impl<T: Element> RowKernel<T, 1> for Gradient<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [gx]: [&mut [T]; 1]) {
            let Gradient(halves, gy) = self;
            let cols = gx.len() / 2;
            let (tanh, sigmoid) = halves[row * gx.len()..][..gx.len()].split_at(cols);
            let gy = &gy[row * cols..][..cols];
            let (ga, gb) = gx.split_at_mut(cols);
            let mut i = 0;
            while i < cols {
                let t = V::load_partial(&tanh[i..]);
                let s = V::load_partial(&sigmoid[i..]);
                let gs = V::load_partial(&gy[i..]) * s;
                (gs * ((V::one() - t) * (V::one() + t))).store_partial(&mut ga[i..]);
                (gs * t * (V::one() - s)).store_partial(&mut gb[i..]);
                i += V::LANES;
            }
        }
    }
    let n = count("gate_gradient", gy.len(), cols);
    check("gate_gradient", "halves", halves.len(), 2 * gy.len());
    check("gate_gradient", "gx", gx.len(), halves.len());
    let out = [Out {
        data: gx,
        width: 2 * cols,
    }];
    rows(Gradient(halves, gy), n, 2 * cols, out);
}
