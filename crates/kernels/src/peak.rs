//! What the machine can do: the most multiply-adds and the most copied bytes in a second.
//!
//! ```text
//! all threads wait for each other, then each
//!     multiply-adds: N independent chains in registers, acc[i] = acc[i] * x + y
//!     copy:          one large slice to another
//! rate = work of all threads / (last end - first start), the best of a few rounds
//! ```
//! 1. One multiply-add a chain is in flight; N chains are more than latency times ports on every
//!    machine we know, and fit its registers.
//! 2. x and y pass through `black_box`, so nothing is folded; |x| < 1 keeps the sums normal.
//! 3. The best round counts: what disturbs a measurement only ever makes it slower.

use crate::simd::{Isa, Kernel, Vector, dispatch};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
/// How long one round takes, about.
const ROUND: Duration = Duration::from_millis(20);
/// What each thread copies at a time: more than an L2 holds.
const COPY_BYTES: usize = 32 << 20;

/// f32 multiply-adds a second that `threads` threads reach together on the current instruction
/// set ([`Isa::current`]), in GFLOP/s: 10^9 operations, two for each multiply-add. Takes about
/// a tenth of a second.
///
/// The portable vector multiplies and adds in two steps; its peak is that of such pairs.
///
/// # Panics
/// If `threads` is 0 or a thread cannot be started.
pub fn fma_gflops(threads: usize) -> f64 {
    let isa = Isa::current();
    let run = |steps| dispatch(isa, Chains { steps });
    let mut steps = 1 << 12;
    // How many steps fill a round.
    loop {
        let start = Instant::now();
        run(steps);
        let elapsed = start.elapsed();
        if elapsed * 4 >= ROUND {
            let scale = ROUND.as_secs_f64() / elapsed.as_secs_f64();
            steps = (steps as f64 * scale) as usize + 1;
            break;
        }
        steps *= 2;
    }
    best(threads, || (), |()| 1e-9 * run(steps) as f64)
}

/// Bytes a second that `threads` threads copy together between slices larger than their L2, in
/// GB/s: 10^9 bytes, a byte read and written counting as two. Takes a few tenths of a second.
///
/// # Panics
/// If `threads` is 0 or a thread cannot be started.
pub fn copy_gbps(threads: usize) -> f64 {
    best(
        threads,
        || (vec![1u8; COPY_BYTES], vec![0u8; COPY_BYTES]),
        |(from, to)| {
            to.copy_from_slice(black_box(from));
            black_box(to);
            2e-9 * COPY_BYTES as f64
        },
    )
}

/// The best rate of a few rounds in which all threads do `work` at once. `work` returns how much
/// it did.
fn best<S>(
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S) -> f64 + Sync,
) -> f64 {
    assert!(threads > 0, "peak: at least one thread is needed");
    let barrier = Barrier::new(threads);
    let spans: Vec<Vec<(Instant, Instant, f64)>> = std::thread::scope(|scope| {
        let thread = || {
            let mut state = state();
            // The first round warms up caches and clocks.
            let round = |_| {
                barrier.wait();
                let start = Instant::now();
                let done = work(&mut state);
                (start, Instant::now(), done)
            };
            (0..=ROUNDS).map(round).skip(1).collect()
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
        let joined = handles.into_iter().map(|handle| handle.join());
        joined
            .map(|spans| spans.expect("a measurement does not panic"))
            .collect()
    });
    (0..ROUNDS)
        .map(|round| {
            let of_round = || spans.iter().map(|spans| spans[round]);
            let start = of_round().map(|span| span.0).min();
            let end = of_round().map(|span| span.1).max();
            let done: f64 = of_round().map(|span| span.2).sum();
            let took = start
                .zip(end)
                .map_or(f64::NAN, |(start, end)| (end - start).as_secs_f64());
            done / took
        })
        .fold(0.0, f64::max)
}

/// Independent chains of multiply-adds in registers; returns the number of operations.
struct Chains {
    steps: usize,
}

impl Kernel for Chains {
    type Output = usize;

    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) -> usize {
        // 16 registers with 8 lanes, 32 with 16 or 4.
        if V::LANES == 8 {
            chains::<V, 12>(self.steps)
        } else {
            chains::<V, 24>(self.steps)
        }
    }
}

#[inline(always)]
fn chains<V: Vector<Element = f32>, const N: usize>(steps: usize) -> usize {
    let (x, y) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
    let mut acc = [V::one(); N];
    for _ in 0..steps {
        for acc in &mut acc {
            *acc = acc.mul_add(x, y);
        }
    }
    let sum = acc.into_iter().fold(V::zero(), |sum, acc| sum + acc);
    black_box(sum.reduce_add());
    2 * steps * N * V::LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is folded away would look infinitely fast.
    #[test]
    fn rates_are_those_of_a_machine() {
        for isa in Isa::available() {
            let rate = isa.scoped(|| fma_gflops(1));
            assert!((0.05..5000.0).contains(&rate), "{isa}: {rate} GFLOP/s");
        }
    }

    #[test]
    fn copies_at_some_speed() {
        let rate = copy_gbps(2);
        assert!((0.01..10_000.0).contains(&rate), "{rate} GB/s");
    }
}
