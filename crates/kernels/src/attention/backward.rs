//! From the gradient of the outputs to those of queries, keys and values.
//!
//! ```text
//! for example, head:                                    // jobs side by side
//!     for tiles of 48 queries:
//!         copy the keys and values that they are the first to see
//!         d = row sums of gO o O
//!         for blocks of keys that the last of them sees:
//!             p = 2^(K Q^T - logsumexp), 0 where masked
//!             gS = p (V gO^T - d)
//!             gV += p gO;  gK += gS Q;  gQ += gS^T K
//! ```
//!
//! 1. Probabilities are computed again: never more of them in memory than a block.
//! 2. gK and gV of a head are added up tile after tile by one job, so their sums have one order.

use super::ahead::Ahead;
use super::pack::{self, KEYS, Keys, PAD, Part, pitch};
use super::pass;
use super::pattern::{Group, Sight};
use super::product::{Left, Start, product};
use super::tile::{BLOCK, Shape};
use super::{Attention, Backward, Next};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::elementwise;
use crate::parallel::each;
use crate::simd::Isa;
use std::f64::consts::LOG2_E;

pub(super) fn run<T: Element>(a: &Attention, x: Backward<T>) {
    let isa = Isa::current();
    let jobs = a.batch * a.heads;
    each(jobs, |job| {
        let at = a.at(job);
        let lse = &x.logsumexp[job * a.length..][..a.length];
        let mut room = Room::new(a);
        let alone = a.groups().nth(1).is_none();
        if !alone {
            // Keys that several groups see get a sum.
            for t in 0..a.length {
                for rows in [&x.gk, &x.gv] {
                    // SAFETY: jobs have different heads.
                    unsafe { rows.row(at, t, a.depth) }.fill(T::ZERO);
                }
            }
        }
        a.each_group(job, |group, next| {
            // SAFETY: jobs have different heads.
            unsafe { room.group(isa, a, &x, (at, next), &group, lse, !alone) };
        });
    });
}

/// What a job computes in.
struct Room<T: Element> {
    /// Keys, values and the gradients of both.
    k: Buffer<T>,
    v: Buffer<T>,
    gk: Buffer<T>,
    gv: Buffer<T>,
    /// A tile of queries and of the output's gradient, as columns and as rows.
    q: Buffer<T>,
    q_rows: Buffer<T>,
    go: Buffer<T>,
    go_rows: Buffer<T>,
    gq: Buffer<T>,
    scores: Buffer<T>,
    dp: Buffer<T>,
}

impl<T: Element> Room<T> {
    fn new(a: &Attention) -> Self {
        let keys = a.groups().map(|g| g.key_count()).max().unwrap_or(0);
        let rows = || pack::rows_room(keys, a.depth);
        let tile = || Buffer::recycled(pitch(a.depth) * BLOCK);
        let tile_rows = || pack::rows_room(BLOCK, a.depth);
        Room {
            k: rows(),
            v: rows(),
            gk: rows(),
            gv: rows(),
            q: tile(),
            q_rows: tile_rows(),
            go: tile(),
            go_rows: tile_rows(),
            gq: tile(),
            scores: Buffer::recycled(KEYS * BLOCK),
            dp: Buffer::recycled(KEYS * BLOCK),
        }
    }

