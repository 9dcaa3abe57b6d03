//! Forward and input gradient: every pixel of the result gathers what its taps reach.
//!
//! ```text
//! pack the weights by phase and panel             // once, on the calling thread
//! for images, strips of rows:                     // jobs side by side
//!     for phase, block of rows:
//!         copy source rows between zero margins   // only where taps fall beside the image
//!         for panel of result channels:
//!             for row of the block, tile of its pixels:
//!                 microkernel over the runs that reach source rows
//! ```
//!
//! 1. A block is one row if all weights fit the first-level cache beside it: then a source row
//!    is copied, used by all panels while it is hot, and done. Otherwise it is as many rows as
//!    the second-level cache holds, so a panel of weights is used for all of them in turn.
//! 2. Runs above or below the image are left out, not multiplied by zeros.
//! 3. A job is any range of rows: no sum crosses jobs, so results do not depend on their number.

use super::Conv2d;
use super::arranged::{Found, Way, Weights};
use super::image::Images;
use super::micro::{self, Pieces};
use super::panel::{Limits, Panel, cut};
use super::plan::{Phase, Plan, Run};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::gemm::Activation;
use crate::parallel::{self, Shared, each};
use crate::simd::Isa;
use std::ops::Range;

/// Weights up to this many bytes stay in the second-level cache.
const RESIDENT: usize = 512 << 10;
/// Source rows of one block, in bytes.
const BLOCK: usize = 256 << 10;
/// Below this many multiplications a job is not worth a thread.
const JOB: usize = 1 << 18;

/// The weights in the order the microkernels read them.
pub(super) struct Packed<'a, T: Element> {
    /// By phase, panel, number of the runs, channel of the panel; short vectors filled with 0.
    pub(super) data: Found<'a, T>,
    /// By panel; empty if there is no bias.
    pub(super) bias: Buffer<T>,
    /// Channels with those that fill up short vectors.
    pub(super) width: usize,
}

impl<'a, T: Element> Packed<'a, T> {
    /// `fill(tap, panel, to)` writes the weights of a tap, `panel.width(lanes)` a source channel.
    pub(super) fn new(
        (plan, way, g, isa): (&Plan, Way, &Conv2d, Isa),
        w: Weights<'a, T>,
        bias: Option<&[T]>,
        fill: impl Fn(usize, Panel, &mut [T]),
    ) -> Self {
        let limits = Limits::of::<T>(isa);
        let (channels, lanes) = (plan.result[2], limits.lanes);
        let width = channels.next_multiple_of(lanes);
        let data = w.arranged(way, g, isa, plan.len() * width, |data| {
            for phase in plan.phases() {
                let mut rest = &mut data[phase.before * width..][..phase.len * width];
                for panel in limits.panels(channels, phase.size[1]) {
                    for run in plan.runs(phase) {
                        let taps = run.len / plan.source[2].max(1);
                        for q in 0..taps {
                            let tap = run.tap.wrapping_add_signed(q as isize * run.tap_step);
                            let len = plan.source[2] * panel.vectors * lanes;
                            let (to, more) = rest.split_at_mut(len);
                            fill(tap, panel, to);
                            rest = more;
                        }
                    }
                }
            }
        });
        Packed::with_bias(data, channels, width, bias)
    }

    /// Weights that are in order, and a bias of `channels` numbers that is filled up to `width`.
    pub(super) fn with_bias(
        data: Found<'a, T>,
        channels: usize,
        width: usize,
        bias: Option<&[T]>,
    ) -> Self {
        let mut padded = Buffer::filled(if bias.is_some() { width } else { 0 }, T::ZERO);
        if let Some(bias) = bias {
            padded[..channels].copy_from_slice(bias);
        }
        Packed {
            data,
            bias: padded,
            width,
        }
    }
}

/// What is added to a result before the activation.
#[derive(Clone, Copy)]
pub(super) enum Plus<'a, T> {
    Nothing,
    Numbers(&'a [T]),
    /// What the result holds.
    Itself,
}

/// How `lines` lines of each of some images are handed to threads: strips of an image, units in
/// all, and jobs.
fn jobs(work: usize, images: usize, lines: usize) -> (usize, usize, usize) {
    let threads = parallel::threads();
    let jobs = if threads == 1 {
        1
    } else {
        (threads * 4).min(work.div_ceil(JOB)).max(1)
    };
    let strips = jobs.div_ceil(images.max(1)).min(lines).max(1);
    let units = images * strips;
    (strips, units, jobs.min(units))
}

