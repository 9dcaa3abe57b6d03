//! How a product is shared among threads.
//!
//! 1. c is cut into a grid of rectangles and each is a product of its own on one thread: no
//!    barrier between packing and multiplying, one join in all. What it costs is that a part of b
//!    is packed once for each cut of the rows; the grid is chosen to keep that small.
//! 2. There are more rectangles than threads if the work allows, so a thread that was held up
//!    does not hold up the others.
//! 3. The grid may depend on the number of threads, since no cut of c changes a bit (reason 4 of
//!    `block`).

use super::block::{self, Product};
use crate::parallel;
use rayon::prelude::*;

/// Multiply-adds below which a product stays on its thread.
const WORTH_SHARING: usize = 1 << 20;

/// Computes all of c.
pub(super) fn run(x: &Product) {
    let (m, k, n) = (x.a.rows, x.a.cols, x.b.cols());
    let threads = parallel::threads();
    let work = m * n * k.max(1);
    if threads == 1 || work < WORTH_SHARING {
        // SAFETY: the rectangle is all of c, and nobody else has it.
        return unsafe { block::run(x, 0..m, 0..n) };
    }
    let (mr, nr) = (x.kernels.mr(), x.kernels.nr());
    let (down, across) = grid(m.div_ceil(mr), n.div_ceil(nr), work, threads, (m, n));
    let part = |i: usize, parts: usize, len: usize, unit: usize| {
        let units = len.div_ceil(unit);
        let edge = |i: usize| (i * units / parts * unit).min(len);
        edge(i)..edge(i + 1)
    };
    (0..down * across)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let rows = part(task / across, down, m, mr);
            let cols = part(task % across, across, n, nr);
            // SAFETY: the rectangles of different tasks do not overlap, and columns are cut at
            // multiples of NR.
            unsafe { block::run(x, rows, cols) }
        });
}

/// How many parts the rows and the columns are cut into.
fn grid(
    row_blocks: usize,
    panels: usize,
    work: usize,
    threads: usize,
    (m, n): (usize, usize),
) -> (usize, usize) {
    let tasks = threads * (work / (4 * threads * WORTH_SHARING)).clamp(1, 4);
    let mut best = (f64::INFINITY, (1, 1));
    for down in 1..=tasks.min(row_blocks) {
        let across = (tasks / down).clamp(1, panels);
        let rounds = (down * across).div_ceil(threads);
        // Time of the slowest thread: multiply-adds of the largest rectangle, and packing, where
        // an element of b takes as long as 8 rows of multiplying, one of a as long as 8 columns.
        let (high, wide) = (row_blocks.div_ceil(down), panels.div_ceil(across));
        let (high, wide) = (
            high as f64 * m as f64 / row_blocks as f64,
            wide as f64 * n as f64 / panels as f64,
        );
        let time = rounds as f64 * (high * wide + 8.0 * (high + wide));
        if time < best.0 {
            best = (time, (down, across));
        }
    }
    best.1
}
