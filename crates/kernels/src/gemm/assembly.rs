//! Tiles whose loop is assembly: 8 x 3 vectors of AVX-512 and, for the columns that are left over,
//! 8 x 2; 6 x 2 of AVX2.
//!
//! ```text
//! y = a[0, 0]
//! for p in 0..k, four steps a round:
//!     x = row p of b                       // AVX-512: row p + 1, a step before its use
//!     for i in 0..MR:
//!         y' = a[i + 1, p]                 // read a row before its use
//!         acc[i] += y * x;  y = y'
//! ```
//!
//! 1. With AVX-512, 24 sums, 6 registers for two rows of b and 2 for splats are the register file.
//!    A step makes 24 multiply-adds for 11 loads, where 14 rows of two vectors make 28 for 16; with
//!    four steps a round it is 1.5 instructions for each, where that tile has 1.8. A core whose
//!    other half is busy has half its width and half its window: there this is what counts, and
//!    this tile is up to 15% faster. On a core of its own both keep the ports filled. Eight rows of
//!    two vectors, for columns that are left over, are 8 cycles of multiply-adds in a step: 28.5
//!    instructions in assembly, 34.5 as compiled, and a core begins 4 a cycle.
//! 2. With AVX2 a multiply-add is half as much work, and instructions are what a core of its own
//!    runs out of: a loop of two steps has 2.2 for each, of which it can do 2.
//! 3. Reading ahead of use is written down, since half a window does not reach from one step to
//!    the next. The compiler moves the loads back, or so far up that sums go to the stack: hence
//!    assembly.
//! 4. b comes from L2 in order, which the hardware foresees: with AVX-512 asking for it is not
//!    worth the instructions.
//! 5. Registers are named, so that the loop has the same bytes in every build. Where the compiler
//!    chose them, the loop for rows of a with AVX2 took 8 cycles a step, with these 6.3, and that
//!    for columns 6.7 or 7.6 as the code around it was; why is not known. Addresses:
//!
//!    ```text
//!    rsi, rdx   rows (or columns) 0 and 5 of a    r8, r9     the distance of rows, three times it
//!    rcx        b                                 r10, r11   the same of b
//!    rax        the line to bring in              r12, r13   to the next one, and a round's
//!    rdi        rounds
//!    ```

use super::tile::{Schedule, Tile, finish};
use crate::simd::{Avx2, Avx512, Vector, load_row, mul_add_row, prefetch, unroll};
use std::arch::asm;

/// Steps in a round.
const ROUND: usize = 4;
/// Up to so many rounds bring in the tile of c and nothing else.
const SHORT: usize = 8;

/// Where a[i, p] is, p <= 4 steps from the start of a round: in rows, or in columns.
macro_rules! at {
    (rows 0 $p:literal) => {
        concat!("[rsi + 4*", $p, "]")
    };
    (rows 1 $p:literal) => {
        concat!("[rsi + r8 + 4*", $p, "]")
    };
    (rows 2 $p:literal) => {
        concat!("[rsi + 2*r8 + 4*", $p, "]")
    };
    (rows 3 $p:literal) => {
        concat!("[rsi + r9 + 4*", $p, "]")
    };
    (rows 4 $p:literal) => {
        concat!("[rsi + 4*r8 + 4*", $p, "]")
    };
    (rows 5 $p:literal) => {
        concat!("[rdx + 4*", $p, "]")
    };
    (rows 6 $p:literal) => {
        concat!("[rdx + r8 + 4*", $p, "]")
    };
    (rows 7 $p:literal) => {
        concat!("[rdx + 2*r8 + 4*", $p, "]")
    };
    (columns $i:literal 0) => {
        concat!("[rsi + 4*", $i, "]")
    };
    (columns $i:literal 1) => {
        concat!("[rsi + r8 + 4*", $i, "]")
    };
    (columns $i:literal 2) => {
        concat!("[rsi + 2*r8 + 4*", $i, "]")
    };
    (columns $i:literal 3) => {
        concat!("[rsi + r9 + 4*", $i, "]")
    };
    (columns $i:literal 4) => {
        concat!("[rsi + 4*r8 + 4*", $i, "]")
    };
}

