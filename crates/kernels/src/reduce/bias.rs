//! Bias and activation of every row, where no product's epilogue does it.

use super::columns::{Columns, by_slabs, slab_rows, sum_columns_body};
use super::rows::{Out, RowKernel, check, count, rows};
use crate::element::Element;
use crate::elementwise::{Binary, binary, leaky_relu_gradient};
use crate::gemm::Activation;
use crate::simd::{Isa, Vector, dispatch};
use std::ops::Range;

/// y\[r, c\] = act(x\[r, c\] + bias\[c\]).
///
/// Shapes: x and y `[rows, cols]`, bias `[cols]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn bias_activation<T: Element>(x: &[T], bias: &[T], activation: Activation, y: &mut [T]) {
    T::bias_activation(x, bias, activation, y)
}

#[track_caller]
pub(crate) fn bias_activation_body<T: Element>(
    x: &[T],
    bias: &[T],
    activation: Activation,
    y: &mut [T],
) {
    #[derive(Clone, Copy)]
    struct Forward<'a, T>(&'a [T], &'a [T], Activation);
    impl<T: Element> RowKernel<T, 1> for Forward<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [y]: [&mut [T]; 1]) {
            let Forward(x, bias, activation) = self;
            let x = &x[row * y.len()..][..y.len()];
            let mut i = 0;
            while i < y.len() {
                let z = V::load_partial(&x[i..]) + V::load_partial(&bias[i..]);
                let z = match activation {
                    Activation::Identity => z,
                    Activation::Relu => V::zero().max(z),
                    Activation::LeakyRelu(slope) => {
                        z.if_gt(V::zero(), z, z * V::constant(slope.into()))
                    }
                };
                z.store_partial(&mut y[i..]);
                i += V::LANES;
            }
        }
    }
    let cols = bias.len();
    let n = count("bias_activation", x.len(), cols);
    check("bias_activation", "y", y.len(), x.len());
    let out = [Out {
        data: y,
        width: cols,
    }];
    rows(Forward(x, bias, activation), n, cols, out);
}

/// The gradients of [`bias_activation`], and of everything else that ends in a bias and an
/// activation, from its result y: gx = gy act'(y), g_bias = the sum over rows of gx. As the
/// derivative is seen in the sign of y, a slope may not be negative.
///
/// Shapes as there; gx like x, g_bias like bias.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn bias_activation_gradient<T: Element>(
    y: &[T],
    gy: &[T],
    activation: Activation,
    gx: &mut [T],
    g_bias: &mut [T],
) {
    T::bias_activation_gradient(y, gy, activation, gx, g_bias)
}

#[track_caller]
pub(crate) fn bias_activation_gradient_body<T: Element>(
    y: &[T],
    gy: &[T],
    activation: Activation,
    gx: &mut [T],
    g_bias: &mut [T],
) {
    let cols = g_bias.len();
    let n = count("bias_activation_gradient", y.len(), cols);
    check("bias_activation_gradient", "gy", gy.len(), y.len());
    check("bias_activation_gradient", "gx", gx.len(), y.len());
    let isa = Isa::current();
    // A slab of gx is summed while it is in the cache.
    let pass = |slab: Range<usize>, [gx]: [&mut [T]; 1], sums: &mut [T]| {
        let slab = slab.start * cols..slab.end * cols;
        let (y, gy) = (&y[slab.clone()], &gy[slab]);
        match activation {
            Activation::Identity => gx.copy_from_slice(gy),
            Activation::Relu => binary(Binary::ReluGradient, y, gy, gx),
            Activation::LeakyRelu(slope) => {
                leaky_relu_gradient(T::from_f64(slope.into()), y, gy, gx)
            }
        }
        dispatch(isa, Columns { x: gx, y: sums });
    };
    if n <= slab_rows(cols) {
        return pass(0..n, [gx], g_bias);
    }
    let partial = by_slabs(n, cols, cols, [gx], true, pass);
    sum_columns_body(&partial, g_bias);
}