    /// # Safety
    /// Nobody else writes gradients of this head.
    unsafe fn group(
        &mut self,
        isa: Isa,
        a: &Attention,
        x: &Backward<T>,
        (at, next): ((usize, usize), Option<Next>),
        group: &Group,
        lse: &[T],
        add: bool,
    ) {
        let (depth, pitch) = (a.depth, pitch(a.depth));
        let shape = Shape::of::<T>(isa);
        let (ones, scale) = ([T::ONE; BLOCK], [T::from_f64(a.scale); BLOCK]);
        let mut queries = group.queries();
        let part = |rows| Part {
            rows,
            at,
            positions: queries,
            depth,
        };
        let (mut q, mut go) = (part(x.q), part(x.go));
        let mut keys = Keys::new(a, group, next, [x.k, x.v], at);
        let mut ahead = Ahead::new(depth, x.q.data.as_ptr());
        let step = group.step();
        for query in (0..group.query_count()).step_by(step) {
            let count = (group.query_count() - query).min(step);
            let positions = queries;
            queries = queries.after(count);
            let new = keys.copy(isa, query + count, [&mut self.k, &mut self.v], &mut ahead);
            for sums in [&mut self.gk, &mut self.gv] {
                sums[new.start * pitch..(new.end + PAD) * pitch].fill(T::ZERO);
            }
            q.copy(isa, count, &mut self.q_rows);
            go.copy(isa, count, &mut self.go_rows);
            if query + count == group.query_count() {
                // The sums of the keys are done after this tile.
                ahead.set(6, x.gk.coming(at, group.keys(), group.key_count()));
                ahead.set(7, x.gv.coming(at, group.keys(), group.key_count()));
            }
            ahead.set(0, x.gq.coming(at, positions, count));
            ahead.set(1, q.coming(step));
            ahead.set(2, go.coming(step));
            ahead.set(3, x.o.coming(at, queries, step));
            let (mut minus_lse, mut minus_d) = ([T::from_f64(-1e30); BLOCK], [T::ZERO; BLOCK]);
            let mut done = 0;
            for run in positions.runs(count) {
                let here = done..done + run.len();
                for (to, lse) in minus_lse[here.clone()].iter_mut().zip(&lse[run.clone()]) {
                    *to = T::from_f64(-LOG2_E) * *lse;
                }
                let o = (x.o.from(at, run.start), x.o.strides.position);
                let go = (&self.go_rows[done * pitch..], pitch);
                done = here.end;
                pass::minus_dots(isa, o, go, depth, &mut minus_d[here]);
            }
            pack::lanes(isa, (&self.q_rows, pitch), count, depth, &mut self.q);
            let base_2 = T::from_f64(a.scale * LOG2_E);
            elementwise::scale(base_2, &mut self.q[..depth * BLOCK]);
            elementwise::scale(T::from_f64(a.scale), &mut self.q_rows[..count * pitch]);
            pack::lanes(isa, (&self.go_rows, pitch), count, depth, &mut self.go);
            self.tile(
                isa,
                depth,
                group,
                (query, count),
                &minus_lse,
                &minus_d,
                shape,
                &mut ahead,
            );
            // SAFETY: the caller's promise.
            unsafe {
                let (from, queries) = ((&self.gq[..], &scale), (positions, count));
                pack::put(isa, from, depth, &x.gq, at, queries);
            }
        }
        for (rows, sums) in [(&x.gk, &self.gk), (&x.gv, &self.gv)] {
            let mut positions = group.keys();
            for (sums, key) in sums
                .chunks(BLOCK * pitch)
                .zip((0..group.key_count()).step_by(BLOCK))
            {
                let count = (group.key_count() - key).min(BLOCK);
                let next = positions.after(count);
                rows.prefetch(at, next, BLOCK, depth);
                if add {
                    for (t, sums) in positions.take(count).zip(sums.chunks(pitch)) {
                        // SAFETY: the caller's promise.
                        elementwise::add_assign(unsafe { rows.row(at, t, depth) }, &sums[..depth]);
                    }
                } else {
                    // SAFETY: the caller's promise.
                    unsafe { pack::put(isa, (sums, &ones), depth, rows, at, (positions, count)) };
                }
                positions = next;
            }
        }
    }

    /// Adds what a tile of queries gives to `gk` and `gv`, and leaves its own gradient in `gq`.
    fn tile(
        &mut self,
        isa: Isa,
        depth: usize,
        group: &Group,
        (query, count): (usize, usize),
        minus_lse: &[T; BLOCK],
        minus_d: &[T; BLOCK],
        shape: Shape,
        ahead: &mut Ahead<T>,
    ) {
        let seen = group.seen(query + count - 1);
        let lanes = count.next_multiple_of(shape.lanes);
        let pitch = pitch(depth);
        let wide = depth.next_multiple_of(shape.lanes);
        if seen == 0 {
            self.gq.fill(T::ZERO);
        }
        for key in (0..seen).step_by(KEYS) {
            let rows = (seen - key).min(KEYS).max(shape.least());
            let scores = &mut self.scores[..rows * BLOCK];
            let dp = &mut self.dp[..rows * BLOCK];
            let sight = Sight { group, query, key };
            let size = [rows, depth, lanes];
            let here = key * pitch;
            let k = Left::Rows(&self.k[here..], pitch);
            let (q, start) = ((&self.q[..], BLOCK), Start::Columns(minus_lse));
            product(isa, size, k, q, (scores, BLOCK), start, sight, ahead);
            let v = Left::Rows(&self.v[here..], pitch);
            let (go, start) = ((&self.go[..], BLOCK), Start::Columns(minus_d));
            product(isa, size, v, go, (dp, BLOCK), start, sight, ahead);
            pass::gradients(isa, scores, dp, lanes, sight);
            let size = [rows, count, wide];
            let (go, gv) = ((&self.go_rows[..], pitch), (&mut self.gv[here..], pitch));
            product(
                isa,
                size,
                Left::Block(scores),
                go,
                gv,
                Start::Sum,
                sight,
                ahead,
            );
            let (q, gk) = ((&self.q_rows[..], pitch), (&mut self.gk[here..], pitch));
            product(isa, size, Left::Block(dp), q, gk, Start::Sum, sight, ahead);
            let start = if key == 0 { Start::Zero } else { Start::Sum };
            let (k, gq) = ((&self.k[here..], pitch), (&mut self.gq[..], pitch));
            let size = [count.max(shape.least()), rows, wide];
            product(isa, size, Left::Columns(dp), k, gq, start, sight, ahead);
        }
    }
}
