//! What happens to a block of scores between the products: vector by vector, [`BLOCK`] queries
//! side by side, keys one below the other.

use super::exp2::Exp2;
use super::pattern::Sight;
use super::tile::BLOCK;
use crate::element::Element;
use crate::reduce::line;
use crate::simd::{Isa, Kernel, Vector, dispatch, unroll};

/// Keys that are treated side by side: their sums hide the latency of an addition.
const SIDE: usize = 4;
/// Powers that are computed side by side.
const POWERS: usize = 2 * SIDE;

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
                let clear = clear / POWERS * POWERS;
                let shift = V::load(&shift[lane..]);
                let mut sums = [V::zero(); POWERS];
                for rows in scores[..clear * BLOCK].chunks_exact_mut(POWERS * BLOCK) {
                    let mut x = [V::zero(); POWERS];
                    for (k, x) in x.iter_mut().enumerate() {
                        *x = V::load(&rows[k * BLOCK + lane..]);
                    }
                    if SHIFT {
                        for x in &mut x {
                            *x = *x - shift;
                        }
                    }
                    let p = V::apply_each(x, Exp2);
                    for (k, (sum, p)) in sums.iter_mut().zip(p).enumerate() {
                        p.store(&mut rows[k * BLOCK + lane..]);
                        *sum = *sum + p;
                    }
                }
                for first in (clear..end).step_by(SIDE) {
                    unroll!(vector k < SIDE: {
                        if first + k < end {
                            let x = &mut scores[(first + k) * BLOCK + lane..];
                            let blind = V::first(sight.blind(first + k, lane, V::LANES));
                            let p = power::<V, SHIFT>(V::load(x), shift);
                            let p = V::select(blind, V::zero(), p);
                            p.store(x);
                            sums[k] = sums[k] + p;
                        }
                    });
                }
                for j in end..rows {
                    V::zero().store(&mut scores[j * BLOCK + lane..]);
                }
                unroll!(vector k < SIDE: { sums[k] = sums[k] + sums[k + SIDE]; });
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
                let clear = clear / POWERS * POWERS;
                let s = scores[..clear * BLOCK].chunks_exact_mut(POWERS * BLOCK);
                for (s, dp) in s.zip(dp[..clear * BLOCK].chunks_exact_mut(POWERS * BLOCK)) {
                    let mut x = [V::zero(); POWERS];
                    for (k, x) in x.iter_mut().enumerate() {
                        *x = V::load(&s[k * BLOCK + lane..]);
                    }
                    let p = V::apply_each(x, Exp2);
                    for (k, p) in p.into_iter().enumerate() {
                        let (s, dp) = (&mut s[k * BLOCK + lane..], &mut dp[k * BLOCK + lane..]);
                        (p * V::load(dp)).store(dp);
                        p.store(s);
                    }
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
