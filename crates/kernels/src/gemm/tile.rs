//! The microkernel: one small tile of c, held in registers while k runs.
//!
//! ```text
//! acc[MR][NV] = 0                          // MR rows of NV vectors, never in memory
//! for p in 0..k:
//!     b0, b1 = load row p of b             // NV vectors
//!     for i in 0..MR:                      // unrolled
//!         acc[i] += splat(a[i, p]) * (b0, b1)
//! c = act(beta c + acc + bias)             // masked where the tile is ragged
//! ```
//!
//! 1. The tile is as large as the register file allows: 14 x 32 with 32 vectors of 16 lanes
//!    (28 sums, 2 of b, 2 for splats), 6 x 16 with 16 vectors of 8. So a step makes 28 (12)
//!    multiply-adds for 16 (8) loads, and more sums are in flight than latency times ports.
//!    Matrices with room for it have the 8 x 48 of `assembly`.
//! 2. Every height from 1 to MR has an instance of its own. Rows are cut into blocks of nearly
//!    equal height, so a matrix of 128 rows runs as 8 x 13 + 2 x 12, not as 9 x 14 + 2 of 14.
//! 3. Elements of a are splat straight from memory, so a need not be packed: its rows (k is
//!    contiguous) and its columns (rows are contiguous) can be read where they lie.
//! 4. b can be read where it lies too; only its row stride differs from that of a packed panel.
//! 5. Or it is copied to a packed panel on the way, while its rows are in registers anyway: the
//!    first block of rows packs for those that follow, and no pass over b is spent on packing.
//!    Tiles before it bring in what it reads.
//! 6. k is one loop, entered anew for each thing that is brought in meanwhile: a nested loop of 16
//!    steps ends in a mispredicted branch, and that costs 7% of them. The widest tiles take two
//!    steps a round: additions of pointers compete with the multiply-adds for their ports.
//! 7. Each element of c is one chain of multiply-adds in the order of k whatever the tile is,
//!    so how a product is cut into tiles and threads never changes a bit of the result.

use super::Activation;
use super::operands::Ahead;
use crate::cache;
use crate::simd::{Vector, opaque, prefetch, unroll};

/// What a tile is made of; all pointers are to the tile's first element.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub k: usize,
    pub a: *const f32,
    /// Distance between rows of a; 1 where columns of a are contiguous.
    pub a_row_stride: usize,
    /// Distance between columns of a; 1 where rows of a are contiguous.
    pub a_col_stride: usize,
    pub b: *const f32,
    pub b_row_stride: usize,
    /// Where an instance that packs puts the rows of b, one after the other.
    pub packed: *mut f32,
    pub c: *mut f32,
    pub c_row_stride: usize,
    /// How many columns of the last vector exist: 1..=LANES.
    pub last: usize,
    /// Whether c is added to.
    pub accumulate: bool,
    /// What will be read later, beside c and b.
    pub ahead: Ahead,
    /// The panel of b that is read next, and the distance of its rows.
    pub b_next: *const f32,
    pub b_next_stride: usize,
    /// One number a column, or null.
    pub bias: *const f32,
    pub activation: Activation,
}

/// Computes a tile of a fixed number of rows and vectors.
///
/// # Safety
/// The machine has the instruction set the function was made for. `a`, `b`, `c` and `bias` (if
/// not null) are valid for every element of the tile: MR x k, k x columns, MR x columns and
/// columns, c for writing and overlapping none of the others; whole vectors of b are read unless
/// the instance is masked. One that packs writes k rows of whole vectors to `packed`.
pub(super) type TileFn = unsafe fn(&Tile);

/// How many numbers a line of the cache holds.
const LINE: usize = cache::LINE / size_of::<f32>();

/// How many rows of b ahead of use are brought in.
const B_AHEAD: usize = 16;

/// Up to so many steps are one loop, which brings in the tile of c and nothing else.
const SHORT: usize = 32;

/// How a tile spreads what it brings in for later over its rounds.
pub(super) struct Schedule {
    /// Passes over something contiguous or at equal distances, so many rounds each.
    pub passes: usize,
    pub each: usize,
    /// How many the last one takes at most.
    pub last: usize,
    /// From a pass to the next, in elements.
    pub pass_jump: usize,
    /// From a line to the next.
    pub stride: usize,
}

impl Schedule {
    /// For so many rounds of `lines` lines.
    #[inline(always)]
    pub(super) fn new(t: &Tile, rounds: usize, lines: usize) -> Schedule {
        let Ahead {
            len, jump, parts, ..
        } = t.ahead;
        // Divisions of numbers of 32 bits take a third of the time, and all of these are small.
        let quotient = |x: usize, y: usize| (x as u32 / y as u32) as usize;
        let whole = len.div_ceil(LINE);
        // Each pass enters the loop anew. Many short pieces are few passes from piece to piece.
        if parts > whole && whole > 0 {
            let each = parts.div_ceil(lines).min(quotient(rounds, whole));
            return Schedule {
                passes: whole,
                each,
                last: each,
                pass_jump: LINE,
                stride: jump,
            };
        }
        let each = match parts {
            0 => 0,
            1 => rounds,
            _ => quotient(rounds, parts),
        };
        let stride = match (len, lines * each) {
            (0, _) => jump,
            (_, 0) => 0,
            // Nothing but a prefetch hangs on it, and this division is the faster one.
            (len, times) => (len as i32 as f32 / times as i32 as f32) as i32 as usize + 1,
        };
        Schedule {
            passes: parts,
            each,
            last: rounds,
            pass_jump: jump,
            stride,
        }
    }