/// Some lines of one image: part `strip` of `strips`.
pub(super) struct Strip<'a, T> {
    /// The whole image of the source.
    pub(super) source: &'a [T],
    /// The whole image of the result.
    pub(super) result: *mut T,
    /// What is added to it, or null.
    pub(super) plus: *const T,
    strip: usize,
    strips: usize,
}

impl<T> Strip<'_, T> {
    /// Its part of so many lines.
    pub(super) fn of(&self, lines: usize) -> Range<usize> {
        lines * self.strip / self.strips..lines * (self.strip + 1) / self.strips
    }
}

/// Cuts all images into strips of their `lines` and these into jobs: each begins with `begin`, and
/// does `strip` after strip. `work` is as in [`jobs`].
pub(super) fn each_strip<'s, T: Element, S>(
    plan: &Plan,
    (work, lines): (usize, usize),
    source: &'s [T],
    plus: Plus<'_, T>,
    result: &mut [T],
    begin: impl Fn() -> S + Sync,
    strip: impl Fn(&mut S, Strip<'s, T>) + Sync,
) {
    let [from, to] = [&plan.source, &plan.result].map(|image| image.iter().product::<usize>());
    let (strips, units, jobs) = jobs(work, plan.batch, lines);
    let shared = Shared(result.as_mut_ptr());
    each(jobs, |job| {
        let mut state = begin();
        for unit in units * job / jobs..units * (job + 1) / jobs {
            let n = unit / strips;
            // SAFETY: image `n` lies inside the result; strips of it are disjoint lines.
            let result = unsafe { shared.get().add(n * to) };
            let of_image = Strip {
                source: &source[n * from..][..from],
                result,
                plus: match plus {
                    Plus::Nothing => std::ptr::null(),
                    Plus::Numbers(plus) => plus[n * to..].as_ptr(),
                    Plus::Itself => result,
                },
                strip: unit % strips,
                strips,
            };
            strip(&mut state, of_image);
        }
    });
}

/// Computes the whole result.
pub(super) fn gather<T: Element>(
    plan: &Plan,
    isa: Isa,
    source: &[T],
    packed: &Packed<'_, T>,
    plus: Plus<T>,
    activation: Activation,
    result: &mut [T],
) {
    let work = plan.len() * plan.result.iter().product::<usize>() * plan.batch;
    let work = (work, plan.result[0]);
    let begin = || Images::new(plan, isa, 1);
    each_strip(plan, work, source, plus, result, begin, |image, strip| {
        image.set(strip.source);
        let unit = Unit {
            plan,
            isa,
            packed,
            plus: strip.plus,
            activation,
            result: strip.result,
        };
        for phase in plan.phases() {
            let rows = strip.of(phase.size[0]);
            unit.phase(phase, [rows.start, rows.end], image);
        }
    });
}

/// How the rows of a phase are cut into tiles. It is found once for all of them: with few steps, a
/// tile takes no longer than ten divisions.
struct Tiling<C, P> {
    /// Columns: the first and how many.
    cols: C,
    /// Panels and where their weights begin.
    panels: P,
    tallest: usize,
    /// What they bring in.
    pieces: Pieces,
}

/// One image of the result, or some rows of it.
struct Unit<'a, T: Element> {
    plan: &'a Plan,
    isa: Isa,
    packed: &'a Packed<'a, T>,
    /// What is added to the result, or null.
    plus: *const T,
    activation: Activation,
    result: *mut T,
}

