//! From the gradient of the outputs to those of queries, keys and values.
//!
//! ```text
//! for example, head:                                    // jobs side by side
//!     pack keys and values as columns, keys as rows
//!     for tiles of 32 queries:
//!         d = row sums of gO o O
//!         for blocks of keys that the last of them sees:
//!             p = 2^(K Q^T - logsumexp), 0 where masked
//!             gS = p (V gO^T - d)
//!             gV += p gO;  gK += gS Q;  gQ^T += K^T gS
//! ```
//!
//! 1. Probabilities are computed again: never more of them in memory than a block.
//! 2. gK and gV of a head are added up tile after tile by one job, so their sums have one order.

use super::pack::{self, KEYS, pitch};
use super::pass::{self, Sight};
use super::pattern::Group;
use super::tile::{BLOCK, Left, Shape, Start, product};
use super::{Attention, Backward};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::elementwise;
use crate::parallel::each;
use crate::reduce;
use crate::simd::Isa;
use std::f64::consts::LOG2_E;

pub(super) fn run<T: Element>(a: &Attention, x: Backward<T>) {
    let isa = Isa::current();
    each(a.batch * a.heads, |job| {
        let at = (job / a.heads, job % a.heads);
        let lse = &x.logsumexp[job * a.length..][..a.length];
        let mut room = Room::new(a);
        let alone = a.groups().nth(1).is_none();
        if !alone {
            // Keys that several groups see get a sum.
            for t in 0..a.length {
                for rows in [&x.gk, &x.gv] {
                    // SAFETY: jobs have different heads.
                    unsafe { rows.row(at.0, t, at.1, a.depth) }.fill(T::ZERO);
                }
            }
        }
        for group in a.groups() {
            // SAFETY: jobs have different heads.
            unsafe { room.group(isa, a, &x, at, &group, lse, !alone) };
        }
    });
}

/// What a job computes in.
struct Room<T: Element> {
    /// Keys as columns and as rows, values as columns, and the gradients of both as rows.
    k: Buffer<T>,
    k_rows: Buffer<T>,
    v: Buffer<T>,
    gk: Buffer<T>,
    gv: Buffer<T>,
    /// A tile of queries and of the output's gradient, as columns and as rows.
    q: Buffer<T>,
    q_rows: Buffer<T>,
    go: Buffer<T>,
    go_rows: Buffer<T>,
    o_rows: Buffer<T>,
    gq: Buffer<T>,
    scores: Buffer<T>,
    dp: Buffer<T>,
}