    /// Where pass `n` begins and the distance of its lines. After the last one: where the pieces
    /// end.
    #[inline(always)]
    pub(super) fn pass(&self, t: &Tile, n: usize) -> (*const f32, usize) {
        let at = n.min(self.passes) * self.pass_jump;
        let stride = if n < self.passes { self.stride } else { 0 };
        (t.ahead.start.wrapping_add(at), stride)
    }

    /// How many rounds pass `n` takes of those that are left.
    #[inline(always)]
    pub(super) fn rounds(&self, n: usize, left: usize) -> usize {
        match n + 1 {
            next if next < self.passes => self.each.min(left),
            next if next == self.passes => self.last.min(left),
            _ => left,
        }
    }
}

/// The microkernel. `ROWS`: rows of a are contiguous (its column stride is 1), else its columns
/// (its row stride is 1). `PACK`: b is copied to `packed` on the way. `MASKED`:
/// the last vector of b is read up to `last` only.
///
/// # Safety
/// As [`TileFn`], and inlined into a function with the instruction set of `V`.
// Loops over constant indices are what unrolls into registers for certain; the empty assembly
// passes pointers through and looks at nothing.
#[allow(clippy::needless_range_loop, clippy::pointers_in_nomem_asm_block)]
#[inline(always)]
pub(super) unsafe fn tile<
    V: Vector<Element = f32>,
    const MR: usize,
    const NV: usize,
    const ROWS: bool,
    const PACK: bool,
    const MASKED: bool,
>(
    t: &Tile,
) {
    let row = if ROWS { t.a_row_stride } else { 1 };
    let col = if ROWS { 1 } else { t.a_col_stride };
    // SAFETY: the caller vouches for every element; pointers past the tile are never read.
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; MR];
        // Rows of a by fives: base + {0, 1, 2, 4} stride and base + 3 stride are addressing modes,
        // so 14 rows take 3 pointers and no arithmetic. What is not hidden from the compiler it
        // turns into 14 pointers, or 14 additions.
        let stride: usize = opaque!(row * size_of::<f32>());
        let stride3: usize = opaque!(3 * row * size_of::<f32>());
        let mut a = [t.a; 3];
        for g in 0..3 {
            a[g] = t.a.wrapping_add(5 * g * row);
        }
        let (mut b, mut packed) = (t.b, t.packed);
        let b_stride = t.b_row_stride;
        let (mut b_ahead, mut b_ahead_stride) = (b.wrapping_add(B_AHEAD * b_stride), b_stride);
        // Step P of a round, and on to the next.
        macro_rules! step {
            ($P:literal) => {{
                let b_ahead = b_ahead.wrapping_add($P * b_ahead_stride);
                // Two of the shorter vectors lie in one line.
                for j in (0..NV * V::LANES).step_by(LINE) {
                    prefetch(b_ahead.wrapping_add(j));
                }
                if PACK {
                    // From further away, and rows that begin inside a cache line end in one more.
                    prefetch(b_ahead.wrapping_add(NV * V::LANES - 1));
                }
                let mut x = [V::splat(0.0); NV];
                for j in 0..NV {
                    let b = b.add($P * b_stride + j * V::LANES);
                    x[j] = if MASKED && j + 1 == NV {
                        V::load_ptr_partial(b, t.last)
                    } else {
                        V::load_ptr(b)
                    };
                    if PACK {
                        x[j].store_ptr(packed.add(($P * NV + j) * V::LANES));
                    }
                }
                unroll!(row i < MR: {
                    let at = if ROWS {
                        let row = if i % 5 == 3 { stride3 } else { i % 5 * stride };
                        a[i / 5 % 3].byte_add(row).add($P)
                    } else {
                        a[0].add($P * col + i)
                    };
                    let y = V::splat(*at);
                    for j in 0..NV {
                        acc[i][j] = y.mul_add(x[j], acc[i][j]);
                    }
                });
            }};
        }
        macro_rules! advance {
            ($steps:expr) => {
                b_ahead = b_ahead.wrapping_add($steps * b_ahead_stride);
                if PACK {
                    packed = packed.wrapping_add($steps * NV * V::LANES);
                }
                for g in 0..3 {
                    if g == 0 || ROWS && 5 * g < MR {
                        a[g] = opaque!(a[g].wrapping_add($steps * col));
                    }
                }
                b = b.wrapping_add($steps * b_stride);
            };
        }
        // Instances that few tiles of a product run are not worth the code of two steps.
        let round = const { if NV > 1 && !PACK && !MASKED { 2 } else { 1 } };
        // How many lines a round brings in. Columns of a need one a step; rows of a need no more
        // than one in two where a row of the tile is one line, as that of c is.
        let lines = const {
            if NV > 1 && !PACK && !MASKED && !(ROWS && NV * V::LANES <= LINE) {
                2
            } else {
                1
            }
        };
        for _ in 0..t.k % round {
            step!(0);
            advance!(1);
        }
        // The first rounds bring in the tile of c, the last ones the start of the next panel, and
        // those between what will be read later. It is one loop, entered anew for each part: to
        // decide inside it, or to count in small rounds, costs a step of 14 cycles one of them.
        let rounds = t.k / round;
        let last = rounds - rounds.min(B_AHEAD / round);
        // With so few steps, entering the loop anew would take as long as some of them.
        let (of_c, last) = if t.k <= SHORT {
            (rounds, rounds)
        } else {
            (last.min(MR), last)
        };
        let schedule = Schedule::new(t, last - of_c, lines);
        let (mut done, mut pass) = (0, 0);
        while done < rounds {
            let (mut line, mut line_step, mut end) = (t.c.cast_const(), t.c_row_stride, of_c);
            let mut other = V::LANES;
            if done >= last {
                (line_step, end) = (0, rounds);
                (b_ahead, b_ahead_stride) = (t.b_next, t.b_next_stride);
            } else if done >= of_c {
                (line, other) = schedule.pass(t, pass);
                line_step = lines * other;
                end = done + schedule.rounds(pass, last - done);
                pass += 1;
            }
            let count = end - done;
            done = end;
            for _ in 0..count {
                prefetch(line);
                step!(0);
                if const { NV > 1 && !PACK && !MASKED } {
                    if lines > 1 {
                        prefetch(line.wrapping_add(other));
                    }
                    step!(1);
                }
                line = line.wrapping_add(line_step);
                advance!(round);
            }
        }
        finish::<V, MR, NV, MR>(t, &mut acc);
    }
}

