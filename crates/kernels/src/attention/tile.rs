//! The microkernel of every product in attention, and the loops that cover a product with tiles.
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
//!    transposed, a tile at a time: a is read in rows or in columns, whichever is there ([`Left`]).
//!    Distances inside blocks are constants.
//! 3. Operands are padded, so that every height is one of the upper half, and every vector whole.
//! 4. An element of c is one chain of multiply-adds in the order of k, whatever the tile is.

use super::ahead::Ahead;
use crate::element::Element;
use crate::simd::{Isa, IsaKind, Kernel, Vector, dispatch, opaque, prefetch, prefetch_l2, unroll};

/// Most queries that are treated together, and the distance between rows of their blocks.
pub(super) const BLOCK: usize = 48;

/// How the left operand lies in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left<'a, T> {
    /// a[i, p] = data[i * step + p]: keys and values.
    Rows(&'a [T], usize),
    /// a[i, p] = data[i * BLOCK + p]: what keys have of queries.
    Block(&'a [T]),
    /// a[i, p] = data[p * BLOCK + i]: what queries have of keys.
    Columns(&'a [T]),
}

/// What the sums begin with.
#[derive(Clone, Copy)]
pub(super) enum Start<'a, T> {
    Zero,
    /// One number a column.
    Columns(&'a [T]),
    /// What c holds.
    Sum,
}

/// Registers of an instruction set, as far as tiles are concerned.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Elements of a vector.
    pub(super) lanes: usize,
    /// Heights of the tallest tiles, by the vectors in their rows: of 1, 2 and 3.
    most: &'static [u32],
}

impl Shape {
    pub(super) fn of<T>(isa: Isa) -> Shape {
        let (lanes, most): (_, &[u32]) = match isa.kind() {
            // f64 has one lane on every instruction set.
            _ if size_of::<T>() == 8 => (1, &[6, 6]),
            IsaKind::Avx512 => (16, &[14, 14, 8]),
            IsaKind::Avx2 => (8, &[6, 6]),
            IsaKind::Neon => (4, &[14, 14]),
            // Eight portable lanes are two registers of the baseline.
            IsaKind::Portable => (8, &[6]),
        };
        Shape { lanes, most }
    }

    /// The fewest rows a product may have.
    pub(super) fn least(&self) -> usize {
        self.most[0] as usize / 2
    }
}

/// Which distances between rows are [`BLOCK`], and so part of the code.
mod form {
    /// Rows of a at any distance, b and c in blocks: scores.
    pub(super) const SCORES: u8 = 0;
    /// Rows of a in a block, b and c at any distance: sums over queries.
    pub(super) const OVER_QUERIES: u8 = 1;
    /// Columns of a block, b and c at any distance: sums over keys.
    pub(super) const OVER_KEYS: u8 = 2;
}

/// Tiles of one height, one below the other.
struct Tiles<'a, T> {
    count: usize,
    k: usize,
    a: *const T,
    a_step: usize,
    b: *const T,
    b_step: usize,
    c: *mut T,
    c_step: usize,
    start: First<T>,
    ahead: &'a mut Ahead<T>,
    /// The first of the lines that a tile brings in, one every four steps, and the next one.
    line: *const T,
    line_step: usize,
}

/// [`Start`] of some columns.
#[derive(Clone, Copy)]
enum First<T> {
    Zero,
    Columns(*const T),
    Sum,
}

struct Run<'a, 'b, T, const MR: usize, const NV: usize, const FORM: u8>(&'a mut Tiles<'b, T>);

