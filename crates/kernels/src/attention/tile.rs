//! The microkernel of every product in attention.
//!
//! ```text
//! acc[MR][NV] = start                      // 0, one number a column, or what c holds
//! for p in 0..k:
//!     b0, b1 = load NV vectors of b[p]
//!     for i in 0..MR:                      // unrolled
//!         acc[i] += splat(a[i, p]) * (b0, b1)
//! c = acc
//! ```
//!
//! 1. The tile fills the register file: 8 x 3 vectors of 32, 6 x 2 of 16. 14 x 2, where rows are
//!    two vectors, are more multiply-adds for a load of a vector, but also more instructions for a
//!    multiply-add.
//! 2. Keys, values and their gradients are rows as they came, and only what belongs to queries is
//!    transposed, a tile at a time: a is read in rows or in columns, whichever is there (`form`).
//!    Distances inside blocks are constants.
//! 3. Operands are padded, so that every height is one of the upper half, and every vector whole.
//! 4. An element of c is one chain of multiply-adds in the order of k, whatever the tile is.

use super::ahead::Ahead;
use super::pattern::Sight;
use crate::element::Element;
use crate::simd::{
    Isa, Kernel, Registers, Vector, load_row, mul_add_row, opaque, prefetch, prefetch_l2,
    store_row, unroll,
};

/// Most queries that are treated together, and the distance between rows of their blocks.
pub(super) const BLOCK: usize = 48;

/// Registers of an instruction set, as far as tiles are concerned.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Elements of a vector.
    pub(super) lanes: usize,
    /// Heights of the tallest tiles, by the vectors in their rows: of 1, 2 and 3.
    pub(super) most: &'static [usize],
}

impl Shape {
    pub(super) fn of<T: Element>(isa: Isa) -> Shape {
        Shape::in_registers(T::registers(isa))
    }

    const fn in_registers(Registers { lanes, count }: Registers) -> Shape {
        let most: &[usize] = match (count, lanes) {
            (32.., 16..) => &[14, 14, 8],
            (32.., _) => &[14, 14],
            (16.., _) => &[6, 6],
            _ => &[6],
        };
        Shape { lanes, most }
    }

    /// The fewest rows a product may have.
    pub(super) fn least(&self) -> usize {
        self.most[0] / 2
    }
}

/// Which distances between rows are [`BLOCK`], and so part of the code.
pub(super) mod form {
    /// Rows of a at any distance, b and c in blocks: scores.
    pub(in super::super) const SCORES: u8 = 0;
    /// Rows of a in a block, b and c at any distance: sums over queries.
    pub(in super::super) const OVER_QUERIES: u8 = 1;
    /// Columns of a block, b and c at any distance: sums over keys.
    pub(in super::super) const OVER_KEYS: u8 = 2;
}

/// The first elements of a product, and the distances between rows.
#[derive(Clone, Copy)]
pub(super) struct Operands<T> {
    pub(super) a: *const T,
    pub(super) a_step: usize,
    pub(super) b: *const T,
    pub(super) b_step: usize,
    pub(super) c: *mut T,
    pub(super) c_step: usize,
    pub(super) start: First<T>,
}

impl<T: Copy> Operands<T> {
    /// What follows `row` rows of a, `step` steps and `col` columns.
    #[inline(always)]
    pub(super) fn from(&self, form: u8, row: usize, step: usize, col: usize) -> Self {
        let (a_row, a_col) = match form {
            form::OVER_KEYS => (1, BLOCK),
            _ => (self.a_step, 1),
        };
        Operands {
            a: self.a.wrapping_add(row * a_row + step * a_col),
            b: self.b.wrapping_add(step * self.b_step + col),
            c: self.c.wrapping_add(row * self.c_step + col),
            start: match self.start {
                First::Columns(x) => First::Columns(x.wrapping_add(col)),
                other => other,
            },
            ..*self
        }
    }
}

/// Tiles of one height, one below the other.
pub(super) struct Tiles<'a, T> {
    pub(super) count: usize,
    /// Steps.
    pub(super) k: usize,
    /// Of sums over keys: what the queries see, and the one behind the last of the first tile's.
    pub(super) sight: &'a Sight<'a>,
    pub(super) behind: usize,
    pub(super) at: Operands<T>,
    pub(super) ahead: &'a mut Ahead<T>,
    /// The first of the lines that a tile brings in, one every four steps, and the next one.
    pub(super) line: *const T,
    pub(super) line_step: usize,
}

/// What the sums begin with: [`Start`](super::product::Start) of some columns.
#[derive(Clone, Copy)]
pub(super) enum First<T> {
    Zero,
    Columns(*const T),
    Sum,
}

/// Computes them.
pub(super) struct Run<'a, 'b, T, const MR: usize, const NV: usize, const FORM: u8>(
    pub(super) &'a mut Tiles<'b, T>,
);

impl<T: Element, const MR: usize, const NV: usize, const FORM: u8> Kernel<T>
    for Run<'_, '_, T, MR, NV, FORM>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        // What `product` does not ask of an instruction set is not compiled for it.
        if const {
            let most = Shape::in_registers(V::REGISTERS).most;
            NV > most.len() || MR > most[NV - 1] || MR < most[NV - 1] / 2
        } {
            unreachable!("attention: a tile of {MR} x {NV} vectors");
        }
        let t = self.0;
        let all = t.k;
        for _ in 0..t.count {
            if FORM == form::OVER_KEYS {
                // Keys that none of the tile's queries sees.
                t.k = all.min(t.sight.rows(t.behind - 1));
                t.behind += MR;
            }
            (t.line, t.line_step) = t.ahead.bring(t.k / 4);
            // SAFETY: `product` has checked that every element lies in its slice.
            unsafe { tile::<V, MR, NV, FORM>(t) };
            let at = &mut t.at;
            at.a = at.a.wrapping_add(match FORM {
                form::SCORES => MR * at.a_step,
                form::OVER_QUERIES => MR * BLOCK,
                _ => MR,
            });
            let c_step = if FORM == form::SCORES {
                BLOCK
            } else {
                at.c_step
            };
            at.c = at.c.wrapping_add(MR * c_step);
        }
    }
}

