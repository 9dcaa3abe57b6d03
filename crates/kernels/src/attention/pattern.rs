//! Who sees whom: the masks of attention, as lists of keys that only grow from query to query.

use super::tile::BLOCK;
use std::ops::Range;

/// Which keys a query may look at. Positions are numbered in the order in which they lie in the
/// operands; of a picture, in reading order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Every position sees every position.
    Full,
    /// Every position sees itself and those before it; if `strict`, only those before it.
    Causal {
        /// Whether a position does not see itself.
        strict: bool,
    },
    /// Blocks of `query` positions that follow each other. A position sees the `memory` positions
    /// before its block, and of its block itself and those before it. Parmar et al. 2018,
    /// arXiv:1802.05751, section 3.3, "1D local attention".
    Local {
        /// How many positions are in a block.
        query: usize,
        /// How many positions before its block are seen.
        memory: usize,
    },
    /// Rectangular blocks of a picture, which come one after the other in reading order, as do
    /// the pixels inside each. A pixel sees itself and what came before it, within a rectangle
    /// that reaches beyond its block by `flange` pixels to the top, the left and the right. There,
    /// "2D local attention".
    Local2d {
        /// Height and width of the picture.
        size: [usize; 2],
        /// Height and width of a block; the last ones are smaller if they must be.
        query: [usize; 2],
        /// How far beyond its block a pixel sees: up, and to either side.
        flange: [usize; 2],
    },
}

/// Positions that form a rectangle in a picture `pitch` wide; a range is one of a single row.
#[derive(Clone, Copy, Debug, Default)]
struct Rect {
    first: usize,
    rows: usize,
    cols: usize,
    pitch: usize,
}

impl Rect {
    fn range(range: Range<usize>) -> Rect {
        Rect {
            first: range.start,
            rows: 1,
            cols: range.len(),
            pitch: 0,
        }
    }

    fn pixels(pitch: usize, rows: Range<usize>, cols: Range<usize>) -> Rect {
        Rect {
            first: rows.start * pitch + cols.start,
            rows: rows.len(),
            cols: cols.len(),
            pitch,
        }
    }

    fn len(&self) -> usize {
        self.rows * self.cols
    }
}

/// The positions of rectangles, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Positions {
    rects: [Rect; 3],
    /// How many rectangles are left; they are taken from the end.
    left: usize,
    next: usize,
    /// What is left of a row.
    row: usize,
}

impl Positions {
    fn new(mut rects: [Rect; 3]) -> Self {
        rects.reverse();
        Positions {
            rects,
            left: 3,
            next: 0,
            row: 0,
        }
    }
}

impl Positions {
    /// The next ones that follow each other without a gap in one row of a rectangle, at most
    /// `most`; none if there are no more.
    #[inline]
    pub(super) fn run(&mut self, most: usize) -> Range<usize> {
        while self.row == 0 {
            let Some(last) = self.left.checked_sub(1) else {
                return 0..0;
            };
            let rect = &mut self.rects[last];
            if rect.rows == 0 {
                self.left -= 1;
                continue;
            }
            (self.next, self.row) = (rect.first, rect.cols);
            rect.first += rect.pitch;
            rect.rows -= 1;
        }
        let first = self.next;
        let len = self.row.min(most);
        self.row -= len;
        self.next += len;
        first..self.next
    }

    /// The next `count`, run by run.
    #[inline]
    pub(super) fn runs(mut self, count: usize) -> impl Iterator<Item = Range<usize>> {
        let mut left = count;
        std::iter::from_fn(move || {
            let run = self.run(left);
            left -= run.len();
            (!run.is_empty()).then_some(run)
        })
    }

    /// The first of the next `count`, if those follow each other without a gap.
    pub(super) fn one_run(self, count: usize) -> Option<usize> {
        let mut runs = self.runs(count);
        let first = runs.next()?;
        let end = runs.try_fold(first.end, |end, run| (run.start == end).then_some(run.end))?;
        (end - first.start == count).then_some(first.start)
    }

