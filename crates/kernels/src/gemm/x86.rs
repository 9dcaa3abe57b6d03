//! The microkernel and the transposing copy for AVX-512 and AVX2.
//!
//! The `#[target_feature]` functions of this file are reached only through a table that an
//! [`Isa`](crate::simd::Isa) token stands for: that is why they may be called.

use std::arch::x86_64::*;

use super::assembly;
use super::kernels::Kernels;
use super::tile::{Tile, copy, tile};
use crate::simd::{Avx2, Avx512};

/// The microkernel and the copy for one instruction set.
macro_rules! instances {
    ($name:ident, $copy:ident, $V:ident, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $copy(
            from: *const f32,
            from_stride: usize,
            width: usize,
            k: usize,
            to: *mut f32,
            to_stride: usize,
        ) {
            // SAFETY: this function has the instruction set; the rest is the caller's duty.
            unsafe { copy::<$V>(from, from_stride, width, k, to, to_stride) }
        }

        #[target_feature(enable = $features)]
        unsafe fn $name<
            const MR: usize,
            const NV: usize,
            const ROWS: bool,
            const PACK: bool,
            const MASKED: bool,
        >(
            t: &Tile,
        ) {
            // SAFETY: this function has the instruction set; the rest is the caller's duty.
            unsafe { tile::<$V, MR, NV, ROWS, PACK, MASKED>(t) }
        }
    };
}
instances!(
    avx512_tile,
    avx512_copy,
    Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
);
instances!(avx2_tile, avx2_copy, Avx2, "avx2,fma");

/// Instances by [vectors - 1], height in the order given, and [whether rows of a are contiguous].
macro_rules! table {
    ($name:ident $pack:literal $masked:literal: $mr:tt) => {
        &[table!(@ $name 1 $pack $masked $mr), table!(@ $name 2 $pack $masked $mr)]
    };
    (@ $name:ident $nv:literal $pack:literal $masked:literal [$($mr:literal)*]) => {
        &[$([
            $name::<$mr, $nv, false, $pack, $masked>,
            $name::<$mr, $nv, true, $pack, $masked>,
        ]),*]
    };
}

pub(super) static AVX512: Kernels = Kernels {
    lanes: 16,
    tiles: table!(avx512_tile false false: [1 2 3 4 5 6 7 8 9 10 11 12 13 14]),
    packing: table!(avx512_tile true false: [14 13 12 11 10 9]),
    masked: table!(avx512_tile false true: [1 2 3 4 5 6 7 8 9 10 11 12 13 14]),
    transpose: avx512_transpose,
    copy: avx512_copy,
    wider: Some(&AVX512_WIDER),
};
/// Tiles of one to four rows, and those with loops in assembly.
macro_rules! wider {
    ($nv:literal: $($columns:ident $rows:ident)*) => {
        &[
            [avx512_tile::<1, $nv, false, false, false>, avx512_tile::<1, $nv, true, false, false>],
            [avx512_tile::<2, $nv, false, false, false>, avx512_tile::<2, $nv, true, false, false>],
            [avx512_tile::<3, $nv, false, false, false>, avx512_tile::<3, $nv, true, false, false>],
            [avx512_tile::<4, $nv, false, false, false>, avx512_tile::<4, $nv, true, false, false>],
            $([assembly::$columns, assembly::$rows]),*
        ]
    };
}

/// [`AVX512`] with wider tiles.
pub(super) static AVX512_WIDER: Kernels = Kernels {
    tiles: &[
        table!(@ avx512_tile 1 false false [1 2 3 4 5 6 7 8]),
        wider!(2: columns_5x32 rows_5x32 columns_6x32 rows_6x32
            columns_7x32 rows_7x32 columns_8x32 rows_8x32),
        wider!(3: columns_5x48 rows_5x48 columns_6x48 rows_6x48
            columns_7x48 rows_7x48 columns_8x48 rows_8x48),
    ],
    packing: &[
        table!(@ avx512_tile 1 true false [8 7 6 5]),
        table!(@ avx512_tile 2 true false [8 7 6 5]),
        table!(@ avx512_tile 3 true false [8 7 6 5]),
    ],
    masked: &[
        table!(@ avx512_tile 1 false true [1 2 3 4 5 6 7 8]),
        table!(@ avx512_tile 2 false true [1 2 3 4 5 6 7 8]),
        table!(@ avx512_tile 3 false true [1 2 3 4 5 6 7 8]),
    ],
    transpose: avx512_transpose_8,
    copy: avx512_copy_8,
    wider: None,
    ..AVX512
};
pub(super) static AVX2: Kernels = Kernels {
    lanes: 8,
    tiles: &[
        table!(@ avx2_tile 1 false false [1 2 3 4 5 6]),
        &[
            [
                avx2_tile::<1, 2, false, false, false>,
                avx2_tile::<1, 2, true, false, false>,
            ],
            [
                avx2_tile::<2, 2, false, false, false>,
                avx2_tile::<2, 2, true, false, false>,
            ],
            [
                avx2_tile::<3, 2, false, false, false>,
                avx2_tile::<3, 2, true, false, false>,
            ],
            [assembly::columns_4x16, assembly::rows_4x16],
            [assembly::columns_5x16, assembly::rows_5x16],
            [assembly::columns_6x16, assembly::rows_6x16],
        ],
    ],
    packing: table!(avx2_tile true false: [6 5 4]),
    masked: table!(avx2_tile false true: [1 2 3 4 5 6]),
    transpose: avx2_transpose,
    copy: avx2_copy,
    wider: None,
};

