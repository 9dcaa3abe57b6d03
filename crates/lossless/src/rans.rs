//! An entropy coder: asymmetric numeral systems with a range for each symbol.
//!
//! J. Duda 2013, "Asymmetric numeral systems", arXiv:1311.2540. The state x lies in [2^31, 2^63).
//! Of the 2^24 numbers below a whole, a symbol of probability p owns `size` ~ 2^24 p from `start`:
//!
//! ```text
//! write:  x -> (x / size) 2^24 + start + x mod size          after a word of 32 bits has left, if
//!                                                            x would grow beyond its bounds
//! read:   x mod 2^24 tells the symbol;  x -> size (x / 2^24) + x mod 2^24 - start
//! ```
//! What is written last is read first, so symbols are written backwards. A text costs -log2 p bits
//! of each symbol, and 33 more bits for where it ends.

/// log2 of the number of equal parts that probability comes in.
pub(crate) const PRECISION: u32 = 24;
/// The state a text begins with and must come back to.
const LEAST: u64 = 1 << 31;

/// The numbers below 2^24 that a symbol owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    start: u32,
    size: u32,
}

/// How 2^24 numbers are shared out to symbols: at least one to each, so that any can be written.
pub(crate) struct Shares {
    /// Symbol i owns bounds[i]..bounds[i + 1].
    bounds: Vec<u32>,
}

impl Shares {
    /// The most symbols there can be.
    pub(crate) const MOST: usize = 1 << 16;

    /// Room for this many symbols, 1 to [`MOST`](Self::MOST).
    pub(crate) fn new(symbols: usize) -> Shares {
        assert!((1..=Shares::MOST).contains(&symbols));
        Shares {
            bounds: vec![0; symbols + 1],
        }
    }

    /// Shares out by probabilities, one for each symbol; what is not a positive number counts as 0.
    pub(crate) fn set(&mut self, probabilities: &[f64]) {
        let symbols = self.bounds.len() - 1;
        debug_assert_eq!(probabilities.len(), symbols);
        let free = (1 << PRECISION) - symbols as u32;
        let mut sum = 0.0;
        for (i, p) in probabilities.iter().enumerate() {
            self.bounds[i] = i as u32 + ((sum * f64::from(free)) as u32).min(free);
            sum += p.max(0.0);
        }
        self.bounds[symbols] = 1 << PRECISION;
    }

    /// What this symbol owns.
    pub(crate) fn interval(&self, symbol: usize) -> Interval {
        let (start, end) = (self.bounds[symbol], self.bounds[symbol + 1]);
        Interval {
            start,
            size: end - start,
        }
    }

    /// Who owns this number.
    fn owner(&self, number: u32) -> usize {
        self.bounds.partition_point(|&bound| bound <= number) - 1
    }
}

