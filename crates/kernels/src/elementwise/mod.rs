//! Kernels that treat every element alike.
//!
//! [`Unary`] and [`Binary`] are the tables: a kernel is one file with its vector body, its f64
//! reference and its error bound, and one name in its table. [`lanewise`] is the loop under all of
//! them, and under whatever reads and writes several slices in one pass ([`Lanewise`]).

pub mod binary;
pub(crate) mod broadcast;
pub(crate) mod combine;
mod lanewise;
pub mod unary;

pub use binary::{Binary, BinaryKernel};
pub use broadcast::Operand;
pub use combine::{
    add_assign, add_relu_gradient, affine, axpy, leaky_relu, leaky_relu_gradient, mul_add, scale,
};
pub use lanewise::{Lanewise, lanewise};
pub use unary::{Unary, UnaryKernel};

use crate::element::Element;

/// y\[i\] = f(x\[i\]).
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn unary<T: Element>(f: Unary, x: &[T], y: &mut [T]) {
    T::unary(f, x, y)
}

/// x\[i\] = f(x\[i\]).
#[inline]
pub fn unary_in_place<T: Element>(f: Unary, x: &mut [T]) {
    T::unary_in_place(f, x)
}

/// y\[i\] = f(a\[i\], b\[i\]).
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn binary<T: Element>(f: Binary, a: &[T], b: &[T], y: &mut [T]) {
    T::binary(f, a, b, y)
}

/// y\[i\] = f(a\[i\], b).
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn binary_scalar<T: Element>(f: Binary, a: &[T], b: T, y: &mut [T]) {
    T::binary_scalar(f, a, b, y)
}

/// y\[i\] = f(a, b\[i\]).
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn scalar_binary<T: Element>(f: Binary, a: T, b: &[T], y: &mut [T]) {
    T::scalar_binary(f, a, b, y)
}

/// y = f(a, b) on a matrix of `cols` columns, with either operand repeated along rows or columns.
///
/// Shapes: y `[rows, cols]`; a and b as their [`Operand`] says.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
#[inline]
pub fn binary_broadcast<T: Element>(
    f: Binary,
    a: Operand<T>,
    b: Operand<T>,
    cols: usize,
    y: &mut [T],
) {
    T::binary_broadcast(f, a, b, cols, y)
}

/// How far an f32 kernel may be from its f64 reference.
///
/// With r the reference at the same f32 arguments, |y - r| <= ulps * ulp(max(|r|, scale)), where
/// ulp(v) is the distance between neighbouring f32 at v; NaN is NaN in both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// The bound in units in the last place; 0.5 is correct rounding.
    pub ulps: f64,
    /// Below this size of the result the bound is absolute; zero if it never is.
    pub scale: f64,
}

impl Accuracy {
    /// Correctly rounded.
    pub const EXACT: Accuracy = Accuracy::ulps(0.5);

    /// A bound relative to the result itself.
    pub const fn ulps(ulps: f64) -> Accuracy {
        Accuracy { ulps, scale: 0.0 }
    }

    /// The error of `y` against `reference` in units of the bound's ulp; infinite where only one of
    /// them is NaN. Infinity counts as the number after the largest f32.
    pub fn error(self, y: f32, reference: f64) -> f64 {
        if y.is_nan() || reference.is_nan() {
            return if y.is_nan() && reference.is_nan() {
                0.0
            } else {
                f64::INFINITY
            };
        }
        let end = 2f64.powi(128);
        let (y, reference) = (f64::from(y).clamp(-end, end), reference.clamp(-end, end));
        let size = reference.abs().max(self.scale);
        let exponent = ((size.to_bits() >> 52) as i32 - 1023).clamp(-126, 127);
        let ulp = f64::from_bits(((exponent - 23 + 1023) as u64) << 52);
        (y - reference).abs() / ulp
    }
}
