//! One query at a time: what a sequence that grows position by position is made with.
//!
//! ```text
//! for blocks of keys that the query sees:
//!     scores = K q - m;  p = 2^scores;  l += sum p      // lanes are keys
//!     o += p V                                          // lanes are numbers of a value
//! o = o / l
//! ```
//!
//! Each number is the sum of the whole pass (`forward`), in its order: a score over the depth, an
//! output over the keys, and the sum of a block's powers by eights or fours, as the query's tile
//! has it. So the result has the same bits.

use super::exp2::Exp2;
use super::pack::KEYS;
use super::pattern::{Group, Pattern, Sight};
use super::{Attention, forward};
use crate::simd::{Isa, Kernel, Vector, dispatch, unroll};
use std::f64::consts::LOG2_E;

/// A position whose turn it is as a query: see [`Pattern::turns`].
#[derive(Clone, Debug)]
pub struct Turn {
    /// Where it is.
    pub position: usize,
    /// Of the first query of a block, the positions before the block that all its queries see, in
    /// the order in which sums go over them.
    pub memory: Option<Vec<usize>>,
    group: Group,
    row: usize,
}

impl Turn {
    /// How many keys the query sees.
    pub fn seen(&self) -> usize {
        self.group.seen(self.row).min(self.group.key_count())
    }

    /// Which of the keys of its block is its own.
    pub fn own(&self) -> usize {
        self.group.key_count() - self.group.query_count() + self.row
    }
}

/// A query of one head and example, with the keys and values of its block so far.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The query, `[depth]`.
    pub q: &'a [f32],
    /// Keys, `[depth, pitch]`: a column for each, first those of the block's memory, then those of
    /// the block itself.
    pub keys: &'a [f32],
    /// The distance between rows of `keys`: a multiple of 16.
    pub pitch: usize,
    /// Values in the order of the keys: `[pitch, depth]`.
    pub values: &'a [f32],
}

impl Pattern {
    /// Every position once, in an order in which a query sees only keys that had their turn before,
    /// or its own.
    ///
    /// # Panics
    /// If every position sees every other, a block is empty, or the size of a picture is not
    /// `length`.
    #[track_caller]
    pub fn turns(&self, length: usize) -> Vec<Turn> {
        assert!(*self != Pattern::Full, "attention: {self:?} has no order");
        self.check(length);
        let turns = self.groups(length).flat_map(|group| {
            let memory = group.key_count() - group.query_count();
            let turn = move |(row, position)| Turn {
                position,
                memory: (row == 0).then(|| group.keys().take(memory).collect()),
                group,
                row,
            };
            group.queries().enumerate().map(turn)
        });
        turns.collect()
    }

    /// How many keys the largest block has, its memory included.
    pub fn most_keys(&self, length: usize) -> usize {
        let keys = self.groups(length).map(|group| group.key_count());
        keys.max().unwrap_or(0)
    }
}

impl Attention {
    /// What [`forward`](Self::forward) gives for one query of one head and example: o `[depth]`.
    ///
    /// # Panics
    /// If the lengths do not fit, or the pitch is no multiple of 16 or has no room for the keys.
    #[track_caller]
    pub fn step(&self, turn: &Turn, query: Query, o: &mut [f32]) {
        let depth = self.depth;
        assert!(
            query.q.len() == depth
                && o.len() == depth
                && query.pitch.is_multiple_of(16)
                && turn.seen() <= query.pitch
                && query.keys.len() == depth * query.pitch
                && query.values.len() == depth * query.pitch,
            "attention: a query of {} numbers with {} and {} of {} keys of depth {depth}, pitch {}",
            query.q.len(),
            query.keys.len(),
            query.values.len(),
            turn.seen(),
            query.pitch
        );
        let scale = (self.scale * LOG2_E) as f32;
        dispatch(
            Isa::current(),
            Step {
                turn,
                query,
                scale,
                o,
            },
        );
    }
}

struct Step<'a> {
    turn: &'a Turn,
    query: Query<'a>,
    scale: f32,
    o: &'a mut [f32],
}

/// Vectors of keys that are computed side by side.
const SIDE: usize = 6;

