//! The number types kernels exist for.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::buffer::Plain;
use crate::compiled::Compiled;
use crate::conv::ConvElement;
use crate::simd::{Double, Isa, Kernel, Registers, Vector, dispatch_f32, registers_f32};

/// f32, on the vectors of the machine, or f64, one number at a time: the oracle that derivatives
/// and f32 results are checked against.
///
/// Kernels are free functions generic over `Element`; what they do is compiled in this crate, see
/// [`Compiled`].
pub trait Element:
    Plain
    + ConvElement
    + Compiled
    + PartialOrd
    + Default
    + Debug
    + Display
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// |self|. This and its siblings are the standard library's, one number at a time: for
    /// operations of a caller's own. The kernels of slices are in
    /// [`elementwise`](crate::elementwise).
    fn abs(self) -> Self;
    /// The square root; NaN of less than 0.
    fn sqrt(self) -> Self;
    /// e^self.
    fn exp(self) -> Self;
    /// e^self - 1, exact near 0.
    fn exp_m1(self) -> Self;
    /// The natural logarithm; NaN of less than 0.
    fn ln(self) -> Self;
    /// ln(1 + self), exact near 0.
    fn ln_1p(self) -> Self;
    /// The sine, of radians.
    fn sin(self) -> Self;
    /// The cosine, of radians.
    fn cos(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The largest integer that is not above.
    fn floor(self) -> Self;
    /// The nearest integer, of two the one away from 0.
    fn round(self) -> Self;
    /// self^exponent.
    fn powf(self, exponent: Self) -> Self;
    /// self^exponent for an integer.
    fn powi(self, exponent: i32) -> Self;
    /// Whether this is not a number.
    fn is_nan(self) -> bool;
    /// Whether this is neither infinite nor NaN.
    fn is_finite(self) -> bool;

    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
    /// Runs `kernel` compiled for `isa`; see [`simd::dispatch`](crate::simd::dispatch()).
    fn dispatch<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output;
    /// The registers that kernels for `isa` are cut to.
    fn registers(isa: Isa) -> Registers;
}

/// The implementation for one type, by its name and how a kernel of it is run.
macro_rules! element {
    ($T:ty, $NAME:literal, |$isa:ident, $kernel:ident| $dispatch:expr, $registers:expr) => {
        impl Element for $T {
            const ZERO: $T = 0.0;
            const ONE: $T = 1.0;
            const NAME: &'static str = $NAME;

            element! { @functions $T:
                abs() -> $T; sqrt() -> $T; exp() -> $T; exp_m1() -> $T; ln() -> $T; ln_1p() -> $T;
                sin() -> $T; cos() -> $T; tanh() -> $T; floor() -> $T; round() -> $T;
                powf(exponent: $T) -> $T; powi(exponent: i32) -> $T;
                is_nan() -> bool; is_finite() -> bool;
            }

            #[inline(always)]
            fn from_f64(x: f64) -> $T {
                x as $T
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline]
            fn dispatch<K: Kernel<$T>>($isa: Isa, $kernel: K) -> K::Output {
                $dispatch
            }
            #[inline]
            fn registers($isa: Isa) -> Registers {
                $registers
            }
        }
    };
    (@functions $T:ty: $($name:ident($($arg:ident: $Arg:ty)?) -> $Out:ty;)*) => {
        $(#[inline(always)]
        fn $name(self $(, $arg: $Arg)?) -> $Out {
            <$T>::$name(self $(, $arg)?)
        })*
    };
}

element!(
    f32,
    "f32",
    |isa, kernel| dispatch_f32(isa, kernel),
    registers_f32(isa)
);
element!(
    f64,
    "f64",
    |_isa, kernel| kernel.run::<Double>(),
    Double::REGISTERS
);

const _: () = {
    const fn one_lane<V: Vector>() -> usize {
        V::LANES
    }
    // The partial loads and stores of `Double` rely on it.
    assert!(one_lane::<Double>() == 1);
};
