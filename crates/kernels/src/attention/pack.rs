//! Operands in the order in which the products read them.

use super::tile::BLOCK;
use super::view::Rows;
use crate::buffer::Buffer;
use crate::element::Element;
use crate::gemm::transpose;
use crate::simd::Isa;

/// Keys that are treated together: eight tiles of 14 or nearly 19 of 6, and whole vectors.
pub(super) const KEYS: usize = 112;

/// The longest distance between two rows of a matrix of `depth` columns.
pub(super) fn pitch(depth: usize) -> usize {
    depth.max(8).next_multiple_of(16)
}

/// Room for `rows` rows of `depth` numbers, `pitch(depth)` apart, and zero rows for whatever is
/// read beyond the last: never more than a tile.
pub(super) fn rows_room<T: Element>(rows: usize, depth: usize) -> Buffer<T> {
    Buffer::recycled((rows + BLOCK) * pitch(depth))
}

/// How many rows ahead of use memory is asked for: at least a tile, so that while one is packed
/// the next one comes in.
const AHEAD: usize = BLOCK;

/// Copies the first `count` of the rows at `positions`; up to a tile of rows behind them become
/// zero. Rows of one head lie far apart, so what follows is asked for in advance.
pub(super) fn rows<T: Element>(
    from: Rows<T>,
    at: (usize, usize),
    positions: impl Iterator<Item = usize> + Clone,
    count: usize,
    depth: usize,
    to: &mut [T],
) {
    let mut to = to.chunks_exact_mut(pitch(depth));
    let mut ahead = positions.clone().skip(AHEAD);
    for t in positions.take(count) {
        if let Some(t) = ahead.next() {
            from.prefetch(at.0, t, at.1, depth);
        }
        let to = to.next().expect("as many rows as positions");
        copy_row(from.row(at.0, t, at.1, depth), &mut to[..depth]);
    }
    to.take(BLOCK).for_each(|to| to.fill(T::ZERO));
}

/// Copies a row, in place of a call that would take longer than so few numbers do.
#[inline]
pub(super) fn copy_row<T: Element>(from: &[T], to: &mut [T]) {
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<8>(), to.as_chunks_mut::<8>());
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = *from;
    }
}

/// Room for [`columns`] of `keys` rows.
pub(super) fn columns_room<T: Element>(keys: usize, depth: usize) -> Buffer<T> {
    Buffer::recycled(keys.next_multiple_of(KEYS) * depth)
}

/// Rows become columns, in blocks of [`KEYS`]: element c of row i of block b is at
/// `(b * depth + c) * KEYS + i`. What lies behind the last column has no meaning.
pub(super) fn columns<T: Element>(isa: Isa, rows: &[T], keys: usize, depth: usize, to: &mut [T]) {
    let pitch = pitch(depth);
    for (b, to) in to.chunks_exact_mut(KEYS * depth).enumerate() {
        let here = (keys - b * KEYS).min(KEYS);
        let from = &rows[b * KEYS * pitch..];
        transpose(isa, from, pitch, (here, depth), to, KEYS);
    }
}

/// Rows of a tile of queries become columns `BLOCK` apart; lanes without a query are 0.
pub(super) fn lanes<T: Element>(isa: Isa, rows: &[T], count: usize, depth: usize, to: &mut [T]) {
    transpose(isa, rows, pitch(depth), (count, depth), to, BLOCK);
    if count < BLOCK {
        for to in to.chunks_exact_mut(BLOCK).take(depth) {
            to[count..].fill(T::ZERO);
        }
    }
}

/// The opposite of [`lanes`]: to rows `pitch(depth)` apart.
pub(super) fn unlanes<T: Element>(isa: Isa, from: &[T], count: usize, depth: usize, to: &mut [T]) {
    transpose(isa, from, BLOCK, (depth, count), to, pitch(depth));
}
