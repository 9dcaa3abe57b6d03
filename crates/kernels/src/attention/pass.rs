//! What happens to a block of scores between the products: vector by vector, [`BLOCK`] queries
//! side by side, keys one below the other.

use super::exp2::Exp2;
use super::pattern::Group;
use super::tile::BLOCK;
use crate::element::Element;
use crate::reduce::line;
use crate::simd::{Isa, Kernel, Vector, dispatch, unroll};

/// Which lanes of which rows of a block do not count: row j is key `key + j`, lane l is query
/// `query + l`.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) group: &'a Group,
    pub(super) query: usize,
    pub(super) key: usize,
}

impl Sight<'_> {
    /// How many of the lanes from `lane` on do not see row j, at most `lanes`.
    fn blind(&self, j: usize, lane: usize, lanes: usize) -> usize {
        let blind = self.group.blind(self.query, self.key + j);
        blind.saturating_sub(lane).min(lanes)
    }

    /// How many of the first `rows` rows all of the lanes from `lane` on see, and how many any of
    /// them does.
    fn seen(&self, lane: usize, lanes: usize, rows: usize) -> (usize, usize) {
        let first = self.group.seen(self.query + lane);
        let last = self.group.seen(self.query + lane + lanes - 1);
        let exist = rows.min(self.group.key_count().saturating_sub(self.key));
        let clear = first.saturating_sub(self.key).min(exist);
        (clear, last.saturating_sub(self.key).min(rows))
    }
}

/// Keys that are treated side by side: their sums hide the latency of an addition.
const SIDE: usize = 4;

/// The largest score of each query.
pub(super) fn most<T: Element>(isa: Isa, scores: &[T], lanes: usize, sight: Sight) -> [T; BLOCK] {
    struct Most<'a, T>(&'a [T], usize, Sight<'a>);
    impl<T: Element> Kernel<T> for Most<'_, T> {
        type Output = [T; BLOCK];
        #[inline(always)]
        fn run<V: Vector<Element = T>>(self) -> [T; BLOCK] {
            let Most(scores, lanes, sight) = self;
            let none = V::constant(f64::NEG_INFINITY);
            let mut out = [T::ZERO; BLOCK];
            for lane in (0..lanes).step_by(V::LANES) {
                let mut most = [none; SIDE];
                for (j, row) in scores.chunks_exact(BLOCK).enumerate() {
                    let x = V::load(&row[lane..]);
                    let blind = V::first(sight.blind(j, lane, V::LANES));
                    let most = &mut most[j % SIDE];
                    *most = V::select(blind, none, x).max(*most);
                }
                let most = most[0].max(most[1]).max(most[2].max(most[3]));
                // Who sees nothing yet has no largest score.
                let most = none.if_lt(most, most, V::zero());
                most.store(&mut out[lane..]);
            }
            out
        }
    }
    dispatch(isa, Most(scores, lanes, sight))
}

/// -<x, y> of rows of x and of y with these distances.
pub(super) fn minus_dots<T: Element>(
    isa: Isa,
    (x, x_step): (&[T], usize),
    (y, y_step): (&[T], usize),
    depth: usize,
    to: &mut [T],
) {
    struct Dots<'a, T>((&'a [T], usize), (&'a [T], usize), usize, &'a mut [T]);
    impl<T: Element> Kernel<T> for Dots<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<V: Vector<Element = T>>(self) {
            let Dots((x, x_step), (y, y_step), depth, to) = self;
            for (i, to) in to.iter_mut().enumerate() {
                let (x, y) = (&x[i * x_step..][..depth], &y[i * y_step..][..depth]);
                *to = -line::dot::<V>(x, y);
            }
        }
    }
    dispatch(isa, Dots((x, x_step), (y, y_step), depth, to));
}

