//! Computations with parameters, or that read and write several slices in one pass.

use super::binary::Binary;
use super::{Lanewise, binary_scalar, lanewise};
use crate::element::Element;
use crate::simd::Vector;

/// y += x.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn add_assign<T: Element>(y: &mut [T], x: &[T]) {
    T::add_assign(y, x)
}

#[track_caller]
pub(crate) fn add_assign_body<T: Element>(y: &mut [T], x: &[T]) {
    Binary::Add.run_in_place(y, x);
}

/// gx += gy where y > 0: adds the gradient of relu, from its result (or argument) y.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn add_relu_gradient<T: Element>(y: &[T], gy: &[T], gx: &mut [T]) {
    T::add_relu_gradient(y, gy, gx)
}

#[track_caller]
pub(crate) fn add_relu_gradient_body<T: Element>(y: &[T], gy: &[T], gx: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Add;
    impl Lanewise<1, 2> for Add {
        #[inline(always)]
        fn apply<V: Vector>(self, [gx]: [V; 1], [y, gy]: [V; 2]) -> [V; 1] {
            [gx + y.if_gt(V::zero(), gy, V::zero())]
        }
    }
    lanewise(Add, [gx], [y, gy]);
}

/// x *= alpha.
#[inline]
pub fn scale<T: Element>(alpha: T, x: &mut [T]) {
    T::scale(alpha, x)
}

pub(crate) fn scale_body<T: Element>(alpha: T, x: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Scale(f64);
    impl Lanewise<1, 0> for Scale {
        #[inline(always)]
        fn apply<V: Vector>(self, [x]: [V; 1], _: [V; 0]) -> [V; 1] {
            [x * V::constant(self.0)]
        }
    }
    lanewise(Scale(alpha.to_f64()), [x], []);
}

/// y = scale x + shift; exact for scale = -1 without shift.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn affine<T: Element>(scale: T, shift: T, x: &[T], y: &mut [T]) {
    T::affine(scale, shift, x, y)
}

#[track_caller]
pub(crate) fn affine_body<T: Element>(scale: T, shift: T, x: &[T], y: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Affine(f64, f64);
    impl Lanewise<1, 1> for Affine {
        #[inline(always)]
        fn apply<V: Vector>(self, _: [V; 1], [x]: [V; 1]) -> [V; 1] {
            [x.mul_add(V::constant(self.0), V::constant(self.1))]
        }
    }
    lanewise(Affine(scale.to_f64(), shift.to_f64()), [y], [x]);
}

/// y += alpha x.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn axpy<T: Element>(alpha: T, x: &[T], y: &mut [T]) {
    T::axpy(alpha, x, y)
}

#[track_caller]
pub(crate) fn axpy_body<T: Element>(alpha: T, x: &[T], y: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Axpy(f64);
    impl Lanewise<1, 1> for Axpy {
        #[inline(always)]
        fn apply<V: Vector>(self, [y]: [V; 1], [x]: [V; 1]) -> [V; 1] {
            [x.mul_add(V::constant(self.0), y)]
        }
    }
    lanewise(Axpy(alpha.to_f64()), [y], [x]);
}

/// y = a b + c.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn mul_add<T: Element>(a: &[T], b: &[T], c: &[T], y: &mut [T]) {
    T::mul_add(a, b, c, y)
}

#[track_caller]
pub(crate) fn mul_add_body<T: Element>(a: &[T], b: &[T], c: &[T], y: &mut [T]) {
    #[derive(Clone, Copy)]
    struct MulAdd;
    impl Lanewise<1, 3> for MulAdd {
        #[inline(always)]
        fn apply<V: Vector>(self, _: [V; 1], [a, b, c]: [V; 3]) -> [V; 1] {
            [a.mul_add(b, c)]
        }
    }
    lanewise(MulAdd, [y], [a, b, c]);
}

/// y = x where x > 0, else slope x.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn leaky_relu<T: Element>(slope: T, x: &[T], y: &mut [T]) {
    T::leaky_relu(slope, x, y)
}

#[track_caller]
pub(crate) fn leaky_relu_body<T: Element>(slope: T, x: &[T], y: &mut [T]) {
    binary_scalar(Binary::LeakyRelu, x, slope, y);
}

/// gx = gy where x > 0, else slope gy: the gradient of [`leaky_relu`], with the derivative
/// `slope` at 0. For a positive slope, its result may stand in for x.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[inline]
pub fn leaky_relu_gradient<T: Element>(slope: T, x: &[T], gy: &[T], gx: &mut [T]) {
    T::leaky_relu_gradient(slope, x, gy, gx)
}

#[track_caller]
pub(crate) fn leaky_relu_gradient_body<T: Element>(slope: T, x: &[T], gy: &[T], gx: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Gradient(f64);
    impl Lanewise<1, 2> for Gradient {
        #[inline(always)]
        fn apply<V: Vector>(self, _: [V; 1], [x, gy]: [V; 2]) -> [V; 1] {
            [x.if_gt(V::zero(), gy, gy * V::constant(self.0))]
        }
    }
    lanewise(Gradient(slope.to_f64()), [gx], [x, gy]);
}
