//! Winograd's minimal filtering along one axis: two neighbouring results of two taps from three
//! products instead of four, of three taps from four instead of six; longer rows of taps are cut
//! into such.
//!
//! S. Winograd 1980, "Arithmetic Complexity of Computations"; A. Lavin and S. Gray 2016, "Fast
//! Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.1.
//!
//! ```text
//! for images, blocks of lines of the result:       // a line: pairs of neighbours, see [`Form`]
//!     planes = transformed source                  // sums and differences of neighbours
//!     for panel of result channels:
//!         for product 0..taps + 1, line, tile of its pairs:
//!             microkernel over the channels of one plane
//!         result = sums and differences of the products
//! ```
//!
//! 1. A product is a matrix product over channels, so transforms are a share of 1 / channels of
//!    the work: it [pays](Form::paying) for wide layers only.
//! 2. A result is made of what its own taps see and of nothing else ([`transform`]): a causal
//!    convolution stays causal to the last bit, which larger tiles would not.
//! 3. Blocks keep planes and products in the second-level cache, and the weights of one product
//!    and panel in the first.
//! 4. Sums are rounded otherwise than in the direct kernels. How lines are cut into jobs, blocks
//!    and tiles changes no bit here either.

/// A kernel of which each number of taps has an instance: `run` of the description picks one.
macro_rules! by_taps {
    ($Description:ident, $Instance:ident) => {
        impl<T: Element> $Description<T> {
            /// # Safety
            /// What the description reaches can be read and written, and does not overlap; pointers
            /// past the number of taps or products are not followed.
            pub(super) unsafe fn run(self, isa: Isa, taps: usize) {
                match taps {
                    2 => dispatch(isa, $Instance::<T, 2>(self)),
                    _ => dispatch(isa, $Instance::<T, 3>(self)),
                }
            }
        }

        struct $Instance<T, const TAPS: usize>($Description<T>);
    };
}

mod gather;
mod lines;
mod narrow;
mod products;
mod transform;
mod weight;

pub(super) use narrow::Narrow;
pub(super) use weight::Sum;

use super::Conv2d;
use super::micro::{Ahead, Pieces};
use super::plan::{Plan, Run};
use crate::buffer::{Buffer, Plain};
use std::cell::Cell;
use std::ops::Range;

/// Channels, of the source and of the result, from which it pays.
const CHANNELS: usize = 32;
/// Pairs of an image, at least.
const PAIRS: usize = 32;

/// Whether products are written to memory or stay in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Written to memory.
    Wide,
    /// Kept in registers.
    Narrow,
}

thread_local! {
    /// Set by [`always`].
    static ALWAYS: Cell<Option<Kind>> = const { Cell::new(None) };
}

/// From now on this thread does every convolution that has such a form in this way, whether it
/// pays or not; with `None` as it pays. Tests try small ones.
pub fn always(kind: Option<Kind>) {
    ALWAYS.set(kind);
}

/// Whether a convolution is done this way, given whether it pays.
fn chosen(pays: bool, kind: Kind) -> bool {
    ALWAYS.get().map_or(pays, |always| always == kind)
}

/// Along which axis results are paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    /// Columns 2p and 2p + 1 of one row: a line is a row.
    Width,
    /// Rows 2i and 2i + 1 of one column: a line is two rows.
    Height,
}

/// Kernel rows with the same taps: their products are summed before they are transformed back.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Of each of its kernel rows: 2 or 3.
    taps: usize,
    /// The first tap, counted along the axis from a pair's first pixel.
    first: isize,
    /// Its kernel rows among all: first and one past the last.
    rows: [usize; 2],
    /// How many numbers a result channel's weights have before its own.
    before: usize,
    /// How many products there are before its own.
    first_product: usize,
}
impl Plain for Group {}

impl Group {
    fn products(&self) -> usize {
        self.taps + 1
    }
}

/// The taps of a kernel row, two or more, in threes and twos.
fn parts(run: &Run, taps: usize) -> impl Iterator<Item = Run> + use<> {
    let run = *run;
    let twos = (3 - taps % 3) % 3;
    let threes = (taps - 2 * twos) / 3;
    (0..threes + twos).map(move |part| {
        let before = 2 * part + part.min(threes);
        let last = before + if part < threes { 2 } else { 1 };
        Run {
            dx: [before, last].map(|q| run.dx[0] + q as isize),
            tap: run.tap.wrapping_add_signed(before as isize * run.tap_step),
            ..run
        }
    })
}

