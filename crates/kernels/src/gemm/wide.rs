//! The widest tile of AVX-512: up to 8 rows of three vectors, its loop in assembly.
//!
//! ```text
//! x = row 0 of b; y = a[0, 0]              // three vectors, one splat
//! for p in 0..k, four steps a round:
//!     x' = row p + 1 of b                  // read a step before its use
//!     for i in 0..MR:
//!         y' = a[i + 1, p]                 // read a row before its use
//!         acc[i] += y * x;  y = y'
//!     x = x'
//! ```
//!
//! 1. 24 sums, 6 registers for two rows of b and 2 for splats are the register file. A step makes
//!    24 multiply-adds for 11 loads, where 14 rows of two vectors make 28 for 16; with four steps a
//!    round it is 1.5 instructions for each, where that tile has 1.8. A core whose other half is
//!    busy has half its width and half its window: there this is what counts, and this tile is
//!    8% to 13% faster. On a core of its own both keep the ports for multiply-adds filled.
//! 2. Reading ahead of use is written down, since half a window does not reach from one step to
//!    the next. The compiler moves the loads back, or so far up that sums go to the stack: hence
//!    assembly.
//! 3. b comes from L2 in order, which the hardware foresees: asking for it is not worth the
//!    instructions.

use super::tile::{Schedule, Tile, finish};
use crate::simd::{Avx512, Vector, prefetch, unroll};
use std::arch::asm;

/// The most rows.
pub(super) const ROWS: usize = 8;
/// Vectors in a row.
const NV: usize = 3;
/// Steps in a round.
const ROUND: usize = 4;
/// Lines that a round brings in.
const LINES: usize = 3;
/// Up to so many rounds bring in the tile of c and nothing else.
const SHORT: usize = 8;

/// Where a[i, p] is, p <= 4 steps from the start of a round: in rows, or in columns.
macro_rules! at {
    (rows 0 $p:literal) => {
        concat!("[{a} + 4*", $p, "]")
    };
    (rows 1 $p:literal) => {
        concat!("[{a} + {s} + 4*", $p, "]")
    };
    (rows 2 $p:literal) => {
        concat!("[{a} + 2*{s} + 4*", $p, "]")
    };
    (rows 3 $p:literal) => {
        concat!("[{a} + {s3} + 4*", $p, "]")
    };
    (rows 4 $p:literal) => {
        concat!("[{a} + 4*{s} + 4*", $p, "]")
    };
    (rows 5 $p:literal) => {
        concat!("[{a5} + 4*", $p, "]")
    };
    (rows 6 $p:literal) => {
        concat!("[{a5} + {s} + 4*", $p, "]")
    };
    (rows 7 $p:literal) => {
        concat!("[{a5} + 2*{s} + 4*", $p, "]")
    };
    (columns $i:literal 0) => {
        concat!("[{a} + 4*", $i, "]")
    };
    (columns $i:literal 1) => {
        concat!("[{a} + {s} + 4*", $i, "]")
    };
    (columns $i:literal 2) => {
        concat!("[{a} + 2*{s} + 4*", $i, "]")
    };
    (columns $i:literal 3) => {
        concat!("[{a} + {s3} + 4*", $i, "]")
    };
    (columns $i:literal 4) => {
        concat!("[{a} + 4*{s} + 4*", $i, "]")
    };
}

/// Reads row p of b: into registers 24 to 26 if p is even, 27 to 29 if it is odd.
macro_rules! row_of_b {
    (0) => { row_of_b!(@ "", 24, 25, 26) };
    (1) => { row_of_b!(@ " + {bs}", 27, 28, 29) };
    (2) => { row_of_b!(@ " + 2*{bs}", 24, 25, 26) };
    (3) => { row_of_b!(@ " + {bs3}", 27, 28, 29) };
    (4) => { row_of_b!(@ " + 4*{bs}", 24, 25, 26) };
    (@ $at:literal, $x:literal, $y:literal, $z:literal) => {
        concat!(
            "vmovups zmm", $x, ", [{b}", $at, "]\n",
            "vmovups zmm", $y, ", [{b}", $at, " + 64]\n",
            "vmovups zmm", $z, ", [{b}", $at, " + 128]\n",
        )
    };
}

