//! Draws of many units at once, each row from a stream of its own.
//!
//! A row's stream goes on from step to step and belongs to the row, so a chain does not depend on
//! which others run beside it, nor on the threads.

use nn::random::{self, Stream};
use rand_core::Rng as _;

/// 2^-24: a draw is a multiple of it, below 1.
const UNIT: f32 = 1.0 / (1 << 24) as f32;

/// The streams of rows `first..first + rows` for a purpose.
pub(crate) fn streams(words: &[u64], first: usize, rows: usize) -> Vec<Stream> {
    let of = |row: usize| random::stream(&[words, &[row as u64]].concat());
    (first..first + rows).map(of).collect()
}

/// Replaces each probability by a draw, 0 or 1: row i of `p`, `[streams.len(), width]`, from
/// stream i. Each probability is met to within 2^-24.
pub(crate) fn bernoulli(p: &mut [f32], width: usize, streams: &mut [Stream]) {
    for (row, stream) in p.chunks_exact_mut(width.max(1)).zip(streams) {
        let draw = |p: f32, bits: u64| f32::from((bits as u32 >> 8) as f32 * UNIT < p);
        let mut pairs = row.chunks_exact_mut(2);
        for pair in &mut pairs {
            let bits = stream.next_u64();
            pair[0] = draw(pair[0], bits >> 32);
            pair[1] = draw(pair[1], bits);
        }
        if let [last] = pairs.into_remainder() {
            *last = draw(*last, stream.next_u64());
        }
    }
}

/// Adds `deviations`, one a column, times standard normal noise.
pub(crate) fn gaussian(x: &mut [f32], deviations: &[f32], streams: &mut [Stream]) {
    for (row, stream) in x.chunks_exact_mut(deviations.len().max(1)).zip(streams) {
        for (x, &deviation) in row.iter_mut().zip(deviations) {
            *x += deviation * random::normal(stream) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_probabilities() {
        let p = [0.0, 0.1, 0.5, 0.999, 1.0];
        let mut sums = [0.0f32; 5];
        let mut streams = streams(&[3], 0, 1);
        for _ in 0..20_000 {
            let mut row = p;
            bernoulli(&mut row, 5, &mut streams);
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x / 20_000.0;
            }
        }
        assert_eq!((sums[0], sums[4].round()), (0.0, 1.0));
        for (mean, p) in sums.iter().zip(p) {
            assert!((mean - p).abs() < 0.015, "{mean} for {p}");
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let mut both = [0.5; 14];
        bernoulli(&mut both, 7, &mut streams(&[1, 2], 4, 2));
        let mut second = [0.5; 7];
        bernoulli(&mut second, 7, &mut streams(&[1, 2], 5, 1));
        assert_eq!(both[7..], second);
    }
}