    /// Those behind the next `count`.
    pub(super) fn after(mut self, count: usize) -> Self {
        let mut left = count;
        while left > 0 {
            match self.run(left).len() {
                0 => break,
                len => left -= len,
            }
        }
        self
    }
}

impl Iterator for Positions {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let run = self.run(1);
        (!run.is_empty()).then_some(run.start)
    }
}

/// Queries that share a list of keys: query r sees the first `first + r * step` of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    queries: Rect,
    keys: [Rect; 3],
    first: usize,
    step: usize,
}

impl Group {
    /// Keys that everybody sees, then the queries themselves, one after the other.
    fn causal(memory: [Rect; 2], queries: Rect, strict: bool) -> Group {
        let [a, b] = memory;
        Group {
            queries,
            keys: [a, b, queries],
            first: a.len() + b.len() + usize::from(!strict),
            step: 1,
        }
    }

    /// How many keys query `r` sees.
    pub(super) fn seen(&self, r: usize) -> usize {
        self.first + r * self.step
    }

    /// How many of the first lanes of queries from `r` on do not see key `p`.
    pub(super) fn blind(&self, r: usize, p: usize) -> usize {
        match self.step {
            0 if p < self.first => 0,
            0 => usize::MAX,
            _ => (p + 1).saturating_sub(self.first + r),
        }
    }

    pub(super) fn query_count(&self) -> usize {
        self.queries.len()
    }

    /// How many queries a tile has; the last one may have fewer. As few tiles as there can be, of
    /// nearly equal size.
    pub(super) fn step(&self) -> usize {
        let count = self.query_count().max(1);
        let tiles = count.div_ceil(BLOCK);
        count.div_ceil(tiles).next_multiple_of(16)
    }

    pub(super) fn key_count(&self) -> usize {
        self.keys.iter().map(Rect::len).sum()
    }

    /// Positions of the queries.
    pub(super) fn queries(&self) -> Positions {
        Positions::new([self.queries, Rect::default(), Rect::default()])
    }

    /// Positions of the keys.
    pub(super) fn keys(&self) -> Positions {
        Positions::new(self.keys)
    }
}

/// What the queries from `query` on see of a block of scores: row j is key `key + j`, lane l is
/// query `query + l`.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) group: &'a Group,
    pub(super) query: usize,
    pub(super) key: usize,
}

impl Sight<'_> {
    /// How many rows this lane sees; the block may have fewer.
    #[inline(always)]
    pub(super) fn rows(&self, lane: usize) -> usize {
        self.group.seen(self.query + lane).saturating_sub(self.key)
    }

    /// How many of the lanes from `lane` on do not see row j, at most `lanes`.
    pub(super) fn blind(&self, j: usize, lane: usize, lanes: usize) -> usize {
        let blind = self.group.blind(self.query, self.key + j);
        blind.saturating_sub(lane).min(lanes)
    }

    /// How many of the first `rows` rows all of the lanes from `lane` on see, and how many any of
    /// them does.
    pub(super) fn seen(&self, lane: usize, lanes: usize, rows: usize) -> (usize, usize) {
        let exist = rows.min(self.group.key_count().saturating_sub(self.key));
        let clear = self.rows(lane).min(exist);
        (clear, self.rows(lane + lanes - 1).min(rows))
    }
}

impl Pattern {
    /// # Panics
    /// If a block is empty, or the size of a picture is not `length`.
    #[track_caller]
    pub(super) fn check(&self, length: usize) {
        match *self {
            Pattern::Full | Pattern::Causal { .. } => {}
            Pattern::Local { query, .. } => assert!(query > 0, "attention: {self:?}"),
            Pattern::Local2d { size, query, .. } => assert!(
                query[0] > 0 && query[1] > 0 && size[0].checked_mul(size[1]) == Some(length),
                "attention: {self:?} for {length} positions"
            ),
        }
    }

