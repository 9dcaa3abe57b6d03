//! How a convolution reads its source image: which runs, for which part of the result.
//!
//! Forward reads x around every output pixel. The input gradient reads gy around every input
//! pixel; with a stride, which taps reach an input pixel depends on its position modulo the
//! stride, so there is one *phase* a residue, each an ordinary convolution with stride 1 of its
//! own few taps: no zeros are inserted anywhere.

use super::Conv2d;
use crate::buffer::{Buffer, Plain};

/// Neighbouring taps of one kernel row: `len` numbers that are contiguous in the source and in
/// the packed weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    /// From a pixel's base to the first number.
    pub(super) x: isize,
    pub(super) len: usize,
    /// The kernel row, counted in source rows from a pixel's own.
    pub(super) dy: isize,
    /// The first and last tap, counted in source columns from a pixel's own.
    pub(super) dx: [isize; 2],
    /// The tap (row * kw + column) it begins with, and from one of its taps to the next.
    pub(super) tap: usize,
    pub(super) tap_step: isize,
    /// How many numbers of its phase come before it.
    pub(super) before: usize,
}

/// One residue of the result's pixels modulo the step between them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phase {
    /// The first row and column of the result.
    pub(super) first: [usize; 2],
    /// How many rows and columns.
    pub(super) size: [usize; 2],
    /// Its runs: first and one past the last.
    pub(super) runs: [usize; 2],
    /// All numbers of its runs.
    pub(super) len: usize,
    /// How many numbers of earlier phases come before its own.
    pub(super) before: usize,
}

impl Plain for Run {}
impl Plain for Phase {}

/// Everything about the geometry that the drivers ask for.
pub(super) struct Plan {
    pub(super) batch: usize,
    /// Rows, columns and channels of a source image.
    pub(super) source: [usize; 3],
    /// Source rows and columns from one pixel of a phase to the next.
    pub(super) step: [usize; 2],
    /// Rows, columns and channels of an image of the result.
    pub(super) result: [usize; 3],
    /// Rows and columns of the result from one pixel of a phase to the next.
    pub(super) result_step: [usize; 2],
    /// Columns of zeros left and right of the source that some used tap falls on.
    pub(super) margin: [usize; 2],
    /// Sorted by phase, then dy, then dx.
    runs: Buffer<Run>,
    phases: Buffer<Phase>,
    counts: [usize; 2],
}

impl Plan {
    /// Forward: one phase, taps in their natural order.
    pub(super) fn forward(g: &Conv2d) -> Plan {
        let mut plan = Plan::empty(
            g,
            [g.in_height, g.in_width, g.in_channels],
            [g.out_height(), g.out_width(), g.out_channels],
            1,
        );
        plan.step = g.stride;
        let size = [plan.result[0], plan.result[1]];
        let taps = g.taps.iter().map(|(r, c)| {
            let dy = (r * g.dilation[0]) as isize - g.padding.top as isize;
            let dx = (c * g.dilation[1]) as isize - g.padding.left as isize;
            (r * g.kernel[1] + c, dy, dx)
        });
        plan.push([0, 0], size, taps);
        plan.finish()
    }

    /// Input gradient: a phase for every residue modulo the stride, taps in reverse.
    pub(super) fn input_gradient(g: &Conv2d) -> Plan {
        let residues = [g.stride[0].min(g.in_height), g.stride[1].min(g.in_width)];
        let mut plan = Plan::empty(
            g,
            [g.out_height(), g.out_width(), g.out_channels],
            [g.in_height, g.in_width, g.in_channels],
            residues[0] * residues[1],
        );
        plan.result_step = g.stride;
        let padding = [g.padding.top, g.padding.left];
        for a in 0..residues[0] {
            for b in 0..residues[1] {
                let first = [a, b];
                let size = [0, 1].map(|d| (plan.result[d] - first[d]).div_ceil(g.stride[d]));
                // Input row a + s i receives from output row (a + top - r dilation) / s + i.
                let reach = |d: usize, k: usize| {
                    let at = (first[d] + padding[d]) as isize - (k * g.dilation[d]) as isize;
                    let stride = g.stride[d] as isize;
                    (at % stride == 0).then_some(at / stride)
                };
                let taps = (0..g.kernel[0]).rev().flat_map(|r| {
                    (0..g.kernel[1]).rev().filter_map(move |c| {
                        let used = g.taps.contains(r, c);
                        let at = (reach(0, r)?, reach(1, c)?);
                        used.then_some((r * g.kernel[1] + c, at.0, at.1))
                    })
                });
                plan.push(first, size, taps);
            }
        }
        plan.finish()
    }

