//! Weight gradient: for every tap, gw\[tap\] += (x shifted by the tap)^T gy.
//!
//! ```text
//! for chunks of images, strips of output channels:    // jobs side by side, a sum each
//!     for groups of images, blocks of rows:
//!         copy x rows between zero margins            // only where taps fall beside the image
//!         for panel of output channels:
//!             copy its part of gy                     // only where it is far from contiguous
//!             add it up                               // only if there is a bias
//!             for run, tile of the run's (tap, channel) pairs:
//!                 microkernel over the pixels of the block whose tap row exists
//! gw = sums of the chunks in their order
//! ```
//!
//! 1. The sums stay in registers over all pixels of a block: gw is read and written once a block.
//!    A block is as many rows of one image, or where images are small as many of them, as make
//!    that exchange rare, and a panel of its gy still fits the first-level cache: it is read by
//!    every tile, x by one tile of each tap.
//! 2. How images are cut into chunks depends on the shape alone, so the sums do not depend on
//!    the number of threads. A chunk has so many pixels that adding its sum is a small part.

use super::Conv2d;
use super::gy::{self, Gy, Pixels};
use super::image::Images;
use super::micro::{self, Pieces};
use super::panel::{Limits, Panel, cut};
use super::plan::{Plan, Run};
use super::winograd::{self, Form};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::flops;
use crate::gemm::Beta;
use crate::parallel::{self, Shared, each};
use crate::reduce;
use crate::simd::Isa;
use std::ops::Range;

/// Multiplications of one chunk, at least.
const CHUNK: usize = 1 << 22;
/// Pixels of one chunk, at least.
const CHUNK_PIXELS: usize = 2048;
/// Chunks, at most.
const CHUNKS: usize = 16;
/// Pixels of one block of rows, about.
const BLOCK_PIXELS: usize = 192;
/// Bytes of x and gy of one block of rows, at most (but for one row).
const BLOCK: usize = 512 << 10;
/// Tiles that read a panel of gy, at least, for it to be copied.
const WORTH_COPYING: usize = 16;
/// Pixels of one group of images, at least: with sums that leave the second-level cache more.
const GROUP_PIXELS: [usize; 2] = [128, 256];
const LARGE: usize = 512 << 10;

/// The gradient by w, and the gradient by the bias to `gb`, if it is not empty.
pub(super) fn weight_gradient<T: Element>(
    g: &Conv2d,
    x: &[T],
    gy: &[T],
    beta: Beta,
    gw: &mut [T],
    gb: &mut [T],
) {
    let isa = Isa::current();
    let plan = Plan::forward(g);
    let pixels = plan.result[0] * plan.result[1];
    let work = plan.len() * pixels * g.out_channels;
    if work == 0 || g.batch == 0 {
        if beta == Beta::Zero {
            gw.fill(T::ZERO);
        }
        if !gb.is_empty() {
            reduce::sum_columns(gy, gb);
        }
        return;
    }
    let form = Form::paying(g, &plan);
    flops::add(|| form.as_ref().map_or(g.flops(), |form| form.flops(g)));
    let images = (CHUNK / work)
        .max(CHUNK_PIXELS / pixels)
        .max(g.batch.div_ceil(CHUNKS))
        .max(1);
    let chunks = g.batch.div_ceil(images);
    let (len, bias) = (gw.len(), gb.len());
    let mut others = Buffer::<T>::recycled((chunks - 1) * (len + bias));
    if beta == Beta::Zero {
        clear_unused(&plan, gw);
    }
    for other in others.chunks_exact_mut(len + bias) {
        clear_unused(&plan, &mut other[..len]);
    }
    let all = Limits::of::<T>(isa).panels(g.out_channels, usize::MAX);
    let panels = all.clone().count();
    // Strips share no sum, so their number is free.
    let strips = match parallel::threads() {
        1 => 1,
        threads => (2 * threads).div_ceil(chunks).min(panels),
    };
    let [first_gw, first_gb, rest] =
        [gw.as_mut_ptr(), gb.as_mut_ptr(), others.as_mut_ptr()].map(Shared);
    each(chunks * strips, |job| {
        let (chunk, strip) = (job / strips, job % strips);
        let (gw, gb) = match chunk {
            0 => (first_gw.get(), first_gb.get()),
            _ => {
                // SAFETY: the sums of a chunk begin where those of the one before it end.
                let gw = unsafe { rest.get().add((chunk - 1) * (len + bias)) };
                (gw, gw.wrapping_add(len))
            }
        };
        let fresh = chunk > 0 || beta == Beta::Zero;
        let gb = if bias > 0 { gb } else { std::ptr::null_mut() };
        let (first, end) = (chunk * images, ((chunk + 1) * images).min(g.batch));
        let panels = [panels * strip / strips, panels * (strip + 1) / strips];
        if let Some(form) = &form {
            let sum = winograd::Sum {
                form,
                isa,
                x,
                gy,
                gw,
                fresh,
                gb,
                panels: all.clone().skip(panels[0]).take(panels[1] - panels[0]),
            };
            return sum.images(first, end);
        }
        let sum = Sum {
            plan: &plan,
            isa,
            x,
            gy,
            gw,
            fresh,
            gb,
            panels,
        };
        sum.images(first, end);
    });
    for other in others.chunks_exact(len + bias) {
        let sums = gw.iter_mut().chain(&mut *gb);
        for (sum, &other) in sums.zip(other) {
            *sum = *sum + other;
        }
    }
}

