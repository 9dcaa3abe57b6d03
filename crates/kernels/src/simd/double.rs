//! One f64: the same kernel bodies in double precision, with the f64 references as functions.

use super::vector::{Registers, Sealed, Vector, operators};
use crate::elementwise::UnaryKernel;

#[derive(Clone, Copy)]
pub(crate) struct Double(f64);

operators!(Double, |x| Double(-x.0),
    Add add |a: f64, b: f64| a + b, Sub sub |a: f64, b: f64| a - b,
    Mul mul |a: f64, b: f64| a * b, Div div |a: f64, b: f64| a / b);

impl Sealed for Double {}

impl Vector for Double {
    type Element = f64;
    type Mask = bool;
    type Wide = Self;
    const LANES: usize = 1;
    // The oracle: its results matter, not its speed.
    const REGISTERS: Registers = Registers::new(Self::LANES, 8);

    #[inline(always)]
    fn splat(x: f64) -> Self {
        Self(x)
    }
    #[inline(always)]
    unsafe fn load_ptr(x: *const f64) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { *x })
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(x: *const f64, len: usize) -> Self {
        // SAFETY: the caller's promise: with a length there is one element.
        Self(if len > 0 { unsafe { *x } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_ptr(self, y: *mut f64) {
        // SAFETY: the caller's promise.
        unsafe { *y = self.0 }
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, y: *mut f64, len: usize) {
        if len > 0 {
            // SAFETY: the caller's promise: with a length there is one element.
            unsafe { *y = self.0 }
        }
    }
    #[inline(always)]
    fn first(len: usize) -> bool {
        len > 0
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // Not `f64::mul_add`: without the instruction that is a slow library call.
        Self(self.0 * b.0 + c.0)
    }
    #[inline(always)]
    fn neg_mul_add(self, b: Self, c: Self) -> Self {
        Self(c.0 - self.0 * b.0)
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        if self.0 > b.0 { self } else { b }
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        if self.0 < b.0 { self } else { b }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }
    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        Self(self.0.copysign(sign.0))
    }
    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.round_ties_even())
    }
    #[inline(always)]
    fn lt(self, b: Self) -> bool {
        self.0 < b.0
    }
    #[inline(always)]
    fn le(self, b: Self) -> bool {
        self.0 <= b.0
    }
    #[inline(always)]
    fn eq(self, b: Self) -> bool {
        self.0 == b.0
    }
    #[inline(always)]
    fn select(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }
    #[inline(always)]
    fn reduce_add(self) -> f64 {
        self.0
    }
    #[inline(always)]
    fn reduce_max(self) -> f64 {
        self.0
    }
    #[inline(always)]
    fn apply_each<F: UnaryKernel, const N: usize>(x: [Self; N], f: F) -> [Self; N] {
        x.map(|x| Self(f.reference(x.0)))
    }
}