impl Kernel<f32> for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) {
        let Step {
            turn,
            query,
            scale,
            o,
        } = self;
        let (group, seen) = (&turn.group, turn.seen());
        let step = group.step();
        // The tile that the query is in, and the vector.
        let tile = turn.row / step * step;
        let count = (group.query_count() - tile).min(step);
        let lane = (turn.row - tile) / V::LANES * V::LANES;
        let behind = group.seen(tile + count - 1);
        let (mut shift, mut sum) = (0.0, 0.0);
        o.fill(0.0);
        let mut p = [0.0; KEYS];
        for key in (0..seen).step_by(KEYS) {
            let rows = (seen - key).min(KEYS);
            let sight = Sight {
                group,
                query: tile,
                key,
            };
            let (clear, _) = sight.seen(lane, V::LANES, (behind - key).min(KEYS));
            let clear = clear / 8 * 8;
            scores::<V>(&query, scale, -shift, key, &mut p[..rows]);
            let mut most = None;
            let mut added = powers::<V>(&mut p[..rows], 0.0, clear);
            let small = if key == 0 { 1.0 / forward::LARGE } else { 0.0 };
            if added > forward::LARGE as f32 || added < small as f32 {
                scores::<V>(&query, scale, -shift, key, &mut p[..rows]);
                let largest = p[..rows].iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let largest = if largest > f32::NEG_INFINITY {
                    largest
                } else {
                    0.0
                };
                added = powers::<V>(&mut p[..rows], largest, clear);
                most = Some(largest);
            }
            if let Some(most) = most {
                let mut factor = [0.0; 1];
                V::splat(-most).apply(Exp2).store_partial(&mut factor);
                if key > 0 {
                    o.iter_mut().for_each(|o| *o *= factor[0]);
                    sum *= factor[0];
                }
                shift += most;
            }
            sum += added;
            let depth = o.len();
            let values = &query.values[key * depth..][..rows * depth];
            let whole = V::LANES * (depth / V::LANES);
            let mut first = 0;
            while first + 4 * V::LANES <= whole {
                weigh::<V, 4>(&p[..rows], values, first, 4 * V::LANES, o);
                first += 4 * V::LANES;
            }
            while first + 2 * V::LANES <= whole {
                weigh::<V, 2>(&p[..rows], values, first, 2 * V::LANES, o);
                first += 2 * V::LANES;
            }
            while first < depth {
                let len = (depth - first).min(V::LANES);
                weigh::<V, 1>(&p[..rows], values, first, len, o);
                first += len;
            }
        }
        let inverse = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        o.iter_mut().for_each(|o| *o *= inverse);
    }
}

/// start + <q, k> for the keys from `key` on, one for each of `to`.
#[inline(always)]
fn scores<V: Vector<Element = f32>>(
    query: &Query,
    scale: f32,
    start: f32,
    key: usize,
    to: &mut [f32],
) {
    let mut done = 0;
    while done < to.len() {
        let left = (to.len() - done).div_ceil(V::LANES).min(SIDE);
        // Whole vectors end inside a row of keys: its length is a multiple of theirs.
        let at = &query.keys[key + done..];
        let mut sums = [V::splat(start); SIDE];
        if left == SIDE {
            for (row, &q) in query.q.iter().enumerate() {
                let (q, row) = (
                    V::splat(q * scale),
                    &at[row * query.pitch..][..SIDE * V::LANES],
                );
                for (sum, keys) in sums.iter_mut().zip(row.chunks_exact(V::LANES)) {
                    *sum = q.mul_add(V::load(keys), *sum);
                }
            }
        } else {
            for (row, &q) in query.q.iter().enumerate() {
                let (q, row) = (
                    V::splat(q * scale),
                    &at[row * query.pitch..][..left * V::LANES],
                );
                for (sum, keys) in sums.iter_mut().zip(row.chunks_exact(V::LANES)) {
                    *sum = q.mul_add(V::load(keys), *sum);
                }
            }
        }
        let to = &mut to[done..];
        let len = to.len().min(left * V::LANES);
        for (sum, to) in sums.iter().zip(to[..len].chunks_mut(V::LANES)) {
            sum.store_partial(to);
        }
        done += left * V::LANES;
    }
}

/// 2^(score - shift); returns the sum, where the first `clear` are added by eights, the others by
/// fours.
#[inline(always)]
fn powers<V: Vector<Element = f32>>(scores: &mut [f32], shift: f32, clear: usize) -> f32 {
    let shift = V::splat(shift);
    for scores in scores.chunks_mut(4 * V::LANES) {
        let mut x = [V::zero(); 4];
        for (x, scores) in x.iter_mut().zip(scores.chunks(V::LANES)) {
            *x = V::load_partial(scores) - shift;
        }
        let p = V::apply_each(x, Exp2);
        for (p, scores) in p.iter().zip(scores.chunks_mut(V::LANES)) {
            p.store_partial(scores);
        }
    }
    let mut sums = [0.0; 8];
    let (eights, fours) = scores.split_at(clear);
    for p in eights.chunks_exact(8) {
        for (sum, p) in sums.iter_mut().zip(p) {
            *sum += p;
        }
    }
    for p in fours.chunks(4) {
        for (sum, p) in sums.iter_mut().zip(p) {
            *sum += p;
        }
    }
    let [a, b, c, d] = [0, 1, 2, 3].map(|k| sums[k] + sums[k + 4]);
    (a + b) + (c + d)
}

/// o += p V for `len` numbers of a value, at most `N` vectors, from `first` on.
#[inline(always)]
fn weigh<V: Vector<Element = f32>, const N: usize>(
    p: &[f32],
    values: &[f32],
    first: usize,
    len: usize,
    o: &mut [f32],
) {
    let depth = o.len();
    let o = &mut o[first..][..len];
    let mut sums = [V::zero(); N];
    for (sum, o) in sums.iter_mut().zip(o.chunks(V::LANES)) {
        *sum = V::load_partial(o);
    }
    if len == N * V::LANES {
        for (&p, value) in p.iter().zip(values.chunks_exact(depth)) {
            let (p, value) = (V::splat(p), &value[first..][..N * V::LANES]);
            unroll!(vector j < N: {
                sums[j] = p.mul_add(V::load(&value[j * V::LANES..]), sums[j]);
            });
        }
    } else {
        for (&p, value) in p.iter().zip(values.chunks_exact(depth)) {
            let p = V::splat(p);
            sums[0] = p.mul_add(V::load_partial(&value[first..][..len]), sums[0]);
        }
    }
    for (sum, o) in sums.iter().zip(o.chunks_mut(V::LANES)) {
        sum.store_partial(o);
    }
}
