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

    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
    /// Runs `kernel` compiled for `isa`; see [`simd::dispatch`](crate::simd::dispatch()).
    fn dispatch<K: Kernel<Self>>(isa: Isa, kernel: K) -> K::Output;
    /// The registers that kernels for `isa` are cut to.
    fn registers(isa: Isa) -> Registers;
}

impl Element for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const NAME: &'static str = "f32";

    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline]
    fn dispatch<K: Kernel<f32>>(isa: Isa, kernel: K) -> K::Output {
        dispatch_f32(isa, kernel)
    }
    #[inline]
    fn registers(isa: Isa) -> Registers {
        registers_f32(isa)
    }
}

impl Element for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const NAME: &'static str = "f64";

    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline]
    fn dispatch<K: Kernel<f64>>(_: Isa, kernel: K) -> K::Output {
        kernel.run::<Double>()
    }
    #[inline]
    fn registers(_: Isa) -> Registers {
        Double::REGISTERS
    }
}

const _: () = {
    const fn one_lane<V: Vector>() -> usize {
        V::LANES
    }
    // The partial loads and stores of `Double` rely on it.
    assert!(one_lane::<Double>() == 1);
};