/// acc[i] += splat * row p of b.
macro_rules! multiply_add {
    (0 $p:tt $y:literal) => { multiply_add!(@ 0, 1, 2, $p, $y) };
    (1 $p:tt $y:literal) => { multiply_add!(@ 3, 4, 5, $p, $y) };
    (2 $p:tt $y:literal) => { multiply_add!(@ 6, 7, 8, $p, $y) };
    (3 $p:tt $y:literal) => { multiply_add!(@ 9, 10, 11, $p, $y) };
    (4 $p:tt $y:literal) => { multiply_add!(@ 12, 13, 14, $p, $y) };
    (5 $p:tt $y:literal) => { multiply_add!(@ 15, 16, 17, $p, $y) };
    (6 $p:tt $y:literal) => { multiply_add!(@ 18, 19, 20, $p, $y) };
    (7 $p:tt $y:literal) => { multiply_add!(@ 21, 22, 23, $p, $y) };
    (@ $c:literal, $d:literal, $e:literal, 0, $y:literal) => {
        multiply_add!(@@ $y, $c 24, $d 25, $e 26)
    };
    (@ $c:literal, $d:literal, $e:literal, 1, $y:literal) => {
        multiply_add!(@@ $y, $c 27, $d 28, $e 29)
    };
    (@@ $y:literal, $($c:literal $x:literal),*) => {
        concat!($("vfmadd231ps zmm", $c, ", zmm", $x, ", zmm", $y, "\n",)*)
    };
}

/// The rows of step p, q = p + 1, p mod 2; splats alternate between two registers.
macro_rules! rows {
    ($form:ident $p:tt $q:tt $odd:tt $y:literal $z:literal, $i:tt $j:tt $($more:tt)*) => {
        concat!(
            "vbroadcastss zmm", $z, ", dword ptr ", at!($form $j $p), "\n",
            multiply_add!($i $odd $y),
            rows!($form $p $q $odd $z $y, $j $($more)*),
        )
    };
    ($form:ident $p:tt $q:tt $odd:tt $y:literal $z:literal, $i:tt) => {
        concat!(
            "vbroadcastss zmm", $z, ", dword ptr ", at!($form 0 $q), "\n",
            multiply_add!($i $odd $y),
        )
    };
}

/// Four steps and the way to the next four. In the form of rows, `a5` is row 5; in that of
/// columns it is three times the distance of the lines that are brought in.
macro_rules! round {
    ($form:ident $y:literal $z:literal, $($i:tt)*) => {
        concat!(
            row_of_b!(1), "prefetcht0 [{line}]\n",
            rows!($form 0 1 0 30 31, $($i)*),
            row_of_b!(2), "prefetcht0 [{line} + {other}]\n",
            rows!($form 1 2 1 $y $z, $($i)*),
            row_of_b!(3), "prefetcht0 [{line} + 2*{other}]\n",
            rows!($form 2 3 0 30 31, $($i)*),
            row_of_b!(4),
            rows!($form 3 4 1 $y $z, $($i)*),
            round!(@ $form),
            "lea {b}, [{b} + 4*{bs}]\n",
            "add {line}, {jump}\n",
            "dec {count}\n",
        )
    };
    (@ rows) => { "add {a}, 16\nadd {a5}, 16\n" };
    (@ columns) => { "prefetcht0 [{line} + {a5}]\nlea {a}, [{a} + 4*{s}]\n" };
}

