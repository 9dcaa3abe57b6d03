//! Eight f32 in `wide` vectors at the baseline of the target; runs everywhere.
//!
//! Multiply-add rounds twice here: kernels must keep their error bound without fusion.

use wide::{f32x8, i32x8};

use super::vector::{Registers, SQRT_HALF_BITS, Sealed, Vector, VectorF32, operators};
use crate::elementwise::UnaryKernel;

#[derive(Clone, Copy)]
pub(crate) struct Portable(f32x8);

operators!(Portable, |x| Portable(x.0 ^ sign_bits()),
    Add add |a: f32x8, b: f32x8| a + b, Sub sub |a: f32x8, b: f32x8| a - b,
    Mul mul |a: f32x8, b: f32x8| a * b, Div div |a: f32x8, b: f32x8| a / b);

#[inline(always)]
fn sign_bits() -> f32x8 {
    f32x8::splat(-0.0)
}

#[inline(always)]
fn bits(x: f32x8) -> i32x8 {
    i32x8::new(x.to_array().map(|x| x.to_bits() as i32))
}

#[inline(always)]
fn from_bits(x: i32x8) -> f32x8 {
    f32x8::new(x.to_array().map(|x| f32::from_bits(x as u32)))
}

impl Sealed for Portable {}

impl Vector for Portable {
    type Element = f32;
    type Mask = f32x8;
    type Wide = Self;
    const LANES: usize = 8;
    // Eight lanes are two of the sixteen registers of the baseline.
    const REGISTERS: Registers = Registers::new(Self::LANES, 8);

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(f32x8::splat(x))
    }
    #[inline(always)]
    unsafe fn load_ptr(x: *const f32) -> Self {
        // SAFETY: the caller promises eight readable elements; arrays of f32 need no more
        // alignment than f32.
        Self(f32x8::new(unsafe { *x.cast::<[f32; 8]>() }))
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(x: *const f32, len: usize) -> Self {
        let mut lanes = [0.0; 8];
        // SAFETY: `len <= 8`, and the caller promises that many elements.
        unsafe { std::ptr::copy_nonoverlapping(x, lanes.as_mut_ptr(), len) };
        Self(f32x8::new(lanes))
    }
    #[inline(always)]
    unsafe fn store_ptr(self, y: *mut f32) {
        // SAFETY: the caller promises eight writable elements; arrays of f32 need no more
        // alignment than f32.
        unsafe { *y.cast::<[f32; 8]>() = self.0.to_array() }
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, y: *mut f32, len: usize) {
        let lanes = self.0.to_array();
        // SAFETY: `len <= 8`, and the caller promises that many elements.
        unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), y, len) }
    }
    #[inline(always)]
    fn first(len: usize) -> f32x8 {
        let lane = f32x8::new([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        lane.simd_lt(f32x8::splat(len.min(8) as f32))
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(self.0.mul_add(b.0, c.0))
    }
    #[inline(always)]
    fn neg_mul_add(self, b: Self, c: Self) -> Self {
        Self(self.0.mul_neg_add(b.0, c.0))
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self::select(b.lt(self), self, b)
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self::select(self.lt(b), self, b)
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
        Self(sign_bits().bitselect(sign.0, self.0))
    }
    #[inline(always)]
    fn round(self) -> Self {
        // Adding 1.5 * 2^23 leaves no bits after the point.
        let magic = f32x8::splat(12582912.0);
        Self((self.0 + magic) - magic)
    }
    #[inline(always)]
    fn lt(self, b: Self) -> f32x8 {
        self.0.simd_lt(b.0)
    }
    #[inline(always)]
    fn le(self, b: Self) -> f32x8 {
        self.0.simd_le(b.0)
    }
    #[inline(always)]
    fn eq(self, b: Self) -> f32x8 {
        self.0.simd_eq(b.0)
    }
    #[inline(always)]
    fn select(mask: f32x8, yes: Self, no: Self) -> Self {
        Self(mask.bitselect(yes.0, no.0))
    }
    #[inline(always)]
    fn reduce_add(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0.to_array();
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        let max = |a: f32, b: f32| if a > b { a } else { b };
        let [a, b, c, d, e, f, g, h] = self.0.to_array();
        max(max(max(a, e), max(c, g)), max(max(b, f), max(d, h)))
    }
    #[inline(always)]
    fn apply_each<F: UnaryKernel, const N: usize>(x: [Self; N], f: F) -> [Self; N] {
        f.vectors(x)
    }
}

impl VectorF32 for Portable {
    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        // Two factors: n reaches beyond what one exponent field holds.
        let n = n.0.fast_round_int();
        let half = n >> 1;
        let power = |n: i32x8| from_bits((n + i32x8::splat(127)) << 23);
        Self(self.0 * power(half) * power(n - half))
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let bits = bits(self.0);
        let e: i32x8 = (bits - i32x8::splat(SQRT_HALF_BITS)) >> 23;
        let m = bits - (e << 23);
        (Self(from_bits(m)), Self(f32x8::from_i32x8(e)))
    }
    #[inline(always)]
    fn residual(self, b: Self, c: Self) -> Self {
        // Dekker 1971: factors of 12 bits have exact products.
        let high = |x: Self| Self(from_bits(bits(x.0) & i32x8::splat(HIGH_BITS)));
        let product = self * b;
        let (a_high, b_high) = (high(self), high(b));
        let (a_low, b_low) = (self - a_high, b - b_high);
        let lost = a_high * b_high - product;
        let lost = (lost + a_high * b_low + a_low * b_high) + a_low * b_low;
        (c - product) - lost
    }
}

/// All but the lowest 12 bits.
const HIGH_BITS: i32 = !0xfff;