/// Writes symbols, given by what they own, in the order in which they are to be read.
pub(crate) fn write(symbols: &[Interval]) -> Vec<u8> {
    let mut words = Vec::new();
    let mut x = LEAST;
    for &Interval { start, size } in symbols.iter().rev() {
        let size = u64::from(size);
        if x >= size << (63 - PRECISION) {
            words.push(x as u32);
            x >>= 32;
        }
        x = ((x / size) << PRECISION) + x % size + u64::from(start);
    }
    words.extend([x as u32, (x >> 32) as u32]);
    words
        .iter()
        .rev()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

/// Reads what [`write`] wrote. Bytes that it did not write give some symbols or other; the end
/// tells.
pub(crate) struct Reader<'a> {
    x: u64,
    words: std::slice::Iter<'a, [u8; 4]>,
    /// Whether all bytes so far were there and in their bounds.
    sound: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        let (words, rest) = bytes.as_chunks();
        let mut reader = Reader {
            x: 0,
            words: words.iter(),
            sound: rest.is_empty(),
        };
        let high = reader.word();
        reader.x = high << 32 | reader.word();
        reader.sound &= (LEAST..1 << 63).contains(&reader.x);
        reader
    }

    fn word(&mut self) -> u64 {
        let word = self.words.next();
        self.sound &= word.is_some();
        u64::from(word.map_or(0, |word| u32::from_le_bytes(*word)))
    }

    /// The next symbol.
    pub(crate) fn symbol(&mut self, shares: &Shares) -> usize {
        let number = self.x as u32 & ((1 << PRECISION) - 1);
        let symbol = shares.owner(number);
        let Interval { start, size } = shares.interval(symbol);
        // Below 2^63 before, so below it after: size is at most 2^24.
        self.x = u64::from(size) * (self.x >> PRECISION) + u64::from(number - start);
        if self.x < LEAST && self.sound {
            self.x = self.x << 32 | self.word();
        }
        symbol
    }

    /// Whether this is where the text ends.
    pub(crate) fn is_over(&self) -> bool {
        self.sound && self.x == LEAST && self.words.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::{stream, uniform};

    fn shares(probabilities: &[f64]) -> Shares {
        let mut shares = Shares::new(probabilities.len());
        shares.set(probabilities);
        shares
    }

    #[test]
    fn every_number_has_one_owner() {
        let tiny = [1e-300, 0.0, 1.0, f64::NAN, -3.0, 1e-9];
        for p in [&[1.0][..], &[0.5, 0.5], &tiny, &[0.1; 10], &[7.0, 9.0]] {
            let shares = shares(p);
            let mut next = 0;
            for symbol in 0..p.len() {
                let Interval { start, size } = shares.interval(symbol);
                assert!(start == next && size > 0, "{p:?}");
                assert_eq!(
                    [shares.owner(start), shares.owner(start + size - 1)],
                    [symbol; 2]
                );
                next += size;
            }
            assert_eq!(next, 1 << PRECISION);
        }
    }

    #[test]
    fn a_text_is_as_long_as_its_information_and_comes_back() {
        let mut noise = stream(&[1]);
        for (symbols, skew) in [(2, 0.0), (2, 14.0), (3, 3.0), (256, 1.0), (65536, 0.1)] {
            let p = |noise: &mut _| -> Vec<f64> {
                let weights: Vec<f64> = (0..symbols.min(400))
                    .map(|_| (skew * uniform(noise)).exp())
                    .collect();
                let total: f64 = weights.iter().sum();
                let mut p: Vec<f64> = weights.iter().map(|w| w / total).collect();
                p.resize(symbols, 0.0);
                p
            };
            let count = 3000;
            let mut bits = 0.0;
            let mut text = Vec::new();
            for _ in 0..count {
                let p = p(&mut noise);
                let target = uniform(&mut noise);
                let mut sum = 0.0;
                let symbol = p.iter().position(|p| {
                    sum += p;
                    target < sum
                });
                let symbol = symbol.unwrap_or(0);
                bits -= p[symbol].log2();
                text.push((symbol, shares(&p)));
            }
            let intervals: Vec<_> = text.iter().map(|(s, shares)| shares.interval(*s)).collect();
            let bytes = write(&intervals);
            let excess = 8.0 * bytes.len() as f64 - bits;
            let rounding = count as f64 * symbols as f64 / f64::from(1 << PRECISION) * 2.0;
            assert!(
                (0.0..70.0 + rounding).contains(&excess),
                "{symbols}: {excess} bits"
            );
            let mut reader = Reader::new(&bytes);
            for (symbol, shares) in &text {
                assert_eq!(reader.symbol(shares), *symbol);
            }
            assert!(reader.is_over());
            assert!(!Reader::new(&bytes).is_over());
        }
    }

    #[test]
    fn other_bytes_are_read_without_panic() {
        let shares = shares(&[0.3, 0.0, 0.7]);
        for bytes in [
            &[][..],
            &[0; 8],
            &[255; 8],
            &[255; 11],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        ] {
            let mut reader = Reader::new(bytes);
            for _ in 0..1000 {
                assert!(reader.symbol(&shares) < 3);
            }
            assert!(!reader.is_over());
        }
    }
}