    fn empty(g: &Conv2d, source: [usize; 3], result: [usize; 3], phases: usize) -> Plan {
        Plan {
            batch: g.batch,
            source,
            step: [1, 1],
            result,
            result_step: [1, 1],
            margin: [0, 0],
            runs: Buffer::filled(g.taps.count(), Run::default()),
            phases: Buffer::filled(phases, Phase::default()),
            counts: [0, 0],
        }
    }

    /// Adds a phase whose taps are (tap, dy, dx), sorted by dy, then dx.
    fn push(
        &mut self,
        first: [usize; 2],
        size: [usize; 2],
        taps: impl Iterator<Item = (usize, isize, isize)>,
    ) {
        let channels = self.source[2];
        let [phase, start] = self.counts;
        let before = phase.checked_sub(1).map_or(0, |last| {
            let last = self.phases[last];
            last.before + last.len
        });
        let (mut end, mut len) = (start, 0);
        for (tap, dy, dx) in taps {
            match self.runs[start..end].last_mut() {
                Some(run) if run.dy == dy && run.dx[1] + 1 == dx => {
                    run.dx[1] = dx;
                    run.len += channels;
                    if run.tap_step == 0 {
                        run.tap_step = tap as isize - run.tap as isize;
                    }
                }
                _ => {
                    self.runs[end] = Run {
                        x: 0,
                        len: channels,
                        dy,
                        dx: [dx, dx],
                        tap,
                        tap_step: 0,
                        before: len,
                    };
                    end += 1;
                }
            }
            len += channels;
        }
        self.phases[phase] = Phase {
            first,
            size,
            runs: [start, end],
            len,
            before,
        };
        self.counts = [phase + 1, end];
    }

    /// Margins, and with them the offsets of the runs.
    fn finish(mut self) -> Plan {
        let [phases, runs] = self.counts;
        for phase in &self.phases[..phases] {
            let last = phase.size[1].saturating_sub(1) * self.step[1];
            for run in &self.runs[phase.runs[0]..phase.runs[1]] {
                let right = last as isize + run.dx[1] + 1 - self.source[1] as isize;
                self.margin[0] = self.margin[0].max((-run.dx[0]).max(0) as usize);
                self.margin[1] = self.margin[1].max(right.max(0) as usize);
            }
        }
        let (pitch, channels) = (self.pitch() as isize, self.source[2] as isize);
        for run in &mut self.runs[..runs] {
            run.x = (run.dy * pitch + run.dx[0]) * channels;
        }
        self
    }

    /// Columns of a source image with its margins.
    pub(super) fn pitch(&self) -> usize {
        self.margin[0] + self.source[1] + self.margin[1]
    }

    pub(super) fn phases(&self) -> &[Phase] {
        &self.phases[..self.counts[0]]
    }

    pub(super) fn runs(&self, phase: &Phase) -> &[Run] {
        &self.runs[phase.runs[0]..phase.runs[1]]
    }

    /// All numbers of all phases.
    pub(super) fn len(&self) -> usize {
        self.phases().iter().map(|phase| phase.len).sum()
    }

    /// The runs, out of sorted ones, whose source row exists for row `i` of their phase.
    pub(super) fn reaching<'a>(&self, runs: &'a [Run], i: usize) -> &'a [Run] {
        let at = (i * self.step[0]) as isize;
        let above = |run: &Run| at + run.dy < 0;
        let inside = |run: &Run| at + run.dy < self.source[0] as isize;
        // Most rows; two searches take as long as some steps of a tile.
        if let [first, .., last] = runs
            && !above(first)
            && inside(last)
        {
            return runs;
        }
        &runs[runs.partition_point(above)..runs.partition_point(inside)]
    }

    /// The rows [first, end) of a phase for which the source row `dy` from their own exists.
    pub(super) fn rows_reached(&self, phase: &Phase, dy: isize) -> [usize; 2] {
        let step = self.step[0];
        let first = (-dy).max(0) as usize;
        let end = (self.source[0] as isize - dy).max(0) as usize;
        let end = end.div_ceil(step).min(phase.size[0]);
        [first.div_ceil(step).min(end), end]
    }
}