/// p = 2^(score - shift), 0 for keys that a query does not see; returns the sums over keys.
pub(super) fn powers<T: Element>(
    isa: Isa,
    scores: &mut [T],
    shift: Option<&[T; BLOCK]>,
    lanes: usize,
    sight: Sight,
) -> [T; BLOCK] {
    struct Powers<'a, T, const SHIFT: bool>(&'a mut [T], &'a [T; BLOCK], usize, Sight<'a>);
    impl<T: Element, const SHIFT: bool> Kernel<T> for Powers<'_, T, SHIFT> {
        type Output = [T; BLOCK];
        #[inline(always)]
        fn run<V: Vector<Element = T>>(self) -> [T; BLOCK] {
            let Powers(scores, shift, lanes, sight) = self;
            let rows = scores.len() / BLOCK;
            let mut out = [T::ZERO; BLOCK];
            for lane in (0..lanes).step_by(V::LANES) {
                let (clear, end) = sight.seen(lane, V::LANES, rows);
                let clear = clear / SIDE * SIDE;
                let shift = V::load(&shift[lane..]);
                let mut sums = [V::zero(); SIDE];
                for rows in scores[..clear * BLOCK].chunks_exact_mut(SIDE * BLOCK) {
                    unroll!(vector K < SIDE: {
                        let x = &mut rows[K * BLOCK + lane..];
                        let p = power::<V, SHIFT>(V::load(x), shift);
                        p.store(x);
                        sums[K] = sums[K] + p;
                    });
                }
                for first in (clear..end).step_by(SIDE) {
                    unroll!(vector K < SIDE: {
                        if first + K < end {
                            let x = &mut scores[(first + K) * BLOCK + lane..];
                            let blind = V::first(sight.blind(first + K, lane, V::LANES));
                            let p = power::<V, SHIFT>(V::load(x), shift);
                            let p = V::select(blind, V::zero(), p);
                            p.store(x);
                            sums[K] = sums[K] + p;
                        }
                    });
                }
                for j in end..rows {
                    V::zero().store(&mut scores[j * BLOCK + lane..]);
                }
                let sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
                sum.store(&mut out[lane..]);
            }
            out
        }
    }
    match shift {
        Some(shift) => dispatch(isa, Powers::<T, true>(scores, shift, lanes, sight)),
        None => {
            let none = [T::ZERO; BLOCK];
            dispatch(isa, Powers::<T, false>(scores, &none, lanes, sight))
        }
    }
}

/// 2^(x - shift), or 2^x.
#[inline(always)]
fn power<V: Vector, const SHIFT: bool>(x: V, shift: V) -> V {
    if SHIFT {
        (x - shift).apply(Exp2)
    } else {
        x.apply(Exp2)
    }
}

/// 2^x of each.
pub(super) fn powers_of<T: Element>(isa: Isa, x: &mut [T; BLOCK]) {
    struct PowersOf<'a, T>(&'a mut [T; BLOCK]);
    impl<T: Element> Kernel<T> for PowersOf<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<V: Vector<Element = T>>(self) {
            for x in self.0.chunks_exact_mut(V::LANES) {
                V::load(x).apply(Exp2).store(x);
            }
        }
    }
    dispatch(isa, PowersOf(x))
}

/// Backward: p = 2^score and ds = p dp, both 0 for keys that a query does not see. Scores and dp
/// come with what is to be subtracted from them already subtracted.
pub(super) fn gradients<T: Element>(
    isa: Isa,
    scores: &mut [T],
    dp: &mut [T],
    lanes: usize,
    sight: Sight,
) {
    struct Gradients<'a, T>(&'a mut [T], &'a mut [T], usize, Sight<'a>);
    impl<T: Element> Kernel<T> for Gradients<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<V: Vector<Element = T>>(self) {
            let Gradients(scores, dp, lanes, sight) = self;
            let rows = scores.len() / BLOCK;
            assert!(dp.len() == scores.len());
            for lane in (0..lanes).step_by(V::LANES) {
                let (clear, end) = sight.seen(lane, V::LANES, rows);
                let clear = clear / SIDE * SIDE;
                let s = scores[..clear * BLOCK].chunks_exact_mut(SIDE * BLOCK);
                for (s, dp) in s.zip(dp[..clear * BLOCK].chunks_exact_mut(SIDE * BLOCK)) {
                    unroll!(vector K < SIDE: {
                        let (s, dp) = (&mut s[K * BLOCK + lane..], &mut dp[K * BLOCK + lane..]);
                        let p = V::load(s).apply(Exp2);
                        (p * V::load(dp)).store(dp);
                        p.store(s);
                    });
                }
                for j in clear..end {
                    let (s, dp) = (&mut scores[j * BLOCK + lane..], &mut dp[j * BLOCK + lane..]);
                    let blind = V::first(sight.blind(j, lane, V::LANES));
                    let p = V::load(s).apply(Exp2);
                    V::select(blind, V::zero(), p * V::load(dp)).store(dp);
                    V::select(blind, V::zero(), p).store(s);
                }
                for j in end..rows {
                    V::zero().store(&mut scores[j * BLOCK + lane..]);
                    V::zero().store(&mut dp[j * BLOCK + lane..]);
                }
            }
        }
    }
    dispatch(isa, Gradients(scores, dp, lanes, sight))
}