/// Reads row p of b. AVX-512: into registers 24 to 26 if p is even, 27 to 29 if it is odd.
macro_rules! row_of_b {
    ($v:ident 0) => { row_of_b!(@ $v "") };
    ($v:ident 1) => { row_of_b!(@@ $v " + r10") };
    ($v:ident 2) => { row_of_b!(@ $v " + 2*r10") };
    ($v:ident 3) => { row_of_b!(@@ $v " + r11") };
    ($v:ident 4) => { row_of_b!(@ $v " + 4*r10") };
    (@ zmm $at:literal) => { row_of_b!(@@@ zmm $at, 24 0, 25 64, 26 128) };
    (@@ zmm $at:literal) => { row_of_b!(@@@ zmm $at, 27 0, 28 64, 29 128) };
    (@ pair $at:literal) => { row_of_b!(@@@ zmm $at, 24 0, 25 64) };
    (@@ pair $at:literal) => { row_of_b!(@@@ zmm $at, 27 0, 28 64) };
    (@ ymm $at:literal) => { row_of_b!(@@@ ymm $at, 12 0, 13 32) };
    (@@ ymm $at:literal) => { row_of_b!(@@@ ymm $at, 12 0, 13 32) };
    (@@@ $v:ident $at:literal, $($x:literal $byte:literal),*) => {
        concat!($("vmovups ", stringify!($v), $x, ", [rcx", $at, " + ", $byte, "]\n",)*)
    };
}

/// acc[i] += splat * row p of b, p mod 2.
macro_rules! multiply_add {
    (zmm 0 $p:tt $y:literal) => { multiply_add!(@ $p $y, 0 1 2) };
    (zmm 1 $p:tt $y:literal) => { multiply_add!(@ $p $y, 3 4 5) };
    (zmm 2 $p:tt $y:literal) => { multiply_add!(@ $p $y, 6 7 8) };
    (zmm 3 $p:tt $y:literal) => { multiply_add!(@ $p $y, 9 10 11) };
    (zmm 4 $p:tt $y:literal) => { multiply_add!(@ $p $y, 12 13 14) };
    (zmm 5 $p:tt $y:literal) => { multiply_add!(@ $p $y, 15 16 17) };
    (zmm 6 $p:tt $y:literal) => { multiply_add!(@ $p $y, 18 19 20) };
    (zmm 7 $p:tt $y:literal) => { multiply_add!(@ $p $y, 21 22 23) };
    (pair 0 $p:tt $y:literal) => { multiply_add!(@@@ $p $y, 0 1) };
    (pair 1 $p:tt $y:literal) => { multiply_add!(@@@ $p $y, 2 3) };
    (pair 2 $p:tt $y:literal) => { multiply_add!(@@@ $p $y, 4 5) };
    (pair 3 $p:tt $y:literal) => { multiply_add!(@@@ $p $y, 6 7) };
    (pair 4 $p:tt $y:literal) => { multiply_add!(@@@ $p $y, 8 9) };
    (pair 5 $p:tt $y:literal) => { multiply_add!(@@@ $p $y, 10 11) };
    (pair 6 $p:tt $y:literal) => { multiply_add!(@@@ $p $y, 12 13) };
    (pair 7 $p:tt $y:literal) => { multiply_add!(@@@ $p $y, 14 15) };
    (ymm 0 $p:tt $y:literal) => { multiply_add!(@@ ymm $y, 0 12, 1 13) };
    (ymm 1 $p:tt $y:literal) => { multiply_add!(@@ ymm $y, 2 12, 3 13) };
    (ymm 2 $p:tt $y:literal) => { multiply_add!(@@ ymm $y, 4 12, 5 13) };
    (ymm 3 $p:tt $y:literal) => { multiply_add!(@@ ymm $y, 6 12, 7 13) };
    (ymm 4 $p:tt $y:literal) => { multiply_add!(@@ ymm $y, 8 12, 9 13) };
    (ymm 5 $p:tt $y:literal) => { multiply_add!(@@ ymm $y, 10 12, 11 13) };
    (@ 0 $y:literal, $c:literal $d:literal $e:literal) => {
        multiply_add!(@@ zmm $y, $c 24, $d 25, $e 26)
    };
    (@ 1 $y:literal, $c:literal $d:literal $e:literal) => {
        multiply_add!(@@ zmm $y, $c 27, $d 28, $e 29)
    };
    (@@@ 0 $y:literal, $c:literal $d:literal) => { multiply_add!(@@ zmm $y, $c 24, $d 25) };
    (@@@ 1 $y:literal, $c:literal $d:literal) => { multiply_add!(@@ zmm $y, $c 27, $d 28) };
    (@@ $v:ident $y:literal, $($c:literal $x:literal),*) => {
        concat!($(
            "vfmadd231ps ", stringify!($v), $c, ", ", stringify!($v), $x, ", ", stringify!($v), $y,
            "\n",
        )*)
    };
}