/// How far ahead of use the transposing copy reads in each row.
const AHEAD: usize = 64;

/// to[p * to_stride + i] = from[i * from_stride + p] for i < lanes, p < k.
///
/// ```text
/// for four columns p..p+4:
///     r[i] = 128-bit pieces of rows i, i + 4, i + 8, i + 12   // loads that insert: no shuffles
///     4 x 4 transposes inside every 128-bit piece             // 8 shuffles for 4 vectors
///     store 4 vectors
/// ```
///
/// # Safety
/// As [`super::kernels::TransposeFn`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512_transpose(
    from: *const f32,
    from_stride: usize,
    rows: usize,
    k: usize,
    to: *mut f32,
    to_stride: usize,
) {
    // SAFETY: rows that do not exist are read from the last that does; the rest is the caller's.
    unsafe {
        let mut row = [from; 16];
        for (i, row) in row.iter_mut().enumerate() {
            *row = from.add(i.min(rows - 1) * from_stride);
        }
        let mut p = 0;
        while p + 4 <= k {
            if p % 16 == 0 && p + AHEAD < k {
                // So many rows are more than the hardware follows.
                for row in row {
                    _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(p + AHEAD).cast());
                }
            }
            let gather = |i: usize| {
                let x = _mm512_castps128_ps512(_mm_loadu_ps(row[i].add(p)));
                let x = _mm512_insertf32x4::<1>(x, _mm_loadu_ps(row[i + 4].add(p)));
                let x = _mm512_insertf32x4::<2>(x, _mm_loadu_ps(row[i + 8].add(p)));
                _mm512_insertf32x4::<3>(x, _mm_loadu_ps(row[i + 12].add(p)))
            };
            let (r0, r1, r2, r3) = (gather(0), gather(1), gather(2), gather(3));
            let (a, b) = (_mm512_unpacklo_ps(r0, r1), _mm512_unpackhi_ps(r0, r1));
            let (c, d) = (_mm512_unpacklo_ps(r2, r3), _mm512_unpackhi_ps(r2, r3));
            let to = to.add(p * to_stride);
            _mm512_storeu_ps(to, _mm512_shuffle_ps::<0x44>(a, c));
            _mm512_storeu_ps(to.add(to_stride), _mm512_shuffle_ps::<0xee>(a, c));
            _mm512_storeu_ps(to.add(2 * to_stride), _mm512_shuffle_ps::<0x44>(b, d));
            _mm512_storeu_ps(to.add(3 * to_stride), _mm512_shuffle_ps::<0xee>(b, d));
            p += 4;
        }
        for p in p..k {
            for (i, row) in row.iter().enumerate() {
                *to.add(p * to_stride + i) = *row.add(p);
            }
        }
    }
}

/// A copy for AVX-512 that does up to eight rows or columns by halves of vectors: half the work of
/// a transposing one, and what a plain one stores most often lies in one line.
macro_rules! by_halves {
    ($name:ident, $half:ident, $whole:ident) => {
        /// # Safety
        /// As the function for whole vectors.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn $name(
            from: *const f32,
            from_stride: usize,
            count: usize,
            k: usize,
            to: *mut f32,
            to_stride: usize,
        ) {
            let run = if count <= 8 { $half } else { $whole };
            // SAFETY: the caller's promise, and AVX-512 has AVX2; fewer lanes are written than may
            // be.
            unsafe { run(from, from_stride, count, k, to, to_stride) }
        }
    };
}
by_halves!(avx512_transpose_8, avx2_transpose, avx512_transpose);
by_halves!(avx512_copy_8, avx2_copy, avx512_copy);

/// As [`avx512_transpose`], with half as many lanes.
///
/// # Safety
/// As [`super::kernels::TransposeFn`].
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_transpose(
    from: *const f32,
    from_stride: usize,
    rows: usize,
    k: usize,
    to: *mut f32,
    to_stride: usize,
) {
    // SAFETY: rows that do not exist are read from the last that does; the rest is the caller's.
    unsafe {
        let mut row = [from; 8];
        for (i, row) in row.iter_mut().enumerate() {
            *row = from.add(i.min(rows - 1) * from_stride);
        }
        let mut p = 0;
        while p + 4 <= k {
            if p % 16 == 0 && p + AHEAD < k {
                // So many rows are more than the hardware follows.
                for row in row {
                    _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(p + AHEAD).cast());
                }
            }
            let gather = |i: usize| {
                let x = _mm256_castps128_ps256(_mm_loadu_ps(row[i].add(p)));
                _mm256_insertf128_ps::<1>(x, _mm_loadu_ps(row[i + 4].add(p)))
            };
            let (r0, r1, r2, r3) = (gather(0), gather(1), gather(2), gather(3));
            let (a, b) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
            let (c, d) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
            let to = to.add(p * to_stride);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(a, c));
            _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0xee>(a, c));
            _mm256_storeu_ps(to.add(2 * to_stride), _mm256_shuffle_ps::<0x44>(b, d));
            _mm256_storeu_ps(to.add(3 * to_stride), _mm256_shuffle_ps::<0xee>(b, d));
            p += 4;
        }
        for p in p..k {
            for (i, row) in row.iter().enumerate() {
                *to.add(p * to_stride + i) = *row.add(p);
            }
        }
    }
}