    /// The groups of queries; every position is a query of exactly one.
    pub(super) fn groups(&self, length: usize) -> impl Iterator<Item = Group> + use<> {
        let pattern = *self;
        (0..pattern.group_count(length)).map(move |i| pattern.group(i, length))
    }

    fn group_count(&self, length: usize) -> usize {
        match *self {
            _ if length == 0 => 0,
            Pattern::Full | Pattern::Causal { .. } => 1,
            Pattern::Local { query, .. } => length.div_ceil(query),
            Pattern::Local2d { size, query, .. } => {
                size[0].div_ceil(query[0]) * size[1].div_ceil(query[1])
            }
        }
    }

    fn group(&self, i: usize, length: usize) -> Group {
        match *self {
            Pattern::Full => Group {
                queries: Rect::range(0..length),
                keys: [Rect::range(0..length), Rect::default(), Rect::default()],
                first: length,
                step: 0,
            },
            Pattern::Causal { strict } => {
                Group::causal([Rect::default(); 2], Rect::range(0..length), strict)
            }
            Pattern::Local { query, memory } => {
                let start = i * query;
                let end = start.saturating_add(query).min(length);
                let seen = Rect::range(start.saturating_sub(memory)..start);
                Group::causal([Rect::default(), seen], Rect::range(start..end), false)
            }
            Pattern::Local2d {
                size: [height, width],
                query,
                flange: [up, side],
            } => {
                let across = width.div_ceil(query[1]);
                let (top, left) = (i / across * query[0], i % across * query[1]);
                let bottom = top.saturating_add(query[0]).min(height);
                let right = left.saturating_add(query[1]).min(width);
                let from = left.saturating_sub(side);
                let to = right.saturating_add(side).min(width);
                let above = Rect::pixels(width, top.saturating_sub(up)..top, from..to);
                // Of the block's own rows only what is left of it came before it.
                let beside = Rect::pixels(width, top..bottom, from..left);
                let own = Rect::pixels(width, top..bottom, left..right);
                Group::causal([above, beside], own, false)
            }
        }
    }

    /// How many pairs of a query and a key that it sees there are.
    pub fn pairs(&self, length: usize) -> usize {
        let group = |g: Group| (0..g.query_count()).map(|r| g.seen(r)).sum::<usize>();
        self.groups(length).map(group).sum()
    }

    /// Whether the query at position `i` sees the key at position `j`, by the definition.
    pub fn sees(&self, i: usize, j: usize) -> bool {
        match *self {
            Pattern::Full => true,
            Pattern::Causal { strict } => j < i || !strict && j == i,
            Pattern::Local { query, memory } => j <= i && j + memory >= i / query * query,
            Pattern::Local2d {
                size: [_, width],
                query: [qh, qw],
                flange: [up, side],
            } => {
                let (r, c, y, x) = (i / width, i % width, j / width, j % width);
                let block = (r / qh, c / qw);
                let (top, left) = (block.0 * qh, block.1 * qw);
                let earlier = (y / qh, x / qw, y, x) <= (block.0, block.1, r, c);
                earlier && y + up >= top && x + side >= left && x < left + qw + side
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_the_positions() {
        let picture = |query| Pattern::Local2d {
            size: [8, 6],
            query,
            flange: [1, 1],
        };
        for pattern in [
            Pattern::Full,
            Pattern::Local {
                query: 7,
                memory: 5,
            },
            picture([4, 3]),
            picture([4, 6]),
        ] {
            for group in pattern.groups(48) {
                for all in [group.queries(), group.keys()] {
                    let whole = all.collect::<Vec<_>>();
                    for count in 1..=whole.len() {
                        let some = &whole[..count];
                        assert_eq!(all.runs(count).flatten().collect::<Vec<_>>(), some);
                        assert_eq!(all.after(count).collect::<Vec<_>>(), whole[count..]);
                        let one = some.windows(2).all(|pair| pair[1] == pair[0] + 1);
                        assert_eq!(all.one_run(count), one.then_some(some[0]));
                    }
                }
            }
        }
    }
}