impl<T: Element> Room<T> {
    fn new(a: &Attention) -> Self {
        let keys = a.groups().map(|g| g.key_count()).max().unwrap_or(0);
        let columns = || pack::columns_room(keys, a.depth);
        let rows = || pack::rows_room(keys, a.depth);
        let tile = || Buffer::recycled(pitch(a.depth) * BLOCK);
        let tile_rows = || pack::rows_room(BLOCK, a.depth);
        Room {
            k: columns(),
            k_rows: rows(),
            v: columns(),
            gk: rows(),
            gv: rows(),
            q: tile(),
            q_rows: tile_rows(),
            go: tile(),
            go_rows: tile_rows(),
            o_rows: tile_rows(),
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
        at: (usize, usize),
        group: &Group,
        lse: &[T],
        add: bool,
    ) {
        let (depth, keys, pitch) = (a.depth, group.key_count(), pitch(a.depth));
        let shape = Shape::of::<T>(isa);
        let columns = keys.next_multiple_of(KEYS) * depth;
        // The rows of gK are free until the values are packed.
        pack::rows(x.v, at, group.keys(), keys, depth, &mut self.gk);
        pack::columns(isa, &self.gk, keys, depth, &mut self.v[..columns]);
        pack::rows(x.k, at, group.keys(), keys, depth, &mut self.k_rows);
        pack::columns(isa, &self.k_rows, keys, depth, &mut self.k[..columns]);
        self.gk.fill(T::ZERO);
        self.gv.fill(T::ZERO);
        let mut queries = group.queries();
        for query in (0..group.query_count()).step_by(BLOCK) {
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
            pack::rows(x.q, at, positions, count, depth, &mut self.q_rows);
            pack::rows(x.go, at, positions, count, depth, &mut self.go_rows);
            pack::rows(x.o, at, positions, count, depth, &mut self.o_rows);
            let (mut minus_lse, mut minus_d) = ([T::from_f64(-1e30); BLOCK], [T::ZERO; BLOCK]);
            for (i, t) in positions.take(count).enumerate() {
                minus_lse[i] = T::from_f64(-LOG2_E) * lse[t];
                let row = i * pitch..i * pitch + depth;
                minus_d[i] = -reduce::dot(&self.o_rows[row.clone()], &self.go_rows[row]);
            }
            pack::lanes(isa, &self.q_rows, count, depth, &mut self.q);
            let base_2 = T::from_f64(a.scale * LOG2_E);
            elementwise::scale(base_2, &mut self.q[..depth * BLOCK]);
            elementwise::scale(T::from_f64(a.scale), &mut self.q_rows[..count * pitch]);
            pack::lanes(isa, &self.go_rows, count, depth, &mut self.go);
            self.tile(
                isa,
                depth,
                group,
                (query, count),
                &minus_lse,
                &minus_d,
                shape,
            );
            elementwise::scale(T::from_f64(a.scale), &mut self.gq[..depth * BLOCK]);
            pack::unlanes(isa, &self.gq, count, depth, &mut self.q_rows);
            for (i, t) in positions.take(count).enumerate() {
                let from = &self.q_rows[i * pitch..][..depth];
                // SAFETY: the caller's promise.
                pack::copy_row(from, unsafe { x.gq.row(at.0, t, at.1, depth) });
            }
        }
        for (rows, sums) in [(&x.gk, &self.gk), (&x.gv, &self.gv)] {
            let mut ahead = group.keys().skip(BLOCK);
            for (i, t) in group.keys().enumerate() {
                if let Some(t) = ahead.next() {
                    rows.prefetch(at.0, t, at.1, depth);
                }
                let sums = &sums[i * pitch..][..depth];
                // SAFETY: the caller's promise.
                let row = unsafe { rows.row(at.0, t, at.1, depth) };
                if add {
                    elementwise::add_assign(row, sums);
                } else {
                    pack::copy_row(sums, row);
                }
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
    ) {
        let seen = group.seen(query + count - 1);
        let lanes = count.next_multiple_of(shape.lanes);
        let (pitch, deep) = (pitch(depth), depth.max(shape.least()));
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
            let k = Left::Columns(&self.k[key * depth..], KEYS);
            let start = Start::Columns(minus_lse);
            product(isa, size, k, (&self.q, BLOCK), (scores, BLOCK), start);
            let v = Left::Columns(&self.v[key * depth..], KEYS);
            let start = Start::Columns(minus_d);
            product(isa, size, v, (&self.go, BLOCK), (dp, BLOCK), start);
            pass::gradients(isa, scores, dp, lanes, sight);
            let here = key * pitch;
            let size = [rows, lanes, wide];
            let (p, gv) = (Left::Rows(scores), &mut self.gv[here..]);
            product(
                isa,
                size,
                p,
                (&self.go_rows, pitch),
                (gv, pitch),
                Start::Sum,
            );
            let (ds, gk) = (Left::Rows(dp), &mut self.gk[here..]);
            product(
                isa,
                size,
                ds,
                (&self.q_rows, pitch),
                (gk, pitch),
                Start::Sum,
            );
            let start = if key == 0 { Start::Zero } else { Start::Sum };
            let k = Left::Columns(&self.k_rows[here..], pitch);
            let size = [deep, rows, lanes];
            product(isa, size, k, (dp, BLOCK), (&mut self.gq, BLOCK), start);
        }
    }
}