/// c = act(beta c + sums + bias), masked where the tile is ragged. Only MR of the rows exist.
///
/// # Safety
/// As [`TileFn`] for c and bias, and inlined into a function with the instruction set of `V`.
#[allow(clippy::needless_range_loop)] // see `tile`
#[inline(always)]
pub(super) unsafe fn finish<
    V: Vector<Element = f32>,
    const MR: usize,
    const NV: usize,
    const ROOM: usize,
>(
    t: &Tile,
    acc: &mut [[V; NV]; ROOM],
) {
    // SAFETY: the caller vouches for every element.
    unsafe {
        if t.accumulate {
            for i in 0..MR {
                for j in 0..NV {
                    let c = t.c.add(i * t.c_row_stride + j * V::LANES);
                    acc[i][j] = acc[i][j]
                        + if j + 1 == NV {
                            V::load_ptr_partial(c, t.last)
                        } else {
                            V::load_ptr(c)
                        };
                }
            }
        }
        if !t.bias.is_null() {
            for j in 0..NV {
                let bias = t.bias.add(j * V::LANES);
                let bias = if j + 1 == NV {
                    V::load_ptr_partial(bias, t.last)
                } else {
                    V::load_ptr(bias)
                };
                for i in 0..MR {
                    acc[i][j] = acc[i][j] + bias;
                }
            }
        }
        let zero = V::splat(0.0);
        match t.activation {
            Activation::Identity => {}
            // The second operand of `max` is what NaN falls back to.
            Activation::Relu => {
                for i in 0..MR {
                    for j in 0..NV {
                        acc[i][j] = zero.max(acc[i][j]);
                    }
                }
            }
            Activation::LeakyRelu(slope) => {
                let slope = V::splat(slope);
                for i in 0..MR {
                    for j in 0..NV {
                        let x = acc[i][j];
                        acc[i][j] = slope.mul_add(zero.min(x), zero.max(x));
                    }
                }
            }
        }
        for i in 0..MR {
            for j in 0..NV {
                let c = t.c.add(i * t.c_row_stride + j * V::LANES);
                if j + 1 == NV {
                    acc[i][j].store_ptr_partial(c, t.last);
                } else {
                    acc[i][j].store_ptr(c);
                }
            }
        }
    }
}

/// Copies k rows of `width` elements in whole vectors.
///
/// # Safety
/// As [`super::kernels::CopyFn`], and inlined into a function with the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn copy<V: Vector<Element = f32>>(
    from: *const f32,
    from_stride: usize,
    width: usize,
    k: usize,
    to: *mut f32,
    to_stride: usize,
) {
    let whole = width / V::LANES * V::LANES;
    let rest = width - whole;
    // SAFETY: the caller vouches for every element.
    unsafe {
        for p in 0..k {
            let (from, to) = (from.add(p * from_stride), to.add(p * to_stride));
            for j in (0..whole).step_by(V::LANES) {
                V::load_ptr(from.add(j)).store_ptr(to.add(j));
            }
            if rest > 0 {
                V::load_ptr_partial(from.add(whole), rest).store_ptr(to.add(whole));
            }
        }
    }
}
