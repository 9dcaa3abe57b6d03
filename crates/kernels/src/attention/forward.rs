//! Queries, keys and values to outputs.
//!
//! ```text
//! for example, head:                                    // jobs side by side
//!     pack keys as columns, values as rows
//!     for tiles of 32 queries:
//!         for blocks of keys that the last of them sees:
//!             scores = K Q^T - m                        // lanes are queries
//!             p = 2^scores, 0 where masked;  l += sum p // over keys: no sum crosses lanes
//!             O^T += V^T p
//!         O = O^T / l;  logsumexp = m + log l
//! ```
//!
//! 1. m is 0: p may be far above or below 1, float has the range. Only if a sum leaves it (2^60)
//!    is a block done again, with the largest score as m. So blocks look for no maximum and rescale
//!    nothing (in Dao et al. 2022, arXiv:2205.14135, each does).
//! 2. The scale of the scores and log2(e) go into the queries, and -m into the sums' first value.
//! 3. A block of scores (14 KB) and the keys and values for it stay in the first-level cache.

use super::pack::{self, KEYS, pitch};
use super::pass::{self, Sight};
use super::pattern::Group;
use super::tile::{BLOCK, Left, Shape, Start, product};
use super::{Attention, Forward};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::elementwise::{self, Unary};
use crate::parallel::{self, Shared, each};
use crate::simd::Isa;
use std::f64::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// Sums of probabilities beyond this, and first ones below its inverse, are shifted: 2^60, far
/// from overflow and from loss.
const LARGE: f64 = (1u64 << 60) as f64;
/// Tiles of queries below which a head is not cut further.
const TILES: usize = 8;

pub(super) fn run<T: Element>(a: &Attention, x: Forward<T>, logsumexp: &mut [T]) {
    let isa = Isa::current();
    let jobs = a.batch * a.heads;
    let longest = a.groups().map(|g| g.query_count().div_ceil(BLOCK)).max();
    let tiles = longest.unwrap_or(0);
    // No sum crosses tiles: how they are shared does not change a bit.
    let wanted = (4 * parallel::threads()).div_ceil(jobs.max(1));
    let parts = wanted.min(tiles / TILES).max(1);
    let lse = Shared(logsumexp.as_mut_ptr());
    each(jobs * parts, |job| {
        let (job, part) = (job / parts, job % parts);
        let at = (job / a.heads, job % a.heads);
        let lse = lse.get().wrapping_add(job * a.length);
        let mut room = Room::new(a);
        for group in a.groups() {
            let tiles = group.query_count().div_ceil(BLOCK);
            let mine = part * tiles / parts..(part + 1) * tiles / parts;
            if !mine.is_empty() {
                // SAFETY: jobs have different heads or different tiles.
                unsafe { room.tiles(isa, a, &x, at, &group, mine, lse) };
            }
        }
    });
}

/// What a job computes in.
struct Room<T: Element> {
    rows: Buffer<T>,
    k: Buffer<T>,
    v: Buffer<T>,
    q: Buffer<T>,
    scores: Buffer<T>,
    o: Buffer<T>,
}

impl<T: Element> Room<T> {
    fn new(a: &Attention) -> Self {
        let keys = a.groups().map(|g| g.key_count()).max().unwrap_or(0);
        let pitch = pitch(a.depth);
        Room {
            rows: pack::rows_room(keys.max(BLOCK), a.depth),
            k: pack::columns_room(keys, a.depth),
            v: pack::rows_room(keys, a.depth),
            q: Buffer::recycled(pitch * BLOCK),
            scores: Buffer::recycled(KEYS * BLOCK),
            o: Buffer::recycled(pitch * BLOCK),
        }
    }

