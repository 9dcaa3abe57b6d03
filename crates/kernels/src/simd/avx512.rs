//! Sixteen f32 in an AVX-512 register; masks live in mask registers.

use std::arch::x86_64::*;

use super::vector::{Registers, Sealed, Vector, VectorF32, intrinsics, operators};
use crate::elementwise::UnaryKernel;

#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub(crate) __m512);

const SIGN: i32 = i32::MIN;

operators!(Avx512, |x| Avx512(_mm512_xor_ps(x.0, _mm512_set1_ps(-0.0))),
    Add add _mm512_add_ps, Sub sub _mm512_sub_ps, Mul mul _mm512_mul_ps, Div div _mm512_div_ps);

impl Sealed for Avx512 {}

impl Vector for Avx512 {
    type Element = f32;
    type Mask = __mmask16;
    type Wide = super::pair::Pair<Self>;
    const LANES: usize = 16;
    const REGISTERS: Registers = Registers::new(Self::LANES, 32);

    #[inline(always)]
    unsafe fn load_ptr(x: *const f32) -> Self {
        // SAFETY: the caller's promise, and reason 1 of `simd::vector`.
        unsafe { Self(_mm512_loadu_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(x: *const f32, len: usize) -> Self {
        // SAFETY: masked-off lanes are not read; the caller's promise covers the others.
        unsafe { Self(_mm512_maskz_loadu_ps(Self::first(len), x)) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, y: *mut f32) {
        // SAFETY: the caller's promise, and reason 1 of `simd::vector`.
        unsafe { _mm512_storeu_ps(y, self.0) }
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, y: *mut f32, len: usize) {
        // SAFETY: masked-off lanes are not written; the caller's promise covers the others.
        unsafe { _mm512_mask_storeu_ps(y, Self::first(len), self.0) }
    }
    #[inline(always)]
    fn first(len: usize) -> __mmask16 {
        if len >= 16 { !0 } else { (1 << len) - 1 }
    }
    #[inline(always)]
    fn apply_each<F: UnaryKernel, const N: usize>(x: [Self; N], f: F) -> [Self; N] {
        f.vectors(x)
    }

    intrinsics! {
        fn splat(x: f32) -> Self { Self(_mm512_set1_ps(x)) }
        fn mul_add(self: Self, b: Self, c: Self) -> Self { Self(_mm512_fmadd_ps(self.0, b.0, c.0)) }
        fn neg_mul_add(self: Self, b: Self, c: Self) -> Self { Self(_mm512_fnmadd_ps(self.0, b.0, c.0)) }
        fn max(self: Self, b: Self) -> Self { Self(_mm512_max_ps(self.0, b.0)) }
        fn min(self: Self, b: Self) -> Self { Self(_mm512_min_ps(self.0, b.0)) }
        fn sqrt(self: Self) -> Self { Self(_mm512_sqrt_ps(self.0)) }
        fn abs(self: Self) -> Self { Self(_mm512_abs_ps(self.0)) }
        fn copysign(self: Self, sign: Self) -> Self {
            // Bitwise: where the mask has a 1 take `sign`, else `self`.
            Self(_mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xCA>(
                _mm512_set1_epi32(SIGN), _mm512_castps_si512(sign.0), _mm512_castps_si512(self.0))))
        }
        fn round(self: Self) -> Self {
            Self(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0))
        }
        fn lt(self: Self, b: Self) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, b.0) }
        fn le(self: Self, b: Self) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.0, b.0) }
        fn eq(self: Self, b: Self) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, b.0) }
        fn select(mask: __mmask16, yes: Self, no: Self) -> Self {
            Self(_mm512_mask_blend_ps(mask, no.0, yes.0))
        }
        fn reduce_add(self: Self) -> f32 {
            super::avx2::reduce_add(_mm256_add_ps(low(self.0), high(self.0)))
        }
        fn reduce_max(self: Self) -> f32 {
            super::avx2::reduce_max(_mm256_max_ps(low(self.0), high(self.0)))
        }
    }
}

impl VectorF32 for Avx512 {
    intrinsics! {
        fn scale(self: Self, n: Self) -> Self { Self(_mm512_scalef_ps(self.0, n.0)) }
        fn split_floor(self: Self) -> (Self, Self) {
            // `scalef` takes the floor itself, and is 0 far below; of -inf the fraction is 0.
            const FLOOR: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
            (Self(_mm512_reduce_ps::<FLOOR>(self.0)), self)
        }
        fn split(self: Self) -> (Self, Self) {
            let bits = _mm512_castps_si512(self.0);
            let above = _mm512_sub_epi32(bits, _mm512_set1_epi32(super::vector::SQRT_HALF_BITS));
            let e = _mm512_srai_epi32::<23>(above);
            let m = _mm512_sub_epi32(bits, _mm512_slli_epi32::<23>(e));
            (Self(_mm512_castsi512_ps(m)), Self(_mm512_cvtepi32_ps(e)))
        }
    }
}

#[inline(always)]
unsafe fn low(x: __m512) -> __m256 {
    // SAFETY: called by the reductions only, reason 1 of `simd::vector`.
    unsafe { _mm512_castps512_ps256(x) }
}

#[inline(always)]
unsafe fn high(x: __m512) -> __m256 {
    // SAFETY: called by the reductions only, reason 1 of `simd::vector`.
    unsafe { _mm512_extractf32x8_ps::<1>(x) }
}