/// Splats a[i, p].
macro_rules! splat {
    (pair $y:literal $form:ident $i:tt $p:tt) => { splat!(zmm $y $form $i $p) };
    ($v:ident $y:literal $form:ident $i:tt $p:tt) => {
        concat!("vbroadcastss ", stringify!($v), $y, ", dword ptr ", at!($form $i $p), "\n")
    };
}

/// The rows of step p, q = p + 1, p mod 2; splats alternate between two registers.
macro_rules! rows {
    ($v:ident $form:ident $p:tt $q:tt $odd:tt $y:literal $z:literal, $i:tt $j:tt $($more:tt)*) => {
        concat!(
            splat!($v $z $form $j $p),
            multiply_add!($v $i $odd $y),
            rows!($v $form $p $q $odd $z $y, $j $($more)*),
        )
    };
    ($v:ident $form:ident $p:tt $q:tt $odd:tt $y:literal $z:literal, $i:tt) => {
        concat!(splat!($v $z $form 0 $q), multiply_add!($v $i $odd $y))
    };
}

/// Four steps and the way to the next four, for rows of these numbers. The first splat of an odd
/// step is in register 31 (15) if their number is odd.
macro_rules! round {
    (zmm $form:ident odd, $($i:tt)*) => { round!(@ zmm $form 31 30, $($i)*) };
    (zmm $form:ident even, $($i:tt)*) => { round!(@ zmm $form 30 31, $($i)*) };
    (pair $form:ident odd, $($i:tt)*) => { round!(@ pair $form 31 30, $($i)*) };
    (pair $form:ident even, $($i:tt)*) => { round!(@ pair $form 30 31, $($i)*) };
    (ymm $form:ident odd, $($i:tt)*) => { round!(@ ymm $form 15 14, $($i)*) };
    (ymm $form:ident even, $($i:tt)*) => { round!(@ ymm $form 14 15, $($i)*) };
    (@ ymm $form:ident $y:literal $z:literal, $($i:tt)*) => {
        concat!(
            row_of_b!(ymm 0), "prefetcht0 [rax]\nprefetcht0 [rcx + 8*r10]\n",
            rows!(ymm $form 0 1 0 14 15, $($i)*),
            row_of_b!(ymm 1), "prefetcht0 [rcx + 8*r10 + 64]\n",
            rows!(ymm $form 1 2 1 $y $z, $($i)*),
            row_of_b!(ymm 2), "prefetcht0 [rax + r12]\nprefetcht0 [rcx + 8*r10 + 128]\n",
            rows!(ymm $form 2 3 0 14 15, $($i)*),
            row_of_b!(ymm 3), "prefetcht0 [rcx + 8*r10 + 192]\n",
            rows!(ymm $form 3 4 1 $y $z, $($i)*),
            round!(@@ $form),
        )
    };
    (@ $v:ident $form:ident $y:literal $z:literal, $($i:tt)*) => {
        concat!(
            row_of_b!($v 1), "prefetcht0 [rax]\n",
            rows!($v $form 0 1 0 30 31, $($i)*),
            row_of_b!($v 2), "prefetcht0 [rax + r12]\n",
            rows!($v $form 1 2 1 $y $z, $($i)*),
            row_of_b!($v 3), "prefetcht0 [rax + 2*r12]\n",
            rows!($v $form 2 3 0 30 31, $($i)*),
            row_of_b!($v 4),
            rows!($v $form 3 4 1 $y $z, $($i)*),
            round!(@@ $form),
        )
    };
    (@@ rows) => { concat!("add rsi, 16\nadd rdx, 16\n", round!(@@@)) };
    (@@ columns) => { concat!("lea rsi, [rsi + 4*r8]\n", round!(@@@)) };
    // Some machines decode a branch that crosses 32 bytes anew each time.
    (@@@) => { "lea rcx, [rcx + 4*r10]\nadd rax, r13\n.p2align 4\ndec rdi\n" };
}

