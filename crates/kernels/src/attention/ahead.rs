//! Rows that are needed soon, brought in line by line while tiles are computed.

use super::pattern::Positions;
use super::tile::BLOCK;

const LINE: usize = 64;

/// The next `left` of the rows of one head at some positions.
pub(super) struct Coming<T> {
    /// The row of position 0.
    pub(super) start: *const T,
    /// From a position to the next.
    pub(super) stride: usize,
    pub(super) positions: Positions,
    pub(super) left: usize,
}

/// What is needed soon, by ranks: 0 what this tile writes, 1 to 3 rows of the next tile's queries,
/// 4 and 5 the keys and values that it is the first to see.
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
            self.rows = 0;
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