impl<T: Element, const MR: usize, const NV: usize, const FORM: u8> Kernel<T>
    for Run<'_, '_, T, MR, NV, FORM>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        // What `product` does not ask of an instruction set is not compiled for it.
        if const {
            match (V::LANES, NV) {
                (16, 3) => MR > 8 || MR < 4,
                (_, 3) => true,
                (16 | 4, _) => MR < 7,
                _ => MR > 6,
            }
        } {
            unreachable!("attention: a tile of {MR} x {NV} vectors");
        }
        let t = self.0;
        for _ in 0..t.count {
            (t.line, t.line_step) = t.ahead.bring(t.k / 4);
            // SAFETY: `product` has checked that every element lies in its slice.
            unsafe { tile::<V, MR, NV, FORM>(t) };
            t.a = t.a.wrapping_add(match FORM {
                form::SCORES => MR * t.a_step,
                form::OVER_QUERIES => MR * BLOCK,
                _ => MR,
            });
            let c_step = if FORM == form::SCORES {
                BLOCK
            } else {
                t.c_step
            };
            t.c = t.c.wrapping_add(MR * c_step);
        }
    }
}

/// The first of the tiles.
///
/// # Safety
/// The elements exist, and c belongs to the caller.
// The empty assembly passes pointers through and looks at nothing; loops over constants unroll.
#[allow(clippy::needless_range_loop, clippy::pointers_in_nomem_asm_block)]
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize, const FORM: u8>(t: &Tiles<V::Element>) {
    let (b_step, c_step) = if FORM == form::SCORES {
        (BLOCK, BLOCK)
    } else {
        (t.b_step, t.c_step)
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
        match t.start {
            First::Zero => {}
            First::Columns(x) => {
                let mut row = [V::zero(); NV];
                unroll!(vector J < NV: { row[J] = V::load_ptr(x.add(J * V::LANES)); });
                unroll!(row I < MR: { acc[I] = row; });
            }
            First::Sum => {
                let mut c = t.c.cast_const();
                unroll!(row I < MR: {
                    unroll!(vector J < NV: { acc[I][J] = V::load_ptr(c.add(J * V::LANES)); });
                    c = below!(c);
                });
            }
        }
        let (mut b, mut line) = (t.b, t.line);
        // Rows of a by fives: base + {0, 1, 2, 4} steps and base + 3 steps are addressing modes.
        let a_step: usize = opaque!(t.a_step * size_of::<V::Element>());
        let a_step3: usize = opaque!(3 * t.a_step * size_of::<V::Element>());
        const FIVES: usize = 3;
        let mut a = [t.a; FIVES];
        for g in 0..FIVES {
            a[g] = t.a.wrapping_add(5 * g * t.a_step);
        }
        // The next tile's rows of a, which leave the first-level cache before they are read again,
        // or of c.
        let mut next = match FORM {
            form::SCORES => t.a.wrapping_add(MR * t.a_step),
            _ => t.c.cast_const().wrapping_add(MR * c_step),
        };
        let mut next_a = t.a.wrapping_add(MR * BLOCK);
        let line_of = 64 / size_of::<V::Element>();
        macro_rules! step {
            ($P:literal) => {
                if FORM == form::OVER_QUERIES {
                    prefetch(next.wrapping_add($P * line_of));
                    prefetch(next_a.wrapping_add($P * line_of));
                }
                let b = b.wrapping_add($P * b_step);
                let mut row = [V::zero(); NV];
                unroll!(vector J < NV: { row[J] = V::load_ptr(b.add(J * V::LANES)); });
                unroll!(row I < MR: {
                    let at = match FORM {
                        form::SCORES => {
                            let row = if I % 5 == 3 { a_step3 } else { I % 5 * a_step };
                            a[I / 5 % 3].byte_add(row).add($P)
                        }
                        form::OVER_QUERIES => a[0].add(I * BLOCK + $P),
                        _ => a[0].add($P * BLOCK + I),
                    };
                    let x = V::splat(*at);
                    unroll!(vector J < NV: { acc[I][J] = x.mul_add(row[J], acc[I][J]); });
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
        let mut c = t.c;
        unroll!(row I < MR: {
            unroll!(vector J < NV: { acc[I][J].store_ptr(c.add(J * V::LANES)); });
            c = below!(c);
        });
    }
}

/// c = start + a b for a `[m, k]`, b `[k, n]`, c `[m, n]`, with the distances between their rows.
/// While its tiles are computed some of what lies `ahead` is brought in.
///
/// Distances are [`BLOCK`], except those of a where scores are computed (a is in rows and b in a
/// block), and those of b and c otherwise.
///
/// # Panics
/// If an operand is too short, m is less than [`Shape::least`] or n is not whole vectors.
pub(super) fn product<T: Element>(
    isa: Isa,
    [m, k, n]: [usize; 3],
    a: Left<T>,
    (b, b_step): (&[T], usize),
    (c, c_step): (&mut [T], usize),
    start: Start<T>,
    ahead: &mut Ahead<T>,
) {
    let shape = Shape::of::<T>(isa);
    assert!(m >= shape.least() && n.is_multiple_of(shape.lanes));
    if n == 0 {
        return;
    }
    let (form, a, a_len, a_step) = match a {
        Left::Columns(a) => (form::OVER_KEYS, a, k.saturating_sub(1) * BLOCK + m, BLOCK),
        Left::Block(a) => (form::OVER_QUERIES, a, (m - 1) * BLOCK + k, BLOCK),
        Left::Rows(a, step) => (form::SCORES, a, (m - 1) * step + k, step),
    };
    assert!(a_len <= a.len() || k == 0);
    assert!(form != form::SCORES || (b_step, c_step) == (BLOCK, BLOCK));
    assert!(k == 0 || (k - 1) * b_step + n <= b.len());
    assert!((m - 1) * c_step + n <= c.len() && (m == 1 || c_step >= n));
    let mut col = 0;
    while col < n {
        // As few columns of tiles as there can be, of nearly equal width.
        let left = (n - col) / shape.lanes;
        let most = shape.most.len();
        let vectors = if left <= most {
            left
        } else {
            left.div_ceil(left.div_ceil(most))
        };
        let start = match start {
            Start::Zero => First::Zero,
            Start::Columns(x) => First::Columns(x[col..][..vectors * shape.lanes].as_ptr()),
            Start::Sum => First::Sum,
        };
        // Of nearly equal height, by one division: one takes as long as a tenth of a tile and more.
        let pieces = (m as u32).div_ceil(shape.most[vectors - 1]);
        let (least, higher) = (m as u32 / pieces, m as u32 % pieces);
        let (least, higher, pieces) = (least as usize, higher as usize, pieces as usize);
        let mut row = 0;
        for (height, count) in [(least + 1, higher), (least, pieces - higher)] {
            if count == 0 {
                continue;
            }
            let mut tiles = Tiles {
                count,
                k,
                a: a.as_ptr().wrapping_add(match form {
                    form::OVER_KEYS => row,
                    _ => row * a_step,
                }),
                a_step,
                b: b.as_ptr().wrapping_add(col),
                b_step,
                c: c.as_mut_ptr().wrapping_add(row * c_step + col),
                c_step,
                start,
                ahead: &mut *ahead,
                line: std::ptr::null(),
                line_step: 0,
            };
            match vectors {
                1 => by_form::<T, 1>(isa, form, height, &mut tiles),
                2 => by_form::<T, 2>(isa, form, height, &mut tiles),
                _ => by_form::<T, 3>(isa, form, height, &mut tiles),
            }
            row += count * height;
        }
        col += vectors * shape.lanes;
    }
}

fn by_form<T: Element, const NV: usize>(isa: Isa, form: u8, height: usize, tiles: &mut Tiles<T>) {
    match form {
        form::SCORES => by_height::<T, NV, { form::SCORES }>(isa, height, tiles),
        form::OVER_QUERIES => by_height::<T, NV, { form::OVER_QUERIES }>(isa, height, tiles),
        _ => by_height::<T, NV, { form::OVER_KEYS }>(isa, height, tiles),
    }
}

/// Runs the instance of a height.
fn by_height<T: Element, const NV: usize, const FORM: u8>(
    isa: Isa,
    height: usize,
    tiles: &mut Tiles<T>,
) {
    macro_rules! instances {
        ($($mr:literal)*) => {
            match height {
                $($mr => dispatch(isa, Run::<T, $mr, NV, FORM>(tiles)),)*
                _ => unreachable!("attention: a tile of height {height}"),
            }
        };
    }
    instances!(3 4 5 6 7 8 9 10 11 12 13 14)
}
