//! Operands in the order in which the products read them.

use super::ahead::{Ahead, Coming};
use super::pattern::{Group, Positions};
use super::tile::BLOCK;
use super::view::{Rows, RowsMut};
use super::{Attention, Next};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::gemm::{copy_rows, transpose};
use crate::simd::{Isa, Kernel, Vector, dispatch};
use std::ops::Range;

/// Keys that are treated together: twelve tiles of 8 or sixteen of 6.
pub(super) const KEYS: usize = 96;

/// The longest distance between two rows of a matrix of `depth` columns.
pub(super) fn pitch(depth: usize) -> usize {
    depth.max(8).next_multiple_of(16)
}

/// Zero rows behind the last: tiles of half the height have no fewer.
pub(super) const PAD: usize = 8;

/// Room for `rows` rows of `depth` numbers, `pitch(depth)` apart, and for [`PAD`] behind the last.
pub(super) fn rows_room<T: Element>(rows: usize, depth: usize) -> Buffer<T> {
    Buffer::recycled((rows + PAD) * pitch(depth))
}

/// The rows of one head at some positions, of which the next ones are taken.
pub(super) struct Part<'a, T> {
    pub(super) rows: Rows<'a, T>,
    /// The example and the head.
    pub(super) at: (usize, usize),
    pub(super) positions: Positions,
    pub(super) depth: usize,
}

impl<'a, T: Element> Part<'a, T> {
    /// Copies the next `count`; some rows behind them become zero.
    pub(super) fn copy(&mut self, isa: Isa, count: usize, to: &mut [T]) {
        let pitch = pitch(self.depth);
        let mut done = 0;
        for run in self.positions.runs(count) {
            let from = self.rows.from(self.at, run.start);
            let (size, stride) = ((run.len(), self.depth), self.rows.strides.position);
            copy_rows(isa, from, stride, size, &mut to[done * pitch..], pitch);
            done += run.len();
        }
        to[done * pitch..][..PAD * pitch].fill(T::ZERO);
        self.positions = self.positions.after(count);
    }

    /// The next `count` become columns `BLOCK` apart: see [`lanes`]. `room` is for as many rows.
    pub(super) fn lanes(&mut self, isa: Isa, count: usize, room: &mut [T], to: &mut [T]) {
        match self.positions.one_run(count) {
            Some(first) => {
                let from = (self.rows.from(self.at, first), self.rows.strides.position);
                lanes(isa, from, count, self.depth, to);
                self.positions = self.positions.after(count);
            }
            None => {
                self.copy(isa, count, room);
                lanes(isa, (room, pitch(self.depth)), count, self.depth, to);
            }
        }
    }

    /// The next `count`, to be brought in.
    pub(super) fn coming(&self, count: usize) -> Coming<T> {
        self.rows.coming(self.at, self.positions, count)
    }
}

/// Keys and values of a group, copied as far as tiles see them: so little is waited for that a
/// tile is enough to bring in, and what comes from far apart does not have to stay for long.
pub(super) struct Keys<'a, T> {
    group: &'a Group,
    parts: [Part<'a, T>; 2],
    done: usize,
    /// Where the next keys are, when these are done.
    next: Option<Next>,
}

impl<'a, T: Element> Keys<'a, T> {
    pub(super) fn new(
        a: &Attention,
        group: &'a Group,
        next: Option<Next>,
        rows: [Rows<'a, T>; 2],
        at: (usize, usize),
    ) -> Self {
        let (positions, depth) = (group.keys(), a.depth);
        let parts = rows.map(|rows| Part {
            rows,
            at,
            positions,
            depth,
        });
        Keys {
            group,
            parts,
            done: 0,
            next,
        }
    }

    /// Copies what the first `queries` queries see and is not there yet, and has `ahead` bring in
    /// what the tile behind them sees. Returns the new rows.
    pub(super) fn copy(
        &mut self,
        isa: Isa,
        queries: usize,
        to: [&mut [T]; 2],
        ahead: &mut Ahead<T>,
    ) -> Range<usize> {
        let new = self.done..self.seen(queries);
        let depth = self.parts[0].depth;
        if new.is_empty() && self.done > 0 {
            return new;
        }
        for (part, to) in self.parts.iter_mut().zip(to) {
            part.copy(isa, new.len(), &mut to[new.start * pitch(depth)..]);
        }
        self.done = new.end;
        if new.end < self.group.key_count() {
            // Of the next tile.
            let count = self.seen(queries + self.group.step()) - new.end;
            for (rank, part) in [4, 5].into_iter().zip(&self.parts) {
                ahead.set(rank, part.coming(count));
            }
        } else if let Some((at, group)) = self.next.take() {
            let count = group.seen(group.step() - 1).min(group.key_count());
            for (rank, part) in [4, 5].into_iter().zip(&self.parts) {
                ahead.set(rank, part.rows.coming(at, group.keys(), count));
            }
        }
        new
    }

    /// How many keys the first `queries` queries see.
    fn seen(&self, queries: usize) -> usize {
        self.group.seen(queries - 1).min(self.group.key_count())
    }
}

/// Rows of a tile of queries become columns `BLOCK` apart; lanes without a query are 0.
pub(super) fn lanes<T: Element>(
    isa: Isa,
    (rows, stride): (&[T], usize),
    count: usize,
    depth: usize,
    to: &mut [T],
) {
    transpose(isa, rows, stride, (count, depth), to, BLOCK);
    if count < BLOCK {
        for to in to.chunks_exact_mut(BLOCK).take(depth) {
            to[count..].fill(T::ZERO);
        }
    }
}

/// Rows of a tile of queries, `pitch(depth)` apart, to where they belong, each times its factor.
///
/// # Safety
/// Nobody else holds these rows of `to`.
pub(super) unsafe fn put<T: Element>(
    isa: Isa,
    (from, factors): (&[T], &[T; BLOCK]),
    depth: usize,
    to: &RowsMut<T>,
    at: (usize, usize),
    (positions, count): (Positions, usize),
) {
    struct Put<'a, T>(&'a [T], &'a [T], usize, *mut T, usize);
    impl<T: Element> Kernel<T> for Put<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<V: Vector<Element = T>>(self) {
            let Put(from, factors, depth, to, stride) = self;
            let (whole, rest) = (depth / V::LANES * V::LANES, depth % V::LANES);
            for (i, (from, &factor)) in from.chunks_exact(pitch(depth)).zip(factors).enumerate() {
                let (x, to) = (V::splat(factor), to.wrapping_add(i * stride));
                for j in (0..whole).step_by(V::LANES) {
                    // SAFETY: as of `put`.
                    unsafe { (V::load(&from[j..]) * x).store_ptr(to.add(j)) };
                }
                if rest > 0 {
                    // SAFETY: as of `put`; no more than the row is written.
                    unsafe { (V::load(&from[whole..]) * x).store_ptr_partial(to.add(whole), rest) };
                }
            }
        }
    }
    let mut done = 0;
    for run in positions.runs(count) {
        let (from, factors) = (&from[done * pitch(depth)..], &factors[done..][..run.len()]);
        let (start, stride) = (to.start(at, run.start), to.strides().position);
        dispatch(isa, Put(from, factors, depth, start, stride));
        done += run.len();
    }
}
