//! Ranges cut into nearly equal parts, without a division for each of them: a small tile takes
//! hardly longer than ten divisions.

use std::ops::Range;

/// A range cut into parts of nearly equal size: part i ends at start + floor((i + 1) len / parts).
#[derive(Clone)]
pub(crate) struct Cut {
    range: Range<usize>,
    parts: usize,
    /// len / parts in fixed point, rounded up; 0 if the parts are too many for that.
    step: u64,
}

/// Binary digits after the point.
const POINT: u32 = 32;
/// Up to this many parts of a range of less than this length the fixed point rounds down as a division does: i len /
/// parts is at least 1 / parts below the next integer, and i < parts roundings up are less.
const MOST_PARTS: usize = 1 << 16;
const MOST_LEN: u64 = 1 << 31;

impl Cut {
    /// The fewest parts of at most so many.
    pub(crate) fn new(range: Range<usize>, most: usize) -> Cut {
        let parts = if range.len() <= most {
            range.len().min(1)
        } else {
            range.len().div_ceil(most)
        };
        Cut::into(range, parts)
    }

    /// So many parts.
    pub(crate) fn into(range: Range<usize>, parts: usize) -> Cut {
        let len = range.len() as u64;
        let step = match parts {
            1 if len < MOST_LEN => len << POINT,
            2..=MOST_PARTS if len < MOST_LEN => (len << POINT).div_ceil(parts as u64),
            _ => 0,
        };
        Cut { range, parts, step }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts
    }

    fn edge(&self, i: usize) -> usize {
        let offset = if self.step == 0 {
            i * self.range.len() / self.parts.max(1)
        } else {
            ((i as u64 * self.step) >> POINT) as usize
        };
        self.range.start + offset.min(self.range.len())
    }

    /// Part `i`. Past the last one: the empty range at the end.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> Range<usize> {
        self.edge(i)..self.edge(i + 1)
    }

    /// All parts.
    pub(crate) fn parts(self) -> impl Iterator<Item = Range<usize>> + Clone {
        (0..self.parts).map(move |i| self.get(i))
    }

    /// Parts `some`, those of them that exist.
    pub(crate) fn iter(
        &self,
        some: Range<usize>,
    ) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
        (some.start..some.end.min(self.parts)).map(|i| self.get(i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_where_divisions_put_them() {
        let lens = [
            0,
            1,
            2,
            13,
            14,
            15,
            100,
            6272,
            65_521,
            1 << 20,
            (1 << 31) - 1,
            1 << 33,
        ];
        let counts = [
            1, 2, 3, 5, 7, 9, 10, 448, 65_521, 65_535, 65_536, 65_537, 100_000,
        ];
        for (len, parts) in lens
            .iter()
            .flat_map(|&len| counts.map(|parts| (len, parts)))
        {
            let cut = Cut::into(7..7 + len, parts);
            let some = [0, 1, parts / 3, parts / 2, parts - 1, parts];
            for i in some.into_iter().filter(|&i| i <= parts) {
                let edge = |i: usize| 7 + (i as u128 * len as u128 / parts as u128) as usize;
                let expected = edge(i)..edge(i + 1).min(7 + len);
                assert_eq!(cut.get(i), expected, "part {i} of {parts} of {len}");
            }
        }
    }

    #[test]
    fn the_fewest_parts_of_at_most_so_many() {
        for (len, most, parts) in [(0, 5, 0), (1, 5, 1), (5, 5, 1), (6, 5, 2), (11, 5, 3)] {
            let cut = Cut::new(0..len, most);
            assert_eq!(cut.len(), parts);
            let sizes: Vec<_> = cut.iter(0..parts + 2).map(|part| part.len()).collect();
            assert_eq!((sizes.len(), sizes.iter().sum()), (parts, len));
            assert!(sizes.iter().all(|&size| size <= most));
        }
    }
}
