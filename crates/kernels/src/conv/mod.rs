//! Two-dimensional convolution, its input gradient and its weight gradient.
//!
//! Activations are NHWC, weights `[kh, kw, in, out]`: a convolution is a sum over taps of
//! ordinary matrix products, and an unused tap is simply not among them. Wide layers save
//! multiplications where nothing depends on the order of sums: see [`Sums`]; gradients always do.

mod arranged;
mod gather;
mod geometry;
mod gy;
mod image;
mod micro;
mod panel;
mod plan;
mod scatter;
#[cfg(test)]
mod tests;
mod ways;
mod weight;
pub(crate) mod winograd;

pub use arranged::{Arranged, Weights};
pub use geometry::{Conv2d, Padding, Taps};

use crate::element::Element;
use crate::gemm::{Beta, Epilogue, GemmElement};

/// What a number type brings to a convolution; every [`Element`] has it.
pub trait ConvElement: GemmElement + micro::Micro {}
impl ConvElement for f32 {}
impl ConvElement for f64 {}

/// y = act(x * w + bias + plus), the convolution that [`Conv2d`] describes.
///
/// Shapes: x `[batch, in_height, in_width, in_channels]`, w `[kh, kw, in_channels,
/// out_channels]`, y and plus `[batch, out_height, out_width, out_channels]`, bias
/// `[out_channels]`. y is overwritten. Weights of unused taps are not read.
///
/// # Panics
/// If a slice does not have the length its shape asks for, or `g` fails [`Conv2d::check`].
#[track_caller]
#[inline]
pub fn forward<T: Element>(
    g: &Conv2d,
    x: &[T],
    w: Weights<T>,
    plus: Option<&[T]>,
    y: &mut [T],
    epilogue: Epilogue<T>,
    sums: Sums,
) {
    T::conv_forward(g, x, w, plus, y, epilogue, sums)
}

/// How a result is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// One chain of multiply-adds in the order of taps and channels: any convolution that computes
    /// the same sum this way gets the same bits.
    InOrder,
    /// Whatever is fastest. Where a minimal filtering algorithm is (Winograd's), two or three
    /// neighbouring taps cost three quarters or two thirds of the multiplications, and a result is
    /// a sum in another order. It depends on what its taps see, and on nothing else, here too.
    Fast,
}

#[track_caller]
pub(crate) fn forward_body<T: Element>(
    g: &Conv2d,
    x: &[T],
    w: Weights<T>,
    plus: Option<&[T]>,
    y: &mut [T],
    epilogue: Epilogue<T>,
    sums: Sums,
) {
    check("forward", g, x.len(), w.data.len(), y.len());
    if let Some(bias) = epilogue.bias {
        assert!(
            bias.len() == g.out_channels,
            "conv forward: bias has {} elements for {} out_channels",
            bias.len(),
            g.out_channels
        );
    }
    if let Some(plus) = plus {
        assert!(
            plus.len() == y.len(),
            "conv forward: plus has {} elements for a y of {}",
            plus.len(),
            y.len()
        );
    }
    ways::forward(g, x, w, plus, y, epilogue, sums);
}

/// The gradient by x of <y, gy>: a transposed convolution of gy with w.
///
/// Shapes as in [`forward`], gy like y, gx like x. gx is overwritten, or with [`Beta::One`] added to.
///
/// # Panics
/// If a slice does not have the length its shape asks for, or `g` fails [`Conv2d::check`].
#[track_caller]
#[inline]
pub fn input_gradient<T: Element>(g: &Conv2d, gy: &[T], w: Weights<T>, beta: Beta, gx: &mut [T]) {
    T::conv_input_gradient(g, gy, w, beta, gx)
}

#[track_caller]
pub(crate) fn input_gradient_body<T: Element>(
    g: &Conv2d,
    gy: &[T],
    w: Weights<T>,
    beta: Beta,
    gx: &mut [T],
) {
    check("input_gradient", g, gx.len(), w.data.len(), gy.len());
    ways::input_gradient(g, gy, w, beta, gx);
}

/// The gradient by w of <y, gy>.
///
/// Shapes as in [`forward`], gy like y, gw like w. gw is overwritten, unused taps with exactly 0;
/// or with [`Beta::One`] added to.
///
/// # Panics
/// If a slice does not have the length its shape asks for, or `g` fails [`Conv2d::check`].
#[track_caller]
#[inline]
pub fn weight_gradient<T: Element>(g: &Conv2d, x: &[T], gy: &[T], beta: Beta, gw: &mut [T]) {
    T::conv_weight_gradient(g, x, gy, beta, gw)
}

#[track_caller]
pub(crate) fn weight_gradient_body<T: Element>(
    g: &Conv2d,
    x: &[T],
    gy: &[T],
    beta: Beta,
    gw: &mut [T],
) {
    check("weight_gradient", g, x.len(), gw.len(), gy.len());
    weight::weight_gradient(g, x, gy, beta, gw, &mut []);
}

/// [`weight_gradient`] with the gradient by the bias, the sum of gy over all pixels: one pass over
/// gy makes both. gb, as long as there are output channels, is overwritten.
///
/// # Panics
/// As [`weight_gradient`]; and if gb has another length.
#[track_caller]
#[inline]
pub fn weight_and_bias_gradient<T: Element>(
    g: &Conv2d,
    x: &[T],
    gy: &[T],
    beta: Beta,
    gw: &mut [T],
    gb: &mut [T],
) {
    T::conv_weight_and_bias_gradient(g, x, gy, beta, gw, gb)
}

#[track_caller]
pub(crate) fn weight_and_bias_gradient_body<T: Element>(
    g: &Conv2d,
    x: &[T],
    gy: &[T],
    beta: Beta,
    gw: &mut [T],
    gb: &mut [T],
) {
    check("weight_and_bias_gradient", g, x.len(), gw.len(), gy.len());
    assert!(
        gb.len() == g.out_channels,
        "conv weight_and_bias_gradient: gb has {} elements for {} out_channels",
        gb.len(),
        g.out_channels
    );
    weight::weight_gradient(g, x, gy, beta, gw, gb);
}

#[track_caller]
fn check(kernel: &str, g: &Conv2d, x: usize, w: usize, y: usize) {
    g.check();
    for (name, found, expected, shape) in [
        (
            "x",
            x,
            g.x_len(),
            [g.batch, g.in_height, g.in_width, g.in_channels],
        ),
        (
            "w",
            w,
            g.w_len(),
            [g.kernel[0], g.kernel[1], g.in_channels, g.out_channels],
        ),
        (
            "y",
            y,
            g.y_len(),
            [g.batch, g.out_height(), g.out_width(), g.out_channels],
        ),
    ] {
        assert!(
            found == expected,
            "conv {kernel}: {name} (or its gradient) has {found} elements for shape {shape:?}"
        );
    }
}
