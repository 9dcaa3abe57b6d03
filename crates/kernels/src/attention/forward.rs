//! Queries, keys and values to outputs.
//!
//! ```text
//! for example, head:                                    // jobs side by side
//!     for tiles of 48 queries:
//!         copy the keys and values that they are the first to see
//!         for blocks of keys that the last of them sees:
//!             scores = K Q^T - m                        // lanes are queries
//!             p = 2^scores, 0 where masked;  l += sum p // over keys: no sum crosses lanes
//!             O += p^T V
//!         O = O / l;  logsumexp = m + log l
//! ```
//!
//! 1. m is 0: p may be far above or below 1, float has the range. Only if a sum leaves it (2^60)
//!    is a block done again, with the largest score as m. So blocks look for no maximum and rescale
//!    nothing (in Dao et al. 2022, arXiv:2205.14135, each does).
//! 2. The scale of the scores and log2(e) go into the queries, and -m into the sums' first value.
//! 3. A block of scores (18 KB) stays in the first-level cache; keys and values come from the
//!    second, line after line.
//! 4. Rows that a tile will need are asked for while the one before it is computed, a line every
//!    four steps. Much earlier would be no use: rows of a head can lie so far apart that few of
//!    them have room in the cache at the same time (with 8 heads of 64, at every 6,144 bytes,
//!    bringing in the whole next head took a sixth longer).

use super::ahead::Ahead;
use super::pack::{self, KEYS, Keys, Part, pitch};
use super::pass;
use super::pattern::{Group, Sight};
use super::product::{Left, Start, product};
use super::tile::{BLOCK, Shape};
use super::{Attention, Forward, Next};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::elementwise::{self, Unary};
use crate::parallel::{self, Shared, each};
use crate::simd::Isa;
use std::f64::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// Sums of probabilities beyond this, and first ones below its inverse, are shifted: 2^60, far
/// from overflow and from loss.
pub(super) const LARGE: f64 = (1u64 << 60) as f64;
/// Tiles of queries below which a head is not cut further.
const TILES: usize = 8;

