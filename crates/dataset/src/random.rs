//! Random streams that depend on what they are for, never on who asks first.

use rand_core::{Rng, SeedableRng};
pub use rand_xoshiro::Xoshiro256PlusPlus;

/// What a stream of the dataset itself is for, so that no two uses share one.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Domain {
    /// Streams handed out by [`stream`].
    Caller = 0,
    /// The order of an epoch.
    Order = 1,
    /// Bits of `Binarize::Dynamic`.
    Dynamic = 2,
    /// Bits of `Binarize::Static`.
    Static = 3,
    /// Strokes of the built-in glyphs.
    Glyphs = 4,
}

/// The generator of example `example` in epoch `epoch` under `seed`.
///
/// All three numbers are mixed into 128 bits, from which the 256-bit state of xoshiro256++ is
/// drawn, so neighbouring examples and epochs are unrelated. The stream differs from those that
/// [`fill`](crate::fill) and [`permutation`] use under the same three numbers.
///
/// Source: Blackman and Vigna 2021, *Scrambled linear pseudorandom number generators*; the mixing
/// function is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
pub fn stream(seed: u64, epoch: u64, example: u64) -> Xoshiro256PlusPlus {
    stream_in(Domain::Caller, seed, epoch, example)
}

pub(crate) fn stream_in(domain: Domain, seed: u64, epoch: u64, example: u64) -> Xoshiro256PlusPlus {
    let (mut a, mut b) = (0x9e37_79b9_7f4a_7c15_u64, 0xd1b5_4a32_d192_ed03_u64);
    for word in [domain as u64, seed, epoch, example] {
        a = mix(a ^ word);
        b = mix(b.wrapping_add(word.rotate_left(32)));
    }
    let mut state = [0; 32];
    for (k, word) in state.chunks_exact_mut(8).enumerate() {
        let half = if k % 2 == 0 { a } else { b };
        let step = (k as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&mix(half.wrapping_add(step)).to_le_bytes());
    }
    // An all-zero state, which xoshiro cannot leave, is replaced by `from_seed`.
    Xoshiro256PlusPlus::from_seed(state)
}

/// The finaliser of SplitMix64: a bijection of 64-bit words.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The order in which epoch `epoch` visits `len` examples: a uniform permutation of `0..len`.
///
/// It depends on (`len`, `seed`, `epoch`) only. Fisher and Yates' shuffle, with indices drawn
/// without bias.
///
/// # Panics
/// Where `len` is above `u32::MAX`; no split is that long.
#[track_caller]
pub fn permutation(len: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let count = u32::try_from(len).expect("permutation: at most 2^32 - 1 examples");
    let mut order: Vec<u32> = (0..count).collect();
    let mut rng = stream_in(Domain::Order, seed, epoch, 0);
    for i in (1..len).rev() {
        order.swap(i, below(&mut rng, i as u32 + 1) as usize);
    }
    order
}

/// A uniform integer in `0..bound`; `bound` must not be zero.
///
/// Lemire 2019, *Fast random integer generation in an interval*, algorithm 5 on 32-bit words.
pub(crate) fn below(rng: &mut impl Rng, bound: u32) -> u32 {
    let mut product = u64::from(rng.next_u32()) * u64::from(bound);
    if (product as u32) < bound {
        let threshold = bound.wrapping_neg() % bound;
        while (product as u32) < threshold {
            product = u64::from(rng.next_u32()) * u64::from(bound);
        }
    }
    (product >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_visits_every_example_once() {
        for len in [0, 1, 2, 3, 7, 1000] {
            let mut order = permutation(len, 5, 1);
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..len as u32), "length {len}");
        }
    }

    #[test]
    fn the_order_depends_on_seed_and_epoch_only() {
        assert_eq!(permutation(100, 7, 3), permutation(100, 7, 3));
        assert_ne!(permutation(100, 7, 3), permutation(100, 7, 4));
        assert_ne!(permutation(100, 7, 3), permutation(100, 8, 3));
        // Written down, so that a checkpoint of an older version resumes in the same order.
        assert_eq!(permutation(8, 0, 0), PINNED);
    }

    const PINNED: [u32; 8] = [3, 4, 2, 1, 5, 0, 7, 6];

    #[test]
    fn every_order_of_four_is_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        const DRAWS: u64 = 24_000;
        for epoch in 0..DRAWS {
            *counts.entry(permutation(4, 11, epoch)).or_insert(0u64) += 1;
        }
        let chi_squared: f64 = counts
            .values()
            .map(|&n| (n as f64 - 1000.0).powi(2) / 1000.0)
            .sum();
        assert_eq!(counts.len(), 24);
        // 23 degrees of freedom: 49.7 is exceeded once in a thousand seeds.
        assert!(chi_squared < 49.7, "chi squared {chi_squared}");
    }

    #[test]
    fn neighbouring_streams_are_unrelated() {
        let mut first = std::collections::HashSet::new();
        for seed in 0..10 {
            for epoch in 0..10 {
                for example in 0..100 {
                    first.insert(stream(seed, epoch, example).next_u64());
                }
            }
        }
        assert_eq!(first.len(), 10_000, "two streams begin alike");
        let ones: u32 = first.iter().map(|word| word.count_ones()).sum();
        // 640,000 fair bits: standard deviation 400.
        assert!(ones.abs_diff(320_000) < 2_000, "{ones} ones of 640,000");
    }
}
