//! Rows that are needed soon, brought in line by line while tiles are computed.

use super::pattern::Positions;
use super::tile::BLOCK;
use super::view::Strides;
use crate::cache::LINE;

/// The next `left` of the rows of one head at some positions.
pub(super) struct Coming<T> {
    /// The row of position 0.
    start: *const T,
    /// From a position to the next.
    stride: usize,
    positions: Positions,
    left: usize,
}

impl<T> Coming<T> {
    /// Those of an example and a head, at the next `left` positions.
    pub(super) fn new(
        data: *const T,
        strides: Strides,
        (b, h): (usize, usize),
        positions: Positions,
        left: usize,
    ) -> Self {
        Coming {
            start: data.wrapping_add(strides.at(b, 0, h)),
            stride: strides.position,
            positions,
            left,
        }
    }
}

/// What is needed soon, by ranks: 0 what this tile writes, 1 to 3 rows of the next tile's queries,
/// 4 and 5 the keys and values that it is the first to see, 6 and 7 what comes after the last tile.
pub(super) struct Ahead<T> {
    coming: [Option<Coming<T>>; 8],
    /// How many lines a row has.
    lines: usize,
    /// Of rows at equal distances: the lines that are left, this one of each row first.
    row: *const T,
    stride: usize,
    rows: usize,
    line: usize,
    /// How many rows have had this line.
    done: usize,
}

impl<T> Ahead<T> {
    /// Nothing yet of rows of `depth` numbers; `near` is any of the numbers.
    pub(super) fn new(depth: usize, near: *const T) -> Self {
        Ahead {
            coming: [const { None }; 8],
            lines: (depth * size_of::<T>()).div_ceil(LINE),
            row: near,
            stride: 0,
            rows: usize::MAX,
            line: 0,
            done: 0,
        }
    }

    /// Replaces what has this rank.
    pub(super) fn set(&mut self, rank: usize, coming: Coming<T>) {
        self.coming[rank] = Some(coming);
        if self.idle() {
            // No line of no row is left.
            (self.rows, self.line) = (0, self.lines);
        }
    }

    /// Whether nothing was left: one line is asked for over and over.
    fn idle(&self) -> bool {
        self.rows == usize::MAX
    }

    /// The next `count` lines: the first and the distance.
    #[inline(always)]
    pub(super) fn bring(&mut self, count: usize) -> (*const T, usize) {
        if self.done >= self.rows {
            self.next();
        }
        let from = self.row.wrapping_add(self.done * self.stride);
        self.done += count;
        (from, self.stride)
    }

    /// The next line of these rows, or rows that follow each other of the first rank that has any.
    #[inline(never)]
    fn next(&mut self) {
        self.done = 0;
        if self.line + 1 < self.lines && !self.idle() {
            self.line += 1;
            self.row = self.row.wrapping_byte_add(LINE);
            return;
        }
        for coming in &mut self.coming {
            if let Some(some) = coming {
                let run = some.positions.run(some.left.min(BLOCK));
                some.left -= run.len();
                if !run.is_empty() {
                    self.row = some.start.wrapping_add(run.start * some.stride);
                    (self.stride, self.rows, self.line) = (some.stride, run.len(), 0);
                    return;
                }
                *coming = None;
            }
        }
        // What is there already: looking for a page that is not takes long.
        (self.stride, self.rows) = (0, usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Attention, Pattern};
    use super::*;
    use std::collections::BTreeSet;

    /// Every line of every row comes once, and then one over and over.
    #[test]
    fn every_line_comes_once() {
        let picture = Pattern::Local2d {
            size: [12, 10],
            query: [4, 5],
            flange: [2, 2],
        };
        let (length, heads, depth) = (120, 3, 40);
        let strides = Strides::contiguous(length, 1, heads, depth);
        let data = vec![0.0_f32; 2 * strides.batch];
        for pattern in [Pattern::Causal { strict: false }, picture] {
            let a = Attention::new([2, length, heads, depth], pattern);
            for group in a.groups() {
                let mut ahead = Ahead::new(depth, data.as_ptr());
                let mut expected = BTreeSet::new();
                for (rank, at) in [(0, (0, 1)), (5, (1, 2))] {
                    let keys = group.key_count();
                    ahead.set(
                        rank,
                        Coming::new(data.as_ptr(), strides, at, group.keys(), keys),
                    );
                    for t in group.keys() {
                        let row = data.as_ptr().wrapping_add(strides.at(at.0, t, at.1));
                        expected.extend((0..3).map(|i| row.wrapping_byte_add(i * LINE)));
                    }
                }
                let mut seen = BTreeSet::new();
                for _ in 0..4 * expected.len() {
                    let (line, _) = ahead.bring(1);
                    if ahead.idle() {
                        break;
                    }
                    assert!(seen.insert(line), "{line:?} came twice");
                }
                assert!(
                    seen == expected,
                    "{} of {} lines",
                    seen.len(),
                    expected.len()
                );
                assert_eq!(ahead.bring(7), ahead.bring(7));
            }
        }
    }
}
