//! Eight f32 in an AVX register, with FMA; a mask is a vector whose lanes are all ones or zeros.

use std::arch::x86_64::*;

use super::vector::{Registers, Sealed, Vector, VectorF32, intrinsics, operators};
use crate::elementwise::UnaryKernel;

#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(crate) __m256);

/// Eight ones, then eight zeros: the mask of the first `len` lanes begins at `8 - len`.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

operators!(Avx2, |x| Avx2(_mm256_xor_ps(x.0, _mm256_set1_ps(-0.0))),
    Add add _mm256_add_ps, Sub sub _mm256_sub_ps, Mul mul _mm256_mul_ps, Div div _mm256_div_ps);

/// The first `len` lanes, `len <= 8`.
#[inline(always)]
unsafe fn lanes(len: usize) -> __m256i {
    let masks = &MASKS[8 - len..16 - len];
    // SAFETY: the slice holds eight values; reason 1 of `simd::vector`.
    unsafe { _mm256_loadu_si256(masks.as_ptr().cast()) }
}

impl Sealed for Avx2 {}

impl Vector for Avx2 {
    type Element = f32;
    type Mask = __m256;
    type Wide = super::pair::Pair<Self>;
    const LANES: usize = 8;
    const REGISTERS: Registers = Registers::new(Self::LANES, 16);

    #[inline(always)]
    unsafe fn load_ptr(x: *const f32) -> Self {
        // SAFETY: the caller's promise, and reason 1 of `simd::vector`.
        unsafe { Self(_mm256_loadu_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(x: *const f32, len: usize) -> Self {
        // SAFETY: masked-off lanes are not read; the caller's promise covers the others.
        unsafe { Self(_mm256_maskload_ps(x, lanes(len))) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, y: *mut f32) {
        // SAFETY: the caller's promise, and reason 1 of `simd::vector`.
        unsafe { _mm256_storeu_ps(y, self.0) }
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, y: *mut f32, len: usize) {
        // SAFETY: masked-off lanes are not written; the caller's promise covers the others.
        unsafe { _mm256_maskstore_ps(y, lanes(len), self.0) }
    }
    #[inline(always)]
    fn apply_each<F: UnaryKernel, const N: usize>(x: [Self; N], f: F) -> [Self; N] {
        f.vectors(x)
    }

    intrinsics! {
        fn first(len: usize) -> __m256 { _mm256_castsi256_ps(lanes(len.min(8))) }
        fn splat(x: f32) -> Self { Self(_mm256_set1_ps(x)) }
        fn mul_add(self: Self, b: Self, c: Self) -> Self { Self(_mm256_fmadd_ps(self.0, b.0, c.0)) }
        fn neg_mul_add(self: Self, b: Self, c: Self) -> Self { Self(_mm256_fnmadd_ps(self.0, b.0, c.0)) }
        fn max(self: Self, b: Self) -> Self { Self(_mm256_max_ps(self.0, b.0)) }
        fn min(self: Self, b: Self) -> Self { Self(_mm256_min_ps(self.0, b.0)) }
        fn sqrt(self: Self) -> Self { Self(_mm256_sqrt_ps(self.0)) }
        fn abs(self: Self) -> Self { Self(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)) }
        fn copysign(self: Self, sign: Self) -> Self {
            let mask = _mm256_set1_ps(-0.0);
            Self(_mm256_or_ps(_mm256_andnot_ps(mask, self.0), _mm256_and_ps(mask, sign.0)))
        }
        fn round(self: Self) -> Self {
            Self(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0))
        }
        fn lt(self: Self, b: Self) -> __m256 { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, b.0) }
        fn le(self: Self, b: Self) -> __m256 { _mm256_cmp_ps::<_CMP_LE_OQ>(self.0, b.0) }
        fn eq(self: Self, b: Self) -> __m256 { _mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, b.0) }
        fn select(mask: __m256, yes: Self, no: Self) -> Self {
            Self(_mm256_blendv_ps(no.0, yes.0, mask))
        }
        fn reduce_add(self: Self) -> f32 { reduce_add(self.0) }
        fn reduce_max(self: Self) -> f32 { reduce_max(self.0) }
    }
}

impl VectorF32 for Avx2 {
    intrinsics! {
        fn scale(self: Self, n: Self) -> Self {
            // Two factors: n reaches beyond what one exponent field holds.
            let n = _mm256_cvtps_epi32(n.0);
            let half = _mm256_srai_epi32::<1>(n);
            let first = _mm256_mul_ps(self.0, power(half));
            Self(_mm256_mul_ps(first, power(_mm256_sub_epi32(n, half))))
        }
        fn split(self: Self) -> (Self, Self) {
            let bits = _mm256_castps_si256(self.0);
            let above = _mm256_sub_epi32(bits, _mm256_set1_epi32(super::vector::SQRT_HALF_BITS));
            let e = _mm256_srai_epi32::<23>(above);
            let m = _mm256_sub_epi32(bits, _mm256_slli_epi32::<23>(e));
            (Self(_mm256_castsi256_ps(m)), Self(_mm256_cvtepi32_ps(e)))
        }
    }
}

/// 2^n for n in [-126, 127].
#[inline(always)]
unsafe fn power(n: __m256i) -> __m256 {
    // SAFETY: called by `scale` only, reason 1 of `simd::vector`.
    unsafe {
        let exponent = _mm256_add_epi32(n, _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
    }
}

#[inline(always)]
pub(super) unsafe fn reduce_add(x: __m256) -> f32 {
    // SAFETY: called by the reductions only, reason 1 of `simd::vector`.
    unsafe {
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
    }
}

#[inline(always)]
pub(super) unsafe fn reduce_max(x: __m256) -> f32 {
    // SAFETY: called by the reductions only, reason 1 of `simd::vector`.
    unsafe {
        let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps::<1>(x, x)))
    }
}
