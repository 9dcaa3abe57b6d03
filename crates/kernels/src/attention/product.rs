//! The loops that cover a product of attention with tiles.
//!
//! ```text
//! for pieces of rows:                      // one, or above the diagonal those that thirds see
//!     for columns, as few as there can be:
//!         for tiles of nearly equal height:
//!             microkernel
//! ```
//!
//! 1. What lies above the diagonal, where no query of a third of a block sees a key, is left out,
//!    and of sums over keys what a tile's queries do not see.
//! 2. A product takes as long as a dozen tiles, so what surrounds them has no divisions.

use super::ahead::Ahead;
use super::pack::KEYS;
use super::pattern::Sight;
use super::tile::{BLOCK, First, Operands, Run, Shape, Tiles, form};
use crate::element::Element;
use crate::simd::{Isa, dispatch};

/// Queries of which it matters whether any of them sees a key.
const THIRD: usize = BLOCK / 3;

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

/// c = start + a b for a `[m, k]`, b `[k, n]`, c `[m, n]`, with the distances between their rows.
/// While its tiles are computed some of what lies `ahead` is brought in.
///
/// Distances are [`BLOCK`], except those of a where scores are computed (a is in rows and b in a
/// block), and those of b and c otherwise.
///
/// Scores of keys that no query of a third of a block sees may be left as they are; elsewhere, what
/// such keys would add to a sum is taken for 0.
///
/// # Panics
/// If an operand is too short, m is less than [`Shape::least`] or more than [`KEYS`], or n is not
/// whole vectors.
pub(super) fn product<T: Element>(
    isa: Isa,
    [m, k, n]: [usize; 3],
    a: Left<T>,
    (b, b_step): (&[T], usize),
    (c, c_step): (&mut [T], usize),
    start: Start<T>,
    sight: Sight,
    ahead: &mut Ahead<T>,
) {
    let shape = Shape::of::<T>(isa);
    // A division by a number that is not known takes as long as a tenth of a tile.
    assert!((shape.least()..=KEYS).contains(&m) && n & (shape.lanes - 1) == 0);
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
    let at = Operands {
        a: a.as_ptr(),
        a_step,
        b: b.as_ptr(),
        b_step,
        c: c.as_mut_ptr(),
        c_step,
        start: match start {
            Start::Zero => First::Zero,
            Start::Columns(x) => First::Columns(x[..n].as_ptr()),
            Start::Sum => First::Sum,
        },
    };
    let (size, sight) = ([m, k, n], &sight);
    match form {
        form::SCORES => cover::<T, { form::SCORES }>(isa, shape, size, &at, sight, ahead),
        form::OVER_QUERIES => {
            cover::<T, { form::OVER_QUERIES }>(isa, shape, size, &at, sight, ahead)
        }
        _ => cover::<T, { form::OVER_KEYS }>(isa, shape, size, &at, sight, ahead),
    }
}

/// x / y for numbers of rows: a division takes as long as a tenth of a tile and more.
#[inline(always)]
fn quotient(x: usize, y: usize) -> usize {
    const INVERSE: [u32; MOST] = {
        let mut inverse = [0; MOST];
        let mut y = 1;
        while y < MOST {
            inverse[y] = (1_u32 << 16).div_ceil(y as u32);
            y += 1;
        }
        inverse
    };
    debug_assert!(x < MOST && 0 < y && y < MOST);
    (x * INVERSE[y] as usize) >> 16
}
/// What [`quotient`] is exact below: what an inverse is too large by, times x, stays below 1 / y.
const MOST: usize = 128;
// Heights are rounded up.
const _: () = assert!(KEYS + 16 <= MOST);

/// Covers a product with tiles.
fn cover<T: Element, const FORM: u8>(
    isa: Isa,
    shape: Shape,
    [m, k, n]: [usize; 3],
    at: &Operands<T>,
    sight: &Sight,
    ahead: &mut Ahead<T>,
) {
    let least = shape.least();
    let lanes_log2 = shape.lanes.trailing_zeros();
    let mut thirds = (THIRD..match FORM {
        // There each tile looks for itself.
        form::OVER_KEYS => 0,
        form::SCORES => n,
        _ => k,
    })
        .step_by(THIRD);
    // Otherwise rows are keys; of those from `row` on the first `skipped` queries see none.
    let (mut row, mut skipped) = (0, 0);
    while row < m {
        let (mut end, mut next) = (m, 0);
        for lane in thirds.by_ref() {
            let unseen = sight.rows(lane - 1).min(m);
            if unseen == row {
                skipped = lane;
            } else if unseen >= row + least && unseen + least <= m {
                // No piece has fewer rows than a tile.
                (end, next) = (unseen, lane);
                break;
            }
        }
        let (steps, mut col) = match FORM {
            form::SCORES => (0, skipped),
            _ => (skipped, 0),
        };
        while col < n {
            // As few columns of tiles as there can be, of nearly equal width.
            let left = (n - col) >> lanes_log2;
            let most = shape.most.len();
            let vectors = match left {
                _ if left <= most => left,
                4 if most == 3 => 2,
                _ => most,
            };
            // Of nearly equal height.
            let most = shape.most[vectors - 1];
            let pieces = quotient(end - row + most - 1, most);
            let height = quotient(end - row, pieces);
            let higher = end - row - height * pieces;
            let mut first = row;
            for (height, count) in [(height + 1, higher), (height, pieces - higher)] {
                if count == 0 {
                    continue;
                }
                let mut tiles = Tiles {
                    count,
                    k: k - steps,
                    sight,
                    behind: first + height,
                    at: at.from(FORM, first, steps, col),
                    ahead: &mut *ahead,
                    line: std::ptr::null(),
                    line_step: 0,
                };
                match vectors {
                    1 => by_height::<T, 1, FORM>(isa, height, &mut tiles),
                    2 => by_height::<T, 2, FORM>(isa, height, &mut tiles),
                    _ => by_height::<T, 3, FORM>(isa, height, &mut tiles),
                }
                first += count * height;
            }
            col += vectors << lanes_log2;
        }
        (row, skipped) = (end, next);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_exact() {
        for x in 0..MOST {
            for y in 1..MOST {
                assert_eq!(quotient(x, y), x / y);
            }
        }
    }
}
