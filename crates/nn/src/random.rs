//! Random streams: one for each purpose, from words that name it.
//!
//! Nothing here is global and nothing depends on which thread asks or in which order. An
//! example's noise comes from (seed, epoch, example), a parameter's from (seed, its name).

use grad::{Element, Shape, Tensor};
use rand_core::{Rng as _, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The generator of every stream.
pub type Stream = Xoshiro256PlusPlus;

/// The stream that `words` name: equal words, equal stream; any difference, an unrelated one.
pub fn stream(words: &[u64]) -> Stream {
    Stream::seed_from_u64(mix(words))
}

/// One word for many: a hash that depends on each of them and on their order.
pub fn mix(words: &[u64]) -> u64 {
    // SplitMix64's finaliser after each word: every bit of every word reaches every bit.
    let mut state = 0x243f_6a88_85a3_08d3u64;
    for &word in words {
        state = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}

/// A word for a name, to be used in [`stream`]: FNV-1a.
pub fn word(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A number from [0, 1), a multiple of 2^-53.
pub fn uniform(stream: &mut Stream) -> f64 {
    (stream.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A number from the standard normal distribution.
pub fn normal(stream: &mut Stream) -> f64 {
    StandardNormal.sample(stream)
}

/// A tensor of standard normal numbers.
pub fn normal_tensor<T: Element>(shape: impl Into<Shape>, stream: &mut Stream) -> Tensor<T> {
    Tensor::from_fn(shape, |_| T::from_f64(normal(stream)))
}

/// A tensor of numbers from [low, high).
pub fn uniform_tensor<T: Element>(
    shape: impl Into<Shape>,
    low: f64,
    high: f64,
    stream: &mut Stream,
) -> Tensor<T> {
    Tensor::from_fn(shape, |_| T::from_f64(low + (high - low) * uniform(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_in_every_word_and_repeat() {
        let first = |words: &[u64]| stream(words).next_u64();
        let words = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]];
        for (i, a) in words.iter().enumerate() {
            assert_eq!(first(a), first(a));
            for b in &words[..i] {
                assert_ne!(first(a), first(b));
            }
        }
        assert_ne!(first(&[0]), first(&[0, 0]));
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let x: Tensor<f64> = normal_tensor([100_000], &mut stream(&[7]));
        let mean = x.data().iter().sum::<f64>() / 1e5;
        let variance = x.data().iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }
}