    /// # Safety
    /// Nobody else writes the outputs and sums of these tiles' queries; `lse` is the first sum
    /// of the head.
    unsafe fn tiles(
        &mut self,
        isa: Isa,
        a: &Attention,
        x: &Forward<T>,
        at: (usize, usize),
        group: &Group,
        tiles: Range<usize>,
        lse: *mut T,
    ) {
        let (depth, shape) = (a.depth, Shape::of::<T>(isa));
        let last = (tiles.end * BLOCK).min(group.query_count()) - 1;
        let keys = group.seen(last);
        pack::rows(x.k, at, group.keys(), keys, depth, &mut self.rows);
        let columns = keys.next_multiple_of(KEYS) * depth;
        pack::columns(isa, &self.rows, keys, depth, &mut self.k[..columns]);
        pack::rows(x.v, at, group.keys(), keys, depth, &mut self.v);
        let mut queries = group.queries();
        queries.by_ref().take(tiles.start * BLOCK).for_each(drop);
        for query in tiles.map(|tile| tile * BLOCK) {
            let count = (group.query_count() - query).min(BLOCK);
            let positions = queries;
            if at.1 + 1 < a.heads {
                // The next head's keys and values come in while this one's are used.
                for t in positions.take(count) {
                    x.k.prefetch(at.0, t, at.1 + 1, depth);
                    x.v.prefetch(at.0, t, at.1 + 1, depth);
                }
            }
            queries.by_ref().take(count).for_each(drop);
            pack::rows(x.q, at, positions, count, depth, &mut self.rows);
            pack::lanes(isa, &self.rows, count, depth, &mut self.q);
            let scale = T::from_f64(a.scale * LOG2_E);
            elementwise::scale(scale, &mut self.q[..depth * BLOCK]);
            let (shift, mut sums) = self.tile(isa, depth, group, query, count, shape);
            let inverse = sums.map(|l| if l > T::ZERO { T::ONE / l } else { T::ZERO });
            let lanes = count.next_multiple_of(shape.lanes);
            pass::scale_columns(isa, &mut self.o[..depth * BLOCK], &inverse, lanes);
            pack::unlanes(isa, &self.o, count, depth, &mut self.rows);
            elementwise::unary_in_place(Unary::Log, &mut sums);
            for (i, t) in positions.take(count).enumerate() {
                let from = &self.rows[i * pitch(depth)..][..depth];
                // SAFETY: the caller's promise.
                unsafe {
                    pack::copy_row(from, x.o.row(at.0, t, at.1, depth));
                    *lse.add(t) = T::from_f64(LN_2) * shift[i] + sums[i];
                }
            }
        }
    }

    /// Leaves sum p v in `o`; returns what was subtracted from the scores, and sum p.
    fn tile(
        &mut self,
        isa: Isa,
        depth: usize,
        group: &Group,
        query: usize,
        count: usize,
        shape: Shape,
    ) -> ([T; BLOCK], [T; BLOCK]) {
        let seen = group.seen(query + count - 1);
        let lanes = count.next_multiple_of(shape.lanes);
        let deep = depth.max(shape.least());
        let (mut shift, mut shifted) = ([T::ZERO; BLOCK], false);
        let mut sums = [T::ZERO; BLOCK];
        if seen == 0 {
            self.o.fill(T::ZERO);
        }
        for key in (0..seen).step_by(KEYS) {
            let rows = (seen - key).min(KEYS).max(shape.least());
            let scores = &mut self.scores[..rows * BLOCK];
            let k = Left::Columns(&self.k[key * depth..], KEYS);
            let (q, size) = ((&self.q[..], BLOCK), [rows, depth, lanes]);
            let sight = Sight { group, query, key };
            let negative = shift.map(|x| -x);
            let start = match shifted {
                true => Start::Columns(&negative[..]),
                false => Start::Zero,
            };
            product(isa, size, k, q, (scores, BLOCK), start);
            let mut added = pass::powers(isa, scores, None, lanes, sight);
            let first = key == 0;
            let out = |sum: T| sum > T::from_f64(LARGE) || first && sum < T::from_f64(1.0 / LARGE);
            if added[..count].iter().any(|&sum| out(sum)) {
                product(isa, size, k, q, (scores, BLOCK), start);
                let mut more = pass::most(isa, scores, lanes, sight);
                for (more, &sum) in more.iter_mut().zip(&added) {
                    *more = if out(sum) { *more } else { T::ZERO };
                }
                added = pass::powers(isa, scores, Some(&more), lanes, sight);
                let mut factor = more.map(|x| -x);
                pass::powers_of(isa, &mut factor);
                if !first {
                    pass::scale_columns(isa, &mut self.o[..depth * BLOCK], &factor, lanes);
                    (sums.iter_mut().zip(factor)).for_each(|(sum, factor)| *sum = *sum * factor);
                }
                shift
                    .iter_mut()
                    .zip(more)
                    .for_each(|(shift, more)| *shift = *shift + more);
                shifted = true;
            }
            for (sum, added) in sums.iter_mut().zip(added) {
                *sum = *sum + added;
            }
            let v = Left::Columns(&self.v[key * pitch(depth)..], pitch(depth));
            let start = if first { Start::Zero } else { Start::Sum };
            let (p, size) = ((&*scores, BLOCK), [deep, rows, lanes]);
            product(isa, size, v, p, (&mut self.o, BLOCK), start);
        }
        (shift, sums)
    }
}