/// The loop. Reads rows of a and b up to the first of the round after the last.
macro_rules! run {
    (zmm $form:ident $round:expr, $acc:ident; $($operands:tt)*) => {
        asm!(
            row_of_b!(zmm 0), splat!(zmm 30 $form 0 0), ".p2align 5", "2:", $round, "jnz 2b",
            $($operands)*
            inout("zmm0") $acc[0][0].0, inout("zmm1") $acc[0][1].0, inout("zmm2") $acc[0][2].0,
            inout("zmm3") $acc[1][0].0, inout("zmm4") $acc[1][1].0, inout("zmm5") $acc[1][2].0,
            inout("zmm6") $acc[2][0].0, inout("zmm7") $acc[2][1].0, inout("zmm8") $acc[2][2].0,
            inout("zmm9") $acc[3][0].0, inout("zmm10") $acc[3][1].0, inout("zmm11") $acc[3][2].0,
            inout("zmm12") $acc[4][0].0, inout("zmm13") $acc[4][1].0, inout("zmm14") $acc[4][2].0,
            inout("zmm15") $acc[5][0].0, inout("zmm16") $acc[5][1].0, inout("zmm17") $acc[5][2].0,
            inout("zmm18") $acc[6][0].0, inout("zmm19") $acc[6][1].0, inout("zmm20") $acc[6][2].0,
            inout("zmm21") $acc[7][0].0, inout("zmm22") $acc[7][1].0, inout("zmm23") $acc[7][2].0,
            out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
            out("zmm28") _, out("zmm29") _, out("zmm30") _, out("zmm31") _,
            options(readonly, nostack),
        )
    };
    (pair $form:ident $round:expr, $acc:ident; $($operands:tt)*) => {
        asm!(
            row_of_b!(pair 0), splat!(zmm 30 $form 0 0), ".p2align 5", "2:", $round, "jnz 2b",
            $($operands)*
            inout("zmm0") $acc[0][0].0, inout("zmm1") $acc[0][1].0,
            inout("zmm2") $acc[1][0].0, inout("zmm3") $acc[1][1].0,
            inout("zmm4") $acc[2][0].0, inout("zmm5") $acc[2][1].0,
            inout("zmm6") $acc[3][0].0, inout("zmm7") $acc[3][1].0,
            inout("zmm8") $acc[4][0].0, inout("zmm9") $acc[4][1].0,
            inout("zmm10") $acc[5][0].0, inout("zmm11") $acc[5][1].0,
            inout("zmm12") $acc[6][0].0, inout("zmm13") $acc[6][1].0,
            inout("zmm14") $acc[7][0].0, inout("zmm15") $acc[7][1].0,
            out("zmm24") _, out("zmm25") _, out("zmm27") _, out("zmm28") _,
            out("zmm30") _, out("zmm31") _,
            options(readonly, nostack),
        )
    };
    (ymm $form:ident $round:expr, $acc:ident; $($operands:tt)*) => {
        asm!(
            splat!(ymm 14 $form 0 0), ".p2align 5", "2:", $round, "jnz 2b",
            $($operands)*
            inout("ymm0") $acc[0][0].0, inout("ymm1") $acc[0][1].0,
            inout("ymm2") $acc[1][0].0, inout("ymm3") $acc[1][1].0,
            inout("ymm4") $acc[2][0].0, inout("ymm5") $acc[2][1].0,
            inout("ymm6") $acc[3][0].0, inout("ymm7") $acc[3][1].0,
            inout("ymm8") $acc[4][0].0, inout("ymm9") $acc[4][1].0,
            inout("ymm10") $acc[5][0].0, inout("ymm11") $acc[5][1].0,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(readonly, nostack),
        )
    };
}