impl<T: Element> Unit<'_, T> {
    /// Rows [first, end) of a phase.
    fn phase(&self, phase: &Phase, [first, end]: [usize; 2], image: &mut Images<'_, T>) {
        let (plan, limits) = (self.plan, Limits::of::<T>(self.isa));
        let channels = plan.source[2];
        let runs = plan.runs(phase);
        let bytes = |numbers: usize| numbers * size_of::<T>();
        let resident = bytes(phase.len * self.packed.width) <= RESIDENT;
        let block = if resident {
            1
        } else {
            let row = bytes(plan.pitch() * channels * plan.step[0]);
            (BLOCK / row.max(1)).max(1)
        };
        let mut before = phase.before * self.packed.width;
        let panels = limits
            .panels(plan.result[2], phase.size[1])
            .map(move |panel| {
                let start = before;
                before += phase.len * panel.vectors * limits.lanes;
                (panel, start)
            });
        let reach = |i: usize, run: &Run| (i * plan.step[0]) as isize + run.dy;
        // An image read in place is asked for a tile ahead.
        let ahead = image.ahead().map_or(
            phase.size[1] * plan.step[0] * plan.step[1] * channels,
            |(_, len)| len,
        );
        let tiling = self.tiling(phase, panels.clone(), ahead);
        for block_first in (first..end).step_by(block) {
            let block_end = (block_first + block).min(end);
            let (low, high) = match (runs.first(), runs.last()) {
                (Some(low), Some(high)) => (reach(block_first, low), reach(block_end - 1, high)),
                _ => (0, -1),
            };
            let inside = |at: isize| at.clamp(0, plan.source[0] as isize) as usize;
            let base = image.rows(inside(low), inside(high + 1));
            if resident {
                let ahead = image.ahead().map(|(at, _)| at);
                self.row(phase, block_first, base, &tiling, ahead);
                continue;
            }
            for panel in panels.clone() {
                let tiling = self.tiling(phase, std::iter::once(panel), 0);
                for i in block_first..block_end {
                    self.row(phase, i, base, &tiling, Some(base));
                }
            }
        }
    }

    /// For some panels, and so many elements that the tiles of a row bring in.
    fn tiling<P: Iterator<Item = (Panel, usize)> + Clone>(
        &self,
        phase: &Phase,
        panels: P,
        ahead: usize,
    ) -> Tiling<impl Iterator<Item = (usize, usize)> + Clone + use<T, P>, P> {
        let widest = panels.clone().map(|(panel, _)| panel.vectors).max();
        let tallest = Limits::of::<T>(self.isa).rows(widest.unwrap_or(1));
        let cols = cut(phase.size[1], tallest);
        let tiles = panels.clone().count() * cols.clone().count();
        Tiling {
            cols,
            panels,
            tallest,
            pieces: Pieces::new::<T>(ahead, tiles, phase.len),
        }
    }

    /// One row of a phase.
    fn row(
        &self,
        phase: &Phase,
        i: usize,
        base: *const T,
        tiling: &Tiling<
            impl Iterator<Item = (usize, usize)> + Clone,
            impl Iterator<Item = (Panel, usize)> + Clone,
        >,
        ahead: Option<*const T>,
    ) {
        let plan = self.plan;
        let limits = Limits::of::<T>(self.isa);
        let reaching = plan.reaching(plan.runs(phase), i);
        let skipped = reaching.first().map_or(0, |first| first.before);
        let channels = plan.source[2];
        let x_step = plan.step[1] * channels;
        let x = base.wrapping_add(i * plan.step[0] * plan.pitch() * channels);
        let w = self.packed.data.as_ptr();
        let [_, cols, result_channels] = plan.result;
        let row = phase.first[0] + i * plan.result_step[0];
        let ahead = ahead.unwrap_or(x.wrapping_add(tiling.tallest * x_step));
        let (y_step, start) = (plan.result_step[1] * result_channels, row * cols);
        // The tiles of a row differ in few of the numbers.
        let mut tile = micro::Gather {
            x,
            x_step,
            runs: reaching.as_ptr(),
            run_count: reaching.len(),
            w,
            y: self.result,
            plus: self.plus,
            y_step,
            last: 0,
            bias: std::ptr::null(),
            ahead: tiling.pieces.get(ahead, 0),
            activation: self.activation,
        };
        let mut piece = 0;
        for (first, size) in tiling.cols.clone() {
            let col = phase.first[1] + first * plan.result_step[1];
            tile.x = x.wrapping_add(first * x_step);
            for (panel, before) in tiling.panels.clone() {
                let at = (start + col) * result_channels + panel.first;
                tile.w = w.wrapping_add(before + skipped * panel.vectors * limits.lanes);
                tile.y = self.result.wrapping_add(at);
                if !self.plus.is_null() {
                    tile.plus = self.plus.wrapping_add(at);
                }
                tile.last = panel.last;
                if !self.packed.bias.is_empty() {
                    tile.bias = self.packed.bias[panel.first..].as_ptr();
                }
                tile.ahead = tiling.pieces.get(ahead, piece);
                piece += 1;
                let instance = T::INSTANCES.gather(panel.vectors, size);
                // SAFETY: `reaching` keeps to rows of the source that exist and were copied,
                // margins hold every column the taps reach; w holds a row of whole vectors for
                // each number of the runs, y is inside the unit's rows.
                unsafe { instance(self.isa, &tile) };
            }
        }
    }
}