/// A tile of a fixed number of rows and form.
macro_rules! tile {
    ($name:ident, $mr:literal, $form:ident, $is_rows:literal, $round:expr) => {
        /// # Safety
        /// As [`TileFn`](super::tile::TileFn), for three vectors.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        pub(super) unsafe fn $name(t: &Tile) {
            const MR: usize = $mr;
            const F32: usize = size_of::<f32>();
            let zero = Avx512::splat(0.0);
            // Rows that the tile does not have are registers that are left alone.
            let mut acc = [[zero; NV]; ROWS];
            let (row, col) = if $is_rows { (t.a_row_stride, 1) } else { (1, t.a_col_stride) };
            let stride = if $is_rows { row } else { col };
            let (mut a, mut b) = (t.a, t.b);
            // A round reads the first row of the next one: the last of all is not a round.
            let rounds = t.k.saturating_sub(1) / ROUND;
            let of_c = if rounds <= SHORT { rounds } else { rounds.min(MR) };
            let lines = LINES + usize::from(!$is_rows);
            let schedule = Schedule::new(t, rounds - of_c, lines);
            let (mut done, mut pass) = (0, 0);
            while done < rounds {
                let (mut line, other, jump, end);
                if done < of_c {
                    (line, other) = (t.c.cast_const(), Avx512::LANES);
                    (jump, end) = (t.c_row_stride, of_c);
                } else {
                    (line, other) = schedule.pass(t, pass);
                    jump = lines * other;
                    end = done + schedule.rounds(pass, rounds - done);
                    pass += 1;
                }
                let mut count = end - done;
                done = end;
                if count == 0 {
                    continue;
                }
                let mut a5 = if $is_rows { a.wrapping_add(5 * row).addr() } else { 3 * F32 * other };
                // SAFETY: reads rows of a and b up to the first of the round after the last,
                // which exists; prefetches never fault. The instruction set is this function's.
                unsafe {
                    asm!(
                        row_of_b!(0),
                        concat!("vbroadcastss zmm30, dword ptr ", at!($form 0 0)),
                        "2:",
                        $round,
                        "jnz 2b",
                        a = inout(reg) a,
                        a5 = inout(reg) a5,
                        b = inout(reg) b,
                        line = inout(reg) line,
                        count = inout(reg) count,
                        s = in(reg) F32 * stride,
                        s3 = in(reg) 3 * F32 * stride,
                        bs = in(reg) F32 * t.b_row_stride,
                        bs3 = in(reg) 3 * F32 * t.b_row_stride,
                        other = in(reg) F32 * other,
                        jump = in(reg) F32 * jump,
                        inout("zmm0") acc[0][0].0, inout("zmm1") acc[0][1].0, inout("zmm2") acc[0][2].0,
                        inout("zmm3") acc[1][0].0, inout("zmm4") acc[1][1].0, inout("zmm5") acc[1][2].0,
                        inout("zmm6") acc[2][0].0, inout("zmm7") acc[2][1].0, inout("zmm8") acc[2][2].0,
                        inout("zmm9") acc[3][0].0, inout("zmm10") acc[3][1].0, inout("zmm11") acc[3][2].0,
                        inout("zmm12") acc[4][0].0, inout("zmm13") acc[4][1].0, inout("zmm14") acc[4][2].0,
                        inout("zmm15") acc[5][0].0, inout("zmm16") acc[5][1].0, inout("zmm17") acc[5][2].0,
                        inout("zmm18") acc[6][0].0, inout("zmm19") acc[6][1].0, inout("zmm20") acc[6][2].0,
                        inout("zmm21") acc[7][0].0, inout("zmm22") acc[7][1].0, inout("zmm23") acc[7][2].0,
                        out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
                        out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _,
                        options(readonly, nostack),
                    );
                }
                let _ = (a5, line, count);
            }
            // The last steps, and the start of the next panel.
            for p in 0..t.k - ROUND * rounds {
                for j in 0..NV {
                    prefetch(t.b_next.wrapping_add(p * t.b_next_stride + j * Avx512::LANES));
                }
                // SAFETY: the caller vouches for every element.
                unsafe {
                    let mut x = [zero; NV];
                    unroll!(vector J < NV: {
                        x[J] = Avx512::load_ptr(b.add(p * t.b_row_stride + J * Avx512::LANES));
                    });
                    unroll!(row I < MR: {
                        let y = Avx512::splat(*a.add(I * row + p * col));
                        unroll!(vector J < NV: { acc[I][J] = y.mul_add(x[J], acc[I][J]); });
                    });
                }
            }
            // SAFETY: as above.
            unsafe { finish::<Avx512, MR, NV, ROWS>(t, &mut acc) }
        }
    };
}
tile!(rows_8, 8, rows, true, round!(rows 30 31, 0 1 2 3 4 5 6 7));
tile!(rows_7, 7, rows, true, round!(rows 31 30, 0 1 2 3 4 5 6));
tile!(rows_6, 6, rows, true, round!(rows 30 31, 0 1 2 3 4 5));
tile!(rows_5, 5, rows, true, round!(rows 31 30, 0 1 2 3 4));
tile!(
    columns_8,
    8,
    columns,
    false,
    round!(columns 30 31, 0 1 2 3 4 5 6 7)
);
tile!(
    columns_7,
    7,
    columns,
    false,
    round!(columns 31 30, 0 1 2 3 4 5 6)
);
tile!(
    columns_6,
    6,
    columns,
    false,
    round!(columns 30 31, 0 1 2 3 4 5)
);
tile!(
    columns_5,
    5,
    columns,
    false,
    round!(columns 31 30, 0 1 2 3 4)
);
