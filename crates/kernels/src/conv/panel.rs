//! How a result is cut into tiles that fit the registers of an instruction set.

use crate::cut::Cut;
use crate::element::Element;
use crate::simd::{Isa, Registers};

/// Channels that one tile covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) vectors: usize,
    /// How many channels of the last vector exist: 1..=lanes.
    pub(super) last: usize,
}

/// Cuts `n` into tiles of nearly equal height, none above `most`: (first, height). Heights above
/// 14 exist only as 28: as many of those as fit are cut off first.
pub(super) fn cut(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let double = if most == 28 { n / 28 } else { 0 };
    let rest = Cut::new(28 * double..n, most.min(14));
    (0..double)
        .map(|p| (28 * p, 28))
        .chain(rest.parts().map(|tile| (tile.start, tile.len())))
}

/// What tiles an instruction set has registers for.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Elements of a vector.
    pub(super) lanes: usize,
    /// The tallest tile of 1, 2 and 4 vectors; 0 if there is none.
    rows: [usize; 3],
}

impl Limits {
    /// The most vectors a panel has.
    pub(super) const WIDEST: usize = 4;

    pub(super) fn of<T: Element>(isa: Isa) -> Limits {
        Limits::in_registers(T::registers(isa))
    }

    /// All sums, a row of vectors and a splat fit.
    pub(super) const fn in_registers(Registers { lanes, count }: Registers) -> Limits {
        let rows = match count {
            32.. => [28, 14, 6],
            16.. => [13, 6, 0],
            _ => [6, 0, 0],
        };
        Limits { lanes, rows }
    }

    /// The tallest tile of so many vectors.
    pub(super) const fn rows(&self, vectors: usize) -> usize {
        self.rows[vectors / 2]
    }

    /// Cuts `channels` into panels. Short tiles are made wide where the registers allow it, so
    /// that enough sums are in flight.
    pub(super) fn panels(
        self,
        channels: usize,
        rows: usize,
    ) -> impl Iterator<Item = Panel> + Clone {
        let widest = match self.rows {
            [_, _, short] if (1..=short).contains(&rows) => 4,
            [_, 0, _] => 1,
            _ => 2,
        };
        // Powers of two: this is asked for each row of tiles.
        let lanes = self.lanes.trailing_zeros();
        let mut first = 0;
        std::iter::from_fn(move || {
            let rest = (channels - first + self.lanes - 1) >> lanes;
            let vectors = match rest {
                0 => return None,
                _ if rest >= widest => widest,
                _ if rest >= 2 => 2.min(widest),
                _ => 1,
            };
            let count = (channels - first).min(vectors * self.lanes);
            let panel = Panel {
                first,
                count,
                vectors,
                last: count - (vectors - 1) * self.lanes,
            };
            first += count;
            Some(panel)
        })
    }
}