pub(super) fn run<T: Element>(a: &Attention, x: Forward<T>, logsumexp: &mut [T]) {
    let isa = Isa::current();
    let jobs = a.batch * a.heads;
    let longest = a.groups().map(|g| g.query_count().div_ceil(g.step())).max();
    let tiles = longest.unwrap_or(0);
    // No sum crosses tiles: how they are shared does not change a bit.
    let wanted = (4 * parallel::threads()).div_ceil(jobs.max(1));
    let parts = wanted.min(tiles / TILES).max(1);
    let lse = Shared(logsumexp.as_mut_ptr());
    each(jobs * parts, |job| {
        let (job, part) = (job / parts, job % parts);
        let at = a.at(job);
        let lse = lse.get().wrapping_add(job * a.length);
        let mut room = Room::new(a);
        a.each_group(job, |group, next| {
            let tiles = group.query_count().div_ceil(group.step());
            let mine = part * tiles / parts..(part + 1) * tiles / parts;
            if !mine.is_empty() {
                // SAFETY: jobs have different heads or different tiles.
                unsafe { room.tiles(isa, a, &x, (at, next), &group, mine, lse) };
            }
        });
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
            rows: pack::rows_room(BLOCK, a.depth),
            k: pack::rows_room(keys, a.depth),
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
        (at, next): ((usize, usize), Option<Next>),
        group: &Group,
        tiles: Range<usize>,
        lse: *mut T,
    ) {
        let (depth, shape) = (a.depth, Shape::of::<T>(isa));
        let part = |rows, positions| Part {
            rows,
            at,
            positions,
            depth,
        };
        let step = group.step();
        let mut queries = group.queries().after(tiles.start * step);
        let (mut q, mut keys) = (
            part(x.q, queries),
            Keys::new(a, group, next, [x.k, x.v], at),
        );
        let mut ahead = Ahead::new(depth, x.q.data.as_ptr());
        for query in tiles.map(|tile| tile * step) {
            let count = (group.query_count() - query).min(step);
            let positions = queries;
            queries = queries.after(count);
            keys.copy(isa, query + count, [&mut self.k, &mut self.v], &mut ahead);
            q.lanes(isa, count, &mut self.rows, &mut self.q);
            ahead.set(0, x.o.coming(at, positions, count));
            ahead.set(1, q.coming(step));
            let scale = T::from_f64(a.scale * LOG2_E);
            elementwise::scale(scale, &mut self.q[..depth * BLOCK]);
            let (shift, mut sums) = self.tile(isa, depth, group, (query, count), shape, &mut ahead);
            let inverse = sums.map(|l| if l > T::ZERO { T::ONE / l } else { T::ZERO });
            // SAFETY: the caller's promise.
            unsafe {
                let (from, queries) = ((&self.o[..], &inverse), (positions, count));
                pack::put(isa, from, depth, &x.o, at, queries);
            }
            elementwise::unary_in_place(Unary::Log, &mut sums);
            let mut sums = sums.iter().zip(&shift);
            for run in positions.runs(count) {
                // SAFETY: the caller's promise.
                let lse = unsafe { std::slice::from_raw_parts_mut(lse.add(run.start), run.len()) };
                for (lse, (&log, &shift)) in lse.iter_mut().zip(&mut sums) {
                    *lse = T::from_f64(LN_2) * shift + log;
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
        (query, count): (usize, usize),
        shape: Shape,
        ahead: &mut Ahead<T>,
    ) -> ([T; BLOCK], [T; BLOCK]) {
        let seen = group.seen(query + count - 1);
        let lanes = count.next_multiple_of(shape.lanes);
        let (tall, wide) = (
            count.max(shape.least()),
            depth.next_multiple_of(shape.lanes),
        );
        let (mut shift, mut shifted) = ([T::ZERO; BLOCK], false);
        let mut sums = [T::ZERO; BLOCK];
        if seen == 0 {
            self.o.fill(T::ZERO);
        }
        for key in (0..seen).step_by(KEYS) {
            let rows = (seen - key).min(KEYS).max(shape.least());
            let scores = &mut self.scores[..rows * BLOCK];
            let here = key * pitch(depth);
            let k = Left::Rows(&self.k[here..], pitch(depth));
            let (q, size) = ((&self.q[..], BLOCK), [rows, depth, lanes]);
            let sight = Sight { group, query, key };
            let negative;
            let start = match shifted {
                true => {
                    negative = shift.map(|x| -x);
                    Start::Columns(&negative[..])
                }
                false => Start::Zero,
            };
            product(isa, size, k, q, (scores, BLOCK), start, sight, ahead);
            let mut added = pass::powers(isa, scores, None, lanes, sight);
            let first = key == 0;
            let small = T::from_f64(if first { 1.0 / LARGE } else { 0.0 });
            let out = |sum: T| (sum > T::from_f64(LARGE)) | (sum < small);
            // Without a branch for each, since hardly ever one is.
            if added[..count]
                .iter()
                .fold(false, |any, &sum| any | out(sum))
            {
                product(isa, size, k, q, (scores, BLOCK), start, sight, ahead);
                let mut more = pass::most(isa, scores, lanes, sight);
                for (more, &sum) in more.iter_mut().zip(&added) {
                    *more = if out(sum) { *more } else { T::ZERO };
                }
                added = pass::powers(isa, scores, Some(&more), lanes, sight);
                let mut factor = more.map(|x| -x);
                pass::powers_of(isa, &mut factor);
                if !first {
                    let rows = self.o.chunks_exact_mut(pitch(depth));
                    for (row, &factor) in rows.zip(&factor) {
                        elementwise::scale(factor, row);
                    }
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
            let start = if first { Start::Zero } else { Start::Sum };
            let (p, v) = (Left::Columns(scores), (&self.v[here..], pitch(depth)));
            let (o, size) = ((&mut self.o[..], pitch(depth)), [tall, rows, wide]);
            product(isa, size, p, v, o, start, sight, ahead);
        }
        (shift, sums)
    }
}