/// Sets to 0 what no run reaches: taps that are not used, or that only meet rows beside the image.
fn clear_unused<T: Element>(plan: &Plan, gw: &mut [T]) {
    let channels = plan.source[2];
    let phase = plan.phases()[0];
    let reaches = |run: &&Run| {
        let [a, b] = plan.rows_reached(&phase, run.dy);
        a < b
    };
    let tap_len = channels * plan.result[2];
    for (tap, gw) in gw.chunks_exact_mut(tap_len).enumerate() {
        let used = plan.runs(&phase).iter().filter(reaches).any(|run| {
            let of_run = run.len / channels;
            (0..of_run).any(|q| run.tap.wrapping_add_signed(q as isize * run.tap_step) == tap)
        });
        if !used {
            gw.fill(T::ZERO);
        }
    }
}

/// The sum over some images, for some panels of output channels.
struct Sum<'a, T> {
    plan: &'a Plan,
    isa: Isa,
    x: &'a [T],
    gy: &'a [T],
    gw: *mut T,
    /// Whether gw is overwritten, not added to.
    fresh: bool,
    /// Overwritten, unless it is null.
    gb: *mut T,
    panels: [usize; 2],
}

impl<T: Element> Sum<'_, T> {
    /// Adds images [first, end).
    fn images(&self, first: usize, end: usize) {
        let plan = self.plan;
        let [rows, cols, co] = plan.result;
        let x_len: usize = plan.source.iter().product();
        let large = plan.len() * co * size_of::<T>() > LARGE;
        let group = (GROUP_PIXELS[usize::from(large)] / (rows * cols)).clamp(1, end - first);
        let x_row = plan.pitch() * plan.source[2] * plan.step[0];
        let block = match group {
            1 => (BLOCK / ((x_row + cols * co) * size_of::<T>()))
                .min(BLOCK_PIXELS.div_ceil(cols))
                .max(1),
            _ => rows,
        };
        let limits = Limits::of::<T>(self.isa);
        let tiles = plan.len().div_ceil(limits.rows(2).max(1));
        let several = limits.panels(co, usize::MAX).count() > 1;
        let mut panel = Buffer::recycled(if several && tiles >= WORTH_COPYING {
            group * block * cols * Limits::WIDEST * limits.lanes
        } else {
            0
        });
        let mut images = Images::new(plan, self.isa, group);
        if !self.gb.is_null() {
            for panel in self.panels(co) {
                // SAFETY: the panel's part of the bias's gradient belongs to this job.
                unsafe {
                    let gb = self.gb.add(panel.first);
                    (0..panel.count).for_each(|i| gb.add(i).write(T::ZERO));
                }
            }
        }
        for n in (first..end).step_by(group) {
            let count = group.min(end - n);
            images.set(&self.x[n * x_len..][..count * x_len]);
            for top in (0..rows).step_by(block) {
                let bottom = (top + block).min(rows);
                let fresh = self.fresh && n == first;
                self.block(&mut images, &mut panel, fresh, n, count, [top, bottom]);
            }
        }
    }

    /// The panels of output channels that this sum is for.
    fn panels(&self, channels: usize) -> impl Iterator<Item = Panel> + Clone {
        Limits::of::<T>(self.isa)
            .panels(channels, usize::MAX)
            .skip(self.panels[0])
            .take(self.panels[1] - self.panels[0])
    }

    /// Adds rows [top, bottom) of `count` images from `n`; if `fresh`, to nothing where no block
    /// above has reached. Panels of gy are copied to `copy`, unless it is empty.
    fn block(
        &self,
        images: &mut Images<'_, T>,
        copy: &mut [T],
        fresh: bool,
        n: usize,
        count: usize,
        block: [usize; 2],
    ) {
        let plan = self.plan;
        let [top, bottom] = block;
        let [rows, cols, co] = plan.result;
        let [height, width, channels] = plan.source;
        let phase = plan.phases()[0];
        let runs = plan.runs(&phase);
        let reach = |i: usize, dy: isize| {
            ((i * plan.step[0]) as isize + dy).clamp(0, height as isize) as usize
        };
        let low = reach(top, runs[0].dy);
        let high = reach(bottom - 1, runs[runs.len() - 1].dy + 1);
        let x = images.rows(low, high);
        // The next block follows this one in memory.
        let gy_len = count * (bottom - top) * cols * co;
        let gy_next = self
            .gy
            .as_ptr()
            .wrapping_add((n * rows + top) * cols * co + gy_len);
        let x_next = ((n + count - 1) * height + high) * width * channels;
        let x_next = self.x.as_ptr().wrapping_add(x_next);
        let x_len = count * (bottom - top) * plan.step[0] * width * channels;
        let limits = Limits::of::<T>(self.isa);
        let panels = self.panels(co);
        let tiles = |run: &Run, panel: Panel| cut(run.len, limits.rows(panel.vectors));
        let count_tiles = |run| {
            panels
                .clone()
                .map(|panel| tiles(run, panel).count())
                .sum::<usize>()
        };
        let pieces = runs.iter().map(count_tiles).sum::<usize>().div_ceil(2);
        let mut piece = 0;
        let x_row = plan.pitch() * channels * plan.step[0];
        let x_step = plan.step[1] * channels;
        for panel in panels.clone() {
            let gy = self.panel(copy, panel, n..n + count, block);
            for run in runs {
                let [first, b] = plan.rows_reached(&phase, run.dy);
                let (a, b) = (first.max(top), b.min(bottom));
                if a >= b {
                    continue;
                }
                let x = x.wrapping_add(a * x_row).wrapping_offset(run.x);
                let steps = count * (b - a) * cols;
                let next = [(gy_next, gy_len), (x_next, x_len)]
                    .map(|(at, len)| (at, Pieces::new::<T>(len, pieces, steps)));
                for (pair, size) in tiles(run, panel) {
                    let (next, share) = next[piece % 2];
                    // Rows without margins are one long row: a loop over few pixels ends in a
                    // branch that is often mispredicted.
                    let (long_rows, long_cols) = if x_row == cols * x_step {
                        (1, (b - a) * cols)
                    } else {
                        (b - a, cols)
                    };
                    let tile = micro::Outer {
                        x: x.wrapping_add(pair),
                        x_step,
                        x_row_step: x_row,
                        x_image_step: images.step(),
                        gy: gy.start.wrapping_add((a - top) * cols * gy.step),
                        gy_step: gy.step,
                        gy_row_step: cols * gy.step,
                        gy_image_step: gy.image_step,
                        images: count,
                        rows: long_rows,
                        cols: long_cols,
                        gw: self
                            .gw
                            .wrapping_add((run.tap * channels + pair) * co + panel.first),
                        gw_step: co,
                        fresh: fresh && first >= top,
                        ahead: share.get(next, piece / 2),
                        last: panel.last,
                    };
                    piece += 1;
                    let ragged = panel.last < limits.lanes;
                    let instance = T::INSTANCES.outer(panel.vectors, size, ragged);
                    // SAFETY: rows [a, b) of the run exist in the source and were copied, margins
                    // hold every column; gy and gw have the plan's sizes, and so has a copy of gy.
                    unsafe { instance(self.isa, &tile) };
                }
            }
        }
    }

    /// A panel of rows [top, bottom) of gy of some images: where it lies, or copied. Its sums are
    /// added to the bias's gradient on the way.
    fn panel(
        &self,
        copy: &mut [T],
        panel: Panel,
        images: Range<usize>,
        block: [usize; 2],
    ) -> Gy<T> {
        let [top, bottom] = block;
        let [rows, cols, co] = self.plan.result;
        let in_place = Gy {
            start: self.gy[(images.start * rows + top) * cols * co + panel.first..].as_ptr(),
            step: co,
            image_step: rows * cols * co,
        };
        if copy.is_empty() && self.gb.is_null() {
            return in_place;
        }
        let of = Pixels {
            images: images.len(),
            pixels: (bottom - top) * cols,
        };
        let width = panel.vectors * Limits::of::<T>(self.isa).lanes;
        let to = if copy.is_empty() {
            std::ptr::null_mut()
        } else {
            copy[..of.images * of.pixels * width].as_mut_ptr()
        };
        let sums = if self.gb.is_null() {
            self.gb
        } else {
            self.gb.wrapping_add(panel.first)
        };
        // SAFETY: the images have these rows, the copy has room for whole vectors of each pixel,
        // and the panel's part of the bias's gradient belongs to this job.
        unsafe { gy::pass(self.isa, panel, of, in_place, to, sums) };
        if copy.is_empty() {
            return in_place;
        }
        Gy {
            start: to,
            step: width,
            image_step: of.pixels * width,
        }
    }
}
