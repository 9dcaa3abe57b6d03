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
//! 1. The tile fills the register file: 14 x 2 vectors of 32, 6 x 2 of 16.
//! 2. a is read where its rows lie side by side (`Columns`), or from a block whose rows are
//!    [`BLOCK`] apart (`Rows`): either way one pointer and constant offsets, and no arithmetic.
//! 3. Operands are padded, so that every height is one of the upper half, and every vector whole.
//! 4. An element of c is one chain of multiply-adds in the order of k, whatever the tile is.

use crate::element::Element;
use crate::simd::{Isa, IsaKind, Kernel, Vector, dispatch, prefetch, unroll};

/// Queries that are treated together, and the distance between rows of their blocks.
pub(super) const BLOCK: usize = 32;

/// How the left operand lies in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left<'a, T> {
    /// a[i, p] = data[p * step + i].
    Columns(&'a [T], usize),
    /// a[i, p] = data[i * BLOCK + p].
    Rows(&'a [T]),
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
    /// Height of the tallest tile, and vectors in its rows.
    most: [usize; 2],
}

impl Shape {
    pub(super) fn of<T>(isa: Isa) -> Shape {
        let (lanes, most) = match isa.kind() {
            // f64 has one lane on every instruction set.
            _ if size_of::<T>() == 8 => (1, [6, 2]),
            IsaKind::Avx512 => (16, [14, 2]),
            IsaKind::Avx2 => (8, [6, 2]),
            IsaKind::Neon => (4, [14, 2]),
            // Eight portable lanes are two registers of the baseline.
            IsaKind::Portable => (8, [6, 1]),
        };
        Shape { lanes, most }
    }

    /// The fewest rows a product may have.
    pub(super) fn least(&self) -> usize {
        self.most[0] / 2
    }
}

struct Tile<T> {
    k: usize,
    a: *const T,
    a_step: usize,
    b: *const T,
    b_step: usize,
    c: *mut T,
    c_step: usize,
    /// Where the sums begin, or null for 0.
    start: *const T,
    start_step: usize,
}

struct Run<'a, T, const MR: usize, const NV: usize, const ROWS: bool>(&'a Tile<T>);

impl<T: Element, const MR: usize, const NV: usize, const ROWS: bool> Kernel<T>
    for Run<'_, T, MR, NV, ROWS>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        if const { MR > 6 && V::LANES != 16 && V::LANES != 4 || MR < 7 && V::LANES == 16 } {
            unreachable!("attention: a tile of {MR} x {NV} vectors");
        }
        let t = self.0;
        // SAFETY: `product` has checked that every element lies in its slice.
        unsafe {
            let mut acc = [[V::zero(); NV]; MR];
            if !t.start.is_null() && t.start_step == 0 {
                let mut row = [V::zero(); NV];
                unroll!(vector J < NV: { row[J] = V::load_ptr(t.start.add(J * V::LANES)); });
                unroll!(row I < MR: { acc[I] = row; });
            } else if !t.start.is_null() {
                unroll!(row I < MR: {
                    let row = t.start.add(I * t.start_step);
                    unroll!(vector J < NV: { acc[I][J] = V::load_ptr(row.add(J * V::LANES)); });
                });
            }
            let (mut a, mut b) = (t.a, t.b);
            let mut next = t.c.wrapping_add(MR * t.c_step);
            macro_rules! step {
                () => {
                    if ROWS {
                        // The sums of the next tile come from the second-level cache.
                        prefetch(next);
                        next = next.wrapping_add(64 / size_of::<T>());
                    }
                    let mut row = [V::zero(); NV];
                    unroll!(vector J < NV: { row[J] = V::load_ptr(b.add(J * V::LANES)); });
                    unroll!(row I < MR: {
                        let x = V::splat(*a.add(if ROWS { I * BLOCK } else { I }));
                        unroll!(vector J < NV: { acc[I][J] = x.mul_add(row[J], acc[I][J]); });
                    });
                    a = a.wrapping_add(if ROWS { 1 } else { t.a_step });
                    b = b.wrapping_add(t.b_step);
                };
            }
            // Few enough rounds that their end is foreseen.
            for _ in 0..t.k / 4 {
                step!();
                step!();
                step!();
                step!();
            }
            for _ in 0..t.k % 4 {
                step!();
            }
            unroll!(row I < MR: {
                let row = t.c.add(I * t.c_step);
                unroll!(vector J < NV: { acc[I][J].store_ptr(row.add(J * V::LANES)); });
            });
        }
    }
}

/// c = start + a b for a `[m, k]`, b `[k, n]`, c `[m, n]`; rows of b are `b_step` apart, of c
/// `c_step`.
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
) {
    let shape = Shape::of::<T>(isa);
    assert!(m >= shape.least() && n.is_multiple_of(shape.lanes));
    if n == 0 {
        return;
    }
    let (a, a_len, a_step, rows) = match a {
        Left::Columns(a, step) => (a, k.saturating_sub(1) * step + m, step, false),
        Left::Rows(a) => (a, (m - 1) * BLOCK + k, 1, true),
    };
    assert!(a_len <= a.len() || k == 0);
    assert!(k == 0 || (k - 1) * b_step + n <= b.len());
    assert!((m - 1) * c_step + n <= c.len() && (m == 1 || c_step >= n));
    let c = c.as_mut_ptr();
    let (start, start_step) = match start {
        Start::Zero => (std::ptr::null(), 0),
        Start::Columns(x) => {
            assert!(n <= x.len());
            (x.as_ptr(), 0)
        }
        Start::Sum => (c.cast_const(), c_step),
    };
    // Of nearly equal height, by one division: one takes as long as a tenth of a tile and more.
    let pieces = m.div_ceil(shape.most[0]);
    let (least, higher) = (m / pieces, m % pieces);
    let mut col = 0;
    while col < n {
        let vectors = if n - col > shape.lanes {
            shape.most[1]
        } else {
            1
        };
        let mut row = 0;
        for piece in 0..pieces {
            let height = least + usize::from(piece < higher);
            let tile = Tile {
                k,
                a: a.as_ptr()
                    .wrapping_add(if rows { row * BLOCK } else { row }),
                a_step,
                b: b.as_ptr().wrapping_add(col),
                b_step,
                c: c.wrapping_add(row * c_step + col),
                c_step,
                start: if start.is_null() {
                    start
                } else {
                    start.wrapping_add(row * start_step + col)
                },
                start_step,
            };
            match (vectors, rows) {
                (1, false) => by_height::<T, 1, false>(isa, height, &tile),
                (1, true) => by_height::<T, 1, true>(isa, height, &tile),
                (_, false) => by_height::<T, 2, false>(isa, height, &tile),
                (_, true) => by_height::<T, 2, true>(isa, height, &tile),
            }
            row += height;
        }
        col += vectors * shape.lanes;
    }
}

/// Runs the instance of a height.
fn by_height<T: Element, const NV: usize, const ROWS: bool>(
    isa: Isa,
    height: usize,
    tile: &Tile<T>,
) {
    macro_rules! instances {
        ($($mr:literal)*) => {
            match height {
                $($mr => dispatch(isa, Run::<T, $mr, NV, ROWS>(tile)),)*
                _ => unreachable!("attention: a tile of height {height}"),
            }
        };
    }
    instances!(3 4 5 6 7 8 9 10 11 12 13 14)
}