/// A tile of MR of at most ROOM rows, NV vectors wide. `$lines`: how many lines a round brings in.
macro_rules! tile {
    (
        $name:ident: $V:ident $v:ident $features:literal [$nv:literal; $room:literal],
        $mr:literal $form:ident $lines:literal, $round:expr
    ) => {
        /// # Safety
        /// As [`TileFn`](super::tile::TileFn).
        // `unroll` leaves out what is out of bounds.
        #[allow(clippy::out_of_bounds_indexing)]
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(t: &Tile) {
            const MR: usize = $mr;
            const NV: usize = $nv;
            const F32: usize = size_of::<f32>();
            let is_rows = stringify!($form) == "rows";
            let zero = $V::splat(0.0);
            // Rows that the tile does not have are registers that are left alone.
            let mut acc = [[zero; NV]; $room];
            let (row, col, stride) = match is_rows {
                true => (t.a_row_stride, 1, t.a_row_stride),
                false => (1, t.a_col_stride, t.a_col_stride),
            };
            let (mut a, mut b) = (t.a, t.b);
            // A round reads the first row of the next one: the last of all is not a round.
            let rounds = t.k.saturating_sub(1) / ROUND;
            let of_c = if rounds <= SHORT { rounds } else { rounds.min(MR) };
            let schedule = Schedule::new(t, rounds - of_c, $lines);
            let (mut done, mut pass) = (0, 0);
            while done < rounds {
                let (mut line, other, jump, end);
                if done < of_c {
                    (line, other) = (t.c.cast_const(), 64 / F32);
                    (jump, end) = (t.c_row_stride, of_c);
                } else {
                    (line, other) = schedule.pass(t, pass);
                    jump = $lines * other;
                    end = done + schedule.rounds(pass, rounds - done);
                    pass += 1;
                }
                let mut count = end - done;
                done = end;
                if count == 0 {
                    continue;
                }
                let mut row5 = a.wrapping_add(5 * row);
                // SAFETY: what the loop reads exists, since the last of all is not a round;
                // prefetches never fault. The instruction set is this function's.
                unsafe {
                    run!($v $form $round, acc;
                        inout("rsi") a,
                        inout("rdx") row5,
                        inout("rcx") b,
                        inout("rax") line,
                        inout("rdi") count,
                        in("r8") F32 * stride,
                        in("r9") 3 * F32 * stride,
                        in("r10") F32 * t.b_row_stride,
                        in("r11") 3 * F32 * t.b_row_stride,
                        in("r12") F32 * other,
                        in("r13") F32 * jump,
                    );
                }
                let _ = (row5, line, count);
            }
            // The last steps, and the start of the next panel.
            for p in 0..t.k - ROUND * rounds {
                for j in (0..NV * $V::LANES).step_by(64 / F32) {
                    prefetch(t.b_next.wrapping_add(p * t.b_next_stride + j));
                }
                // SAFETY: the caller vouches for every element.
                unsafe {
                    let x = load_row::<$V, NV>(b.add(p * t.b_row_stride), true, 0);
                    unroll!(row i < MR: {
                        let y = $V::splat(*a.add(i * row + p * col));
                        mul_add_row(y, &x, &mut acc[i]);
                    });
                }
            }
            // SAFETY: as above.
            unsafe { finish::<$V, MR, NV, $room>(t, &mut acc) }
        }
    };
}

macro_rules! avx512 {
    ($v:ident $nv:literal: $($rows:ident $columns:ident $mr:literal $parity:ident [$($i:tt)*])*) => {$(
        tile!($rows: Avx512 $v "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma" [$nv; 8],
            $mr rows 3, round!($v rows $parity, $($i)*));
        tile!($columns: Avx512 $v "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma" [$nv; 8],
            $mr columns 3, round!($v columns $parity, $($i)*));
    )*};
}
avx512!(zmm 3:
    rows_8x48 columns_8x48 8 even [0 1 2 3 4 5 6 7]
    rows_7x48 columns_7x48 7 odd [0 1 2 3 4 5 6]
    rows_6x48 columns_6x48 6 even [0 1 2 3 4 5]
    rows_5x48 columns_5x48 5 odd [0 1 2 3 4]
);
avx512!(pair 2:
    rows_8x32 columns_8x32 8 even [0 1 2 3 4 5 6 7]
    rows_7x32 columns_7x32 7 odd [0 1 2 3 4 5 6]
    rows_6x32 columns_6x32 6 even [0 1 2 3 4 5]
    rows_5x32 columns_5x32 5 odd [0 1 2 3 4]
);

macro_rules! avx2 {
    ($($rows:ident $columns:ident $mr:literal $parity:ident [$($i:tt)*])*) => {$(
        tile!($rows: Avx2 ymm "avx2,fma" [2; 6],
            $mr rows 2, round!(ymm rows $parity, $($i)*));
        tile!($columns: Avx2 ymm "avx2,fma" [2; 6],
            $mr columns 2, round!(ymm columns $parity, $($i)*));
    )*};
}
avx2!(
    rows_6x16 columns_6x16 6 even [0 1 2 3 4 5]
    rows_5x16 columns_5x16 5 odd [0 1 2 3 4]
    rows_4x16 columns_4x16 4 even [0 1 2 3]
);
