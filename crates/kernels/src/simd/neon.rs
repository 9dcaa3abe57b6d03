//! Four f32 in a NEON register of AArch64; a mask is a vector whose lanes are all ones or zeros.

use std::arch::aarch64::*;

use super::vector::{Registers, Sealed, Vector, VectorF32, intrinsics, operators};
use crate::elementwise::UnaryKernel;

#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t);

operators!(Neon, |x| Neon(vnegq_f32(x.0)),
    Add add vaddq_f32, Sub sub vsubq_f32, Mul mul vmulq_f32, Div div vdivq_f32);

impl Sealed for Neon {}

impl Vector for Neon {
    type Element = f32;
    type Mask = uint32x4_t;
    type Wide = Self;
    const LANES: usize = 4;
    const REGISTERS: Registers = Registers::new(Self::LANES, 32);

    #[inline(always)]
    unsafe fn load_ptr(x: *const f32) -> Self {
        // SAFETY: the caller's promise, and reason 1 of `simd::vector`.
        unsafe { Self(vld1q_f32(x)) }
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(x: *const f32, len: usize) -> Self {
        let mut lanes = [0.0; 4];
        // SAFETY: `len <= 4`, and the caller promises that many elements.
        unsafe {
            std::ptr::copy_nonoverlapping(x, lanes.as_mut_ptr(), len);
            Self::load_ptr(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, y: *mut f32) {
        // SAFETY: the caller's promise, and reason 1 of `simd::vector`.
        unsafe { vst1q_f32(y, self.0) }
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, y: *mut f32, len: usize) {
        let mut lanes = [0.0; 4];
        // SAFETY: `len <= 4`, and the caller promises that many elements.
        unsafe {
            self.store_ptr(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), y, len);
        }
    }
    #[inline(always)]
    fn apply_each<F: UnaryKernel, const N: usize>(x: [Self; N], f: F) -> [Self; N] {
        f.vectors(x)
    }

    intrinsics! {
        fn first(len: usize) -> uint32x4_t {
            vcltq_u32(vld1q_u32([0, 1, 2, 3].as_ptr()), vdupq_n_u32(len.min(4) as u32))
        }
        fn splat(x: f32) -> Self { Self(vdupq_n_f32(x)) }
        fn mul_add(self: Self, b: Self, c: Self) -> Self { Self(vfmaq_f32(c.0, self.0, b.0)) }
        fn neg_mul_add(self: Self, b: Self, c: Self) -> Self { Self(vfmsq_f32(c.0, self.0, b.0)) }
        fn max(self: Self, b: Self) -> Self { Self(vbslq_f32(vcgtq_f32(self.0, b.0), self.0, b.0)) }
        fn min(self: Self, b: Self) -> Self { Self(vbslq_f32(vcltq_f32(self.0, b.0), self.0, b.0)) }
        fn sqrt(self: Self) -> Self { Self(vsqrtq_f32(self.0)) }
        fn abs(self: Self) -> Self { Self(vabsq_f32(self.0)) }
        fn copysign(self: Self, sign: Self) -> Self {
            Self(vbslq_f32(vdupq_n_u32(1 << 31), sign.0, self.0))
        }
        fn round(self: Self) -> Self { Self(vrndnq_f32(self.0)) }
        fn lt(self: Self, b: Self) -> uint32x4_t { vcltq_f32(self.0, b.0) }
        fn le(self: Self, b: Self) -> uint32x4_t { vcleq_f32(self.0, b.0) }
        fn eq(self: Self, b: Self) -> uint32x4_t { vceqq_f32(self.0, b.0) }
        fn select(mask: uint32x4_t, yes: Self, no: Self) -> Self { Self(vbslq_f32(mask, yes.0, no.0)) }
        fn reduce_add(self: Self) -> f32 { vaddvq_f32(self.0) }
        fn reduce_max(self: Self) -> f32 { vmaxvq_f32(self.0) }
    }
}

impl VectorF32 for Neon {
    intrinsics! {
        fn scale(self: Self, n: Self) -> Self {
            // Two factors: n reaches beyond what one exponent field holds.
            let n = vcvtq_s32_f32(n.0);
            let half = vshrq_n_s32::<1>(n);
            Self(vmulq_f32(vmulq_f32(self.0, power(half)), power(vsubq_s32(n, half))))
        }
        fn split(self: Self) -> (Self, Self) {
            let bits = vreinterpretq_s32_f32(self.0);
            let e = vshrq_n_s32::<23>(vsubq_s32(bits, vdupq_n_s32(super::vector::SQRT_HALF_BITS)));
            let m = vsubq_s32(bits, vshlq_n_s32::<23>(e));
            (Self(vreinterpretq_f32_s32(m)), Self(vcvtq_f32_s32(e)))
        }
    }
}

/// 2^n for n in [-126, 127].
#[inline(always)]
unsafe fn power(n: int32x4_t) -> float32x4_t {
    // SAFETY: called by `scale` only, reason 1 of `simd::vector`.
    unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(n, vdupq_n_s32(127)))) }
}