/// A convolution as pairs of results.
pub(super) struct Form<'a> {
    plan: &'a Plan,
    axis: Axis,
    /// Lines of the source and of the result.
    lines: [usize; 2],
    /// Pairs of a line.
    pairs: usize,
    /// Offsets are within a plane; `before` counts within a product of its group.
    rows: Buffer<Run>,
    groups: Buffer<Group>,
    count: usize,
}

impl Form<'_> {
    /// The form of a convolution that is faster this way.
    pub(super) fn paying<'a>(g: &Conv2d, plan: &'a Plan) -> Option<Form<'a>> {
        let form = Form::of(g, plan)?;
        let pays =
            g.in_channels.min(g.out_channels) >= CHANNELS && form.lines[1] * form.pairs >= PAIRS;
        chosen(pays, Kind::Wide).then_some(form)
    }

    /// The form of a convolution, if it has one: stride and dilation are 1, and no kernel row has
    /// a tap without neighbours, or all taps are two or three of one column.
    pub(super) fn of<'a>(g: &Conv2d, plan: &'a Plan) -> Option<Form<'a>> {
        let is_empty = plan.source.contains(&0) || plan.result.contains(&0);
        if g.stride != [1, 1] || g.dilation != [1, 1] || is_empty {
            return None;
        }
        let [height, width, _] = plan.result;
        let runs = plan.runs(plan.phases().first()?);
        let taps = |run: &Run| (run.dx[1] + 1 - run.dx[0]) as usize;
        let mut rows = Buffer::filled(g.taps.count(), Run::default());
        let mut groups = Buffer::filled(g.taps.count(), Group::default());
        let channels = plan.source[2];
        let (axis, lines, pairs, count);
        if !runs.is_empty() && runs.iter().all(|run| taps(run) >= 2) {
            (axis, lines, pairs) = (Axis::Width, [plan.source[0], height], width.div_ceil(2));
            let (mut groups_so_far, mut placed, mut before, mut products) = (0, 0, 0, 0);
            let parts = || runs.iter().flat_map(|run| parts(run, taps(run)));
            for (at, part) in parts().enumerate() {
                let alike = |other: &Run| other.dx == part.dx;
                if parts().take(at).any(|other| alike(&other)) {
                    continue;
                }
                let first_row = placed;
                for row in parts().filter(alike) {
                    rows[placed] = Run {
                        x: row.dy * (pairs * channels) as isize,
                        len: channels,
                        before: (placed - first_row) * channels,
                        ..row
                    };
                    placed += 1;
                }
                let group = Group {
                    taps: taps(&part),
                    first: part.dx[0],
                    rows: [first_row, placed],
                    before,
                    first_product: products,
                };
                products += group.products();
                before += group.products() * (placed - first_row) * channels;
                groups[groups_so_far] = group;
                groups_so_far += 1;
            }
            count = groups_so_far;
        } else if let [first, second, ..] = runs
            && runs.len() <= 3
            && width == plan.source[1]
            && runs.iter().all(|run| run.dx == [0, 0])
            && (1..runs.len()).all(|r| runs[r].dy == first.dy + r as isize)
        {
            let line = height.div_ceil(2);
            (axis, lines, pairs, count) = (Axis::Height, [line, line], width, 1);
            rows[0] = Run {
                x: 0,
                len: channels,
                dy: 0,
                before: 0,
                tap_step: second.tap as isize - first.tap as isize,
                ..*first
            };
            groups[0] = Group {
                taps: runs.len(),
                first: first.dy,
                rows: [0, 1],
                before: 0,
                first_product: 0,
            };
        } else {
            return None;
        }
        Some(Form {
            plan,
            axis,
            lines,
            pairs,
            rows,
            groups,
            count,
        })
    }

    fn groups(&self) -> &[Group] {
        &self.groups[..self.count]
    }

    fn rows(&self, group: &Group) -> &[Run] {
        &self.rows[group.rows[0]..group.rows[1]]
    }

    /// How many products there are for a pair.
    fn products(&self) -> usize {
        self.groups().iter().map(Group::products).sum()
    }

    /// How many numbers a result channel's weights have.
    pub(super) fn len(&self) -> usize {
        let of = |group: &Group| group.products() * self.rows(group).len() * self.plan.source[2];
        self.groups().iter().map(of).sum()
    }

    /// Additions and multiplications of the products, counted as [`Conv2d::flops`] counts.
    pub(super) fn flops(&self, g: &Conv2d) -> u64 {
        let sum = |of: fn(&Group) -> usize| -> u64 {
            let rows = |group: &Group| (self.rows(group).len() * of(group)) as u64;
            self.groups().iter().map(rows).sum()
        };
        g.flops() * sum(Group::products) / (2 * sum(|group| group.taps))
    }

    /// The kernel rows of a group that reach lines of the source from line `i` of the result.
    fn reaching(&self, group: &Group, i: usize) -> &[Run] {
        let rows = self.rows(group);
        let first = rows.partition_point(|row| i as isize + row.dy < 0);
        let end = rows.partition_point(|row| i as isize + row.dy < self.lines[0] as isize);
        &rows[first..end]
    }

    /// The lines of the result that reach lines of the source by a kernel row.
    fn reached(&self, row: &Run) -> [usize; 2] {
        let first = (-row.dy).max(0) as usize;
        let end = (self.lines[0] as isize - row.dy).max(0) as usize;
        let end = end.min(self.lines[1]);
        [first.min(end), end]
    }

    /// The lines of the source that a group reaches from some lines of the result.
    fn source_of(&self, group: &Group, lines: &Range<usize>) -> Range<usize> {
        let rows = self.rows(group);
        let inside = |at: isize| at.clamp(0, self.lines[0] as isize) as usize;
        let first = inside(lines.start as isize + rows[0].dy);
        let end = inside(lines.end as isize + rows[rows.len() - 1].dy);
        first..end.max(first)
    }

    /// Lines of the source that are transformed for a block of so many lines of the result, at
    /// most.
    fn reach(&self, block: usize) -> usize {
        let spread = |group: &Group| {
            let rows = self.rows(group);
            (rows[rows.len() - 1].dy - rows[0].dy) as usize
        };
        block + self.groups().iter().map(spread).max().unwrap_or(0)
    }

    /// Where in an image that is shaped like the source or the result, with rows of `row` numbers,
    /// the block after `lines` begins, and how long one like it is.
    fn after(&self, lines: &Range<usize>, row: usize) -> (usize, usize) {
        let line = match self.axis {
            Axis::Width => row,
            Axis::Height => 2 * row,
        };
        (lines.end * line, lines.len() * line)
    }

    /// Elements of one line of one plane.
    fn line(&self) -> usize {
        self.pairs * self.plan.source[2]
    }

    /// Where the pairs of line `i` lie in an image of `channels` channels that is shaped like the
    /// result.
    fn pairs_of(&self, i: usize, channels: usize) -> (usize, lines::Pairs) {
        let [height, width, _] = self.plan.result;
        let row = width * channels;
        match self.axis {
            Axis::Width => (
                i * row,
                lines::Pairs {
                    count: self.pairs,
                    whole: width / 2,
                    step: 2 * channels,
                    second: channels,
                },
            ),
            Axis::Height => (
                2 * i * row,
                lines::Pairs {
                    count: self.pairs,
                    whole: if 2 * i + 1 < height { self.pairs } else { 0 },
                    step: channels,
                    second: row,
                },
            ),
        }
    }

    /// Where a group finds the source of line `i` of its planes.
    fn source_line(&self, group: &Group, i: usize) -> (usize, lines::Source) {
        let [height, width, channels] = self.plan.source;
        match self.axis {
            Axis::Width => (
                i * width * channels,
                lines::Source {
                    first: group.first,
                    step: 2,
                    along: channels,
                    across: 0,
                    len: width,
                    channels,
                },
            ),
            Axis::Height => (
                0,
                lines::Source {
                    first: group.first + 2 * i as isize,
                    step: 0,
                    along: width * channels,
                    across: channels,
                    len: height,
                    channels,
                },
            ),
        }
    }
}

/// Memory that the next block reads, asked for by the tiles of this one, a piece each.
struct Next<T> {
    regions: [(*const T, usize); 2],
    tiles: usize,
    /// For tiles of so many steps.
    steps: usize,
    pieces: [Pieces; 2],
    piece: usize,
}

impl<T> Next<T> {
    fn new(regions: [(*const T, usize); 2], tiles: usize) -> Self {
        let tiles = tiles.div_ceil(2);
        Next {
            regions,
            tiles,
            steps: 0,
            pieces: regions.map(|(_, len)| Pieces::new::<T>(len, tiles, 0)),
            piece: 0,
        }
    }

    /// What a tile of so many steps asks for.
    fn piece(&mut self, steps: usize) -> Ahead {
        if steps != self.steps {
            self.steps = steps;
            self.pieces = self
                .regions
                .map(|(_, len)| Pieces::new::<T>(len, self.tiles, steps));
        }
        let (piece, region) = (self.piece / 2, self.piece % 2);
        self.piece += 1;
        self.pieces[region].get(self.regions[region].0, piece)
    }
}