/// Pointers to rows of a, one for five of them.
const FIVES: usize = 3;

/// The first of the tiles.
///
/// # Safety
/// The elements exist, and c belongs to the caller.
// The empty assembly passes pointers through and looks at nothing; loops over constants unroll.
#[allow(clippy::needless_range_loop, clippy::pointers_in_nomem_asm_block)]
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize, const FORM: u8>(t: &Tiles<V::Element>) {
    let at = &t.at;
    let (b_step, c_step) = if FORM == form::SCORES {
        (BLOCK, BLOCK)
    } else {
        (at.b_step, at.c_step)
    };
    // SAFETY: the caller vouches for every element; prefetches never fault.
    unsafe {
        let mut acc = [[V::zero(); NV]; MR];
        // Rows of c one after the other; what is not hidden from the compiler it turns into as
        // many products.
        macro_rules! below {
            ($c:expr) => {
                if FORM == form::SCORES {
                    $c.wrapping_add(BLOCK)
                } else {
                    opaque!($c.wrapping_add(c_step))
                }
            };
        }
        match at.start {
            First::Zero => {}
            First::Columns(x) => {
                let row = load_row(x, true, 0);
                unroll!(row i < MR: { acc[i] = row; });
            }
            First::Sum => {
                let mut c = at.c.cast_const();
                unroll!(row i < MR: {
                    if i > 0 {
                        c = below!(c);
                    }
                    acc[i] = load_row(c, true, 0);
                });
            }
        }
        let (mut b, mut line) = (at.b, t.line);
        // Rows of a by fives: base + {0, 1, 2, 4} steps and base + 3 steps are addressing modes.
        let a_step: usize = opaque!(at.a_step * size_of::<V::Element>());
        let a_step3: usize = opaque!(3 * at.a_step * size_of::<V::Element>());
        let mut a = [at.a; FIVES];
        for g in 0..FIVES {
            a[g] = at.a.wrapping_add(5 * g * at.a_step);
        }
        // The next tile's rows of a, which leave the first-level cache before they are read again,
        // or of c.
        let mut next = match FORM {
            form::SCORES => at.a.wrapping_add(MR * at.a_step),
            _ => at.c.cast_const().wrapping_add(MR * c_step),
        };
        let mut next_a = at.a.wrapping_add(MR * BLOCK);
        let line_of = 64 / size_of::<V::Element>();
        macro_rules! step {
            ($P:literal) => {
                if FORM == form::OVER_QUERIES {
                    prefetch(next.wrapping_add($P * line_of));
                    prefetch(next_a.wrapping_add($P * line_of));
                }
                let b = b.wrapping_add($P * b_step);
                let row = load_row(b, true, 0);
                unroll!(row i < MR: {
                    let x = number::<V, FORM>(&a, [a_step, a_step3], i, $P);
                    mul_add_row(x, &row, &mut acc[i]);
                });
            };
        }
        macro_rules! advance {
            ($steps:literal) => {
                b = b.wrapping_add($steps * b_step);
                match FORM {
                    form::SCORES => {
                        for g in 0..FIVES {
                            if g == 0 || 5 * g < MR {
                                a[g] = opaque!(a[g].wrapping_add($steps));
                            }
                        }
                    }
                    form::OVER_QUERIES => a[0] = a[0].wrapping_add($steps),
                    _ => a[0] = a[0].wrapping_add($steps * BLOCK),
                }
            };
        }
        // Few enough rounds that their end is foreseen.
        for _ in 0..t.k / 4 {
            prefetch_l2(line);
            line = line.wrapping_add(t.line_step);
            if FORM == form::SCORES {
                // Rows side by side are as many lines as rounds have steps, by halves.
                prefetch(next);
                prefetch(next.wrapping_add(line_of));
                next = next.wrapping_add(2 * line_of);
            }
            step!(0);
            step!(1);
            step!(2);
            step!(3);
            advance!(4);
            if FORM == form::OVER_QUERIES {
                next = next.wrapping_add(4 * line_of);
                next_a = next_a.wrapping_add(4 * line_of);
            }
        }
        for _ in 0..t.k % 4 {
            step!(0);
            advance!(1);
        }
        let mut c = at.c;
        unroll!(row i < MR: {
            if i > 0 {
                c = below!(c);
            }
            store_row(&acc[i], c, true, 0);
        });
    }
}

/// Row `i` of a, `p` steps on.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn number<V: Vector, const FORM: u8>(
    a: &[*const V::Element; FIVES],
    [a_step, a_step3]: [usize; 2],
    i: usize,
    p: usize,
) -> V {
    // SAFETY: the caller's.
    unsafe {
        V::splat(*match FORM {
            form::SCORES => {
                let row = if i % 5 == 3 { a_step3 } else { i % 5 * a_step };
                a[i / 5 % 3].byte_add(row).add(p)
            }
            form::OVER_QUERIES => a[0].add(i * BLOCK + p),
            _ => a[0].add(p * BLOCK + i),
        })
    }
}
