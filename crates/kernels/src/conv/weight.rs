//! Weight gradient: for every tap, gw\[tap\] += (x shifted by the tap)^T gy.
//!
//! ```text
//! for chunks of images:                           // jobs side by side, a partial sum each
//!     for image, block of rows:
//!         copy x rows between zero margins        // only where taps fall beside the image
//!         for run, tile of its (tap, channel) pairs, panel of output channels:
//!             microkernel over the pixels of the block whose tap row exists
//! gw = partial sums in the order of the chunks
//! ```
//!
//! 1. The sums stay in registers over all pixels of a block: gw is read and written once a block.
//! 2. How images are cut into chunks depends on the shape alone, so the sums do not depend on
//!    the number of threads.

use super::Conv2d;
use super::gather::{Shared, each};
use super::image::Image;
use super::micro::{self, Ahead, Limits, cut};
use super::plan::Plan;
use crate::buffer::Buffer;
use crate::element::Element;
use crate::simd::Isa;

/// Multiplications of one chunk, at least.
const CHUNK: usize = 1 << 22;
/// Chunks, at most.
const CHUNKS: usize = 16;
/// Bytes of x and gy of one block of rows.
const BLOCK: usize = 64 << 10;

/// The gradient by w.
pub(super) fn weight_gradient<T: Element>(g: &Conv2d, x: &[T], gy: &[T], gw: &mut [T]) {
    let isa = Isa::current();
    let plan = Plan::forward(g);
    let work = plan.len() * plan.result.iter().product::<usize>();
    let images = (CHUNK / work.max(1)).max(g.batch.div_ceil(CHUNKS)).max(1);
    let chunks = g.batch.div_ceil(images);
    gw.fill(T::ZERO);
    if work == 0 {
        return;
    }
    let chunk = |chunk: usize, gw: *mut T| {
        let images = [chunk * images, ((chunk + 1) * images).min(g.batch)];
        sum_images(&plan, isa, images, x, gy, gw);
    };
    if chunks <= 1 {
        (0..chunks).for_each(|c| chunk(c, gw.as_mut_ptr()));
        return;
    }
    let mut partial = Buffer::<T>::recycled(chunks * gw.len());
    let len = gw.len();
    let shared = Shared(partial.as_mut_ptr());
    each(chunks, |c| {
        // SAFETY: each chunk has a part of its own.
        let gw = unsafe { std::slice::from_raw_parts_mut(shared.get().add(c * len), len) };
        gw.fill(T::ZERO);
        chunk(c, gw.as_mut_ptr());
    });
    for partial in partial.chunks_exact(len) {
        for (sum, &part) in gw.iter_mut().zip(partial) {
            *sum = *sum + part;
        }
    }
}

/// Adds the sums over images [first, end) to gw.
fn sum_images<T: Element>(
    plan: &Plan,
    isa: Isa,
    [first, end]: [usize; 2],
    x: &[T],
    gy: &[T],
    gw: *mut T,
) {
    let limits = Limits::of::<T>(isa);
    let [_, cols, co] = plan.result;
    let channels = plan.source[2];
    let (x_len, gy_len) = (plan.source.iter().product(), plan.result.iter().product());
    let row_bytes = (plan.pitch() * channels * plan.step[0] + cols * co) * size_of::<T>();
    let block = (std::env::var("BLK").map_or(BLOCK, |b| b.parse::<usize>().unwrap() << 10)
        / row_bytes.max(1))
    .max(1);
    let x_row = plan.pitch() * channels;
    let phase = plan.phases()[0];
    let runs = plan.runs(&phase);
    let tiles: usize = runs
        .iter()
        .flat_map(|run| limits.panels(co, usize::MAX).map(move |panel| (run, panel)))
        .map(|(run, panel)| cut(run.len, limits.rows(panel.vectors)).count())
        .sum();
    let mut image = Image::new(plan);
    for n in first..end {
        image.set(&x[n * x_len..][..x_len]);
        let gy = &gy[n * gy_len..][..gy_len];
        for top in (0..plan.result[0]).step_by(block) {
            let bottom = (top + block).min(plan.result[0]);
            let reach = |i: usize, dy: isize| {
                ((i * plan.step[0]) as isize + dy).clamp(0, plan.source[0] as isize) as usize
            };
            let low = reach(top, runs[0].dy);
            let high = reach(bottom - 1, runs[runs.len() - 1].dy + 1);
            let base = image.rows(low, high);
            // What the next block reads.
            let next = (bottom + block).min(plan.result[0]) - bottom;
            let gy_ahead = (gy[bottom * cols * co..].as_ptr(), next * cols * co);
            let x_next = next * plan.step[0] * plan.source[1] * channels;
            let x_ahead = match image.ahead() {
                Some((at, _)) => (at, x_next),
                None => (base.wrapping_add(bottom * plan.step[0] * x_row), x_next),
            };
            let pieces = (tiles / 2).max(1);
            let mut piece = 0;
            for run in runs {
                let [a, b] = plan.rows_reached(&phase, run.dy);
                let (a, b) = (a.max(top), b.min(bottom));
                if a >= b {
                    continue;
                }
                let x = base
                    .wrapping_add(a * plan.step[0] * x_row)
                    .wrapping_offset(run.x);
                for panel in limits.panels(co, usize::MAX) {
                    for (pair, size) in cut(run.len, limits.rows(panel.vectors)) {
                        let ahead = if piece % 2 == 0 { gy_ahead } else { x_ahead };
                        let tile = micro::Outer {
                            x: x.wrapping_add(pair),
                            x_step: plan.step[1] * channels,
                            x_row_step: plan.step[0] * x_row,
                            gy: gy[a * cols * co + panel.first..].as_ptr(),
                            gy_step: co,
                            gy_row_step: cols * co,
                            rows: b - a,
                            cols,
                            gw: gw.wrapping_add((run.tap * channels + pair) * co + panel.first),
                            gw_step: co,
                            ahead: Ahead::piece(ahead, piece / 2, pieces, (b - a) * cols),
                            last: panel.last,
                        };
                        piece += 1;
                        let ragged = panel.last < limits.lanes;
                        let instance = T::INSTANCES.outer(panel.vectors, size, ragged);
                        // SAFETY: rows [a, b) of the run exist in the source and were copied,
                        // margins hold every column; gy and gw have the plan's sizes.
                        unsafe { instance(isa, &tile) };
                    }
                }
            }
        }
    }
}
