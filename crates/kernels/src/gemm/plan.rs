//! How a product is shared among threads.
//!
//! 1. c is cut into a grid of rectangles and each is a product of its own on one thread: no
//!    barrier between packing and multiplying, one join in all. What it costs is that a part of b
//!    is packed once for each cut of the rows; the grid is chosen to keep that small.
//! 2. There are more rectangles than threads if they take long, so a thread that was held up does
//!    not hold up the others; otherwise as many, since each packs and reads operands of its own.
//! 3. The grid may depend on the number of threads, since no cut of c changes a bit (reason 5 of
//!    `block`).
//! 4. A small c with a long k, as weight gradients have, is cut along k instead, by shape alone:
//!    into partial products, added in the order of k.

use super::block::{self, Product, Rhs};
use super::layout::collide;
use super::{Epilogue, fallback, small};
use crate::buffer::Buffer;
use crate::parallel;
use std::ops::Range;

/// Multiply-adds below which a product stays on its thread.
const WORTH_SHARING: usize = 1 << 20;
/// Multiply-adds, for each thread, that take so long that another half of them may be lost to
/// what else the machine does.
const LONG: usize = 1 << 30;
/// As many columns of multiplying take as long as reading an element of a whose rows are
/// contiguous, and as copying one of those that are not: across the lines of the cache, a part of
/// it anew for each cut of the columns.
const READING_A: f64 = 8.0;
const COPYING_A: f64 = 64.0;
/// As many rows of multiplying take as long as packing an element of b: in passing, and by a pass
/// of its own.
const PACKING_B: f64 = 6.0;
const COPYING_B: f64 = 48.0;
/// Most parts k is cut into; a c of SPLIT * SPLIT_SIZE numbers or more is not cut along k.
const SPLIT: usize = 16;
const SPLIT_SIZE: usize = 1024;

/// Computes all of c, which is not in `x` yet.
pub(super) fn run(mut x: Product, c: &mut [f32]) {
    if small::fits(&x) {
        x.c = c.as_mut_ptr();
        // SAFETY: c is borrowed for writing.
        return unsafe { small::run(&x) };
    }
    let (m, k, n) = (x.a.rows, x.a.cols, x.b.cols());
    let blocks = block::k_blocks(k).len();
    let work = m * n * k.max(1);
    let threads = if work < WORTH_SHARING {
        1
    } else {
        parallel::threads()
    };
    let parts = match blocks {
        1 => 1,
        _ => (SPLIT / (m * n).div_ceil(SPLIT_SIZE)).min(blocks / 2),
    };
    if parts > 1 {
        let mut all = || split(&x, c, blocks, parts);
        return if threads == 1 {
            parallel::serial(all)
        } else {
            all()
        };
    }
    x.c = c.as_mut_ptr();
    let x = &x;
    if threads == 1 {
        // SAFETY: the rectangle is all of c, and nobody else has it.
        return unsafe { block::run(x, 0..m, 0..n, 0..blocks) };
    }
    let tasks = threads * (work / (LONG * threads)).clamp(1, 2);
    let (down, across) = grid(x, threads, tasks);
    let row = |i: usize| i * m / down;
    let col = |i: usize| column(x, i, across);
    parallel::each(down * across, |task| {
        let (i, j) = (task / across, task % across);
        let (rows, cols) = (row(i)..row(i + 1), col(j)..col(j + 1));
        // SAFETY: the rectangles of different tasks do not overlap, and columns of a packed b are
        // cut where panels begin.
        unsafe { block::run(x, rows, cols, 0..blocks) }
    });
}

/// The product as a sum of `parts` products, each over some blocks of k.
fn split(x: &Product, c: &mut [f32], blocks: usize, parts: usize) {
    let (m, n) = (x.a.rows, x.b.cols());
    let mut sums = Buffer::<f32>::recycled(parts * m * n);
    let start = parallel::Shared(sums.as_mut_ptr());
    parallel::each(parts, |part| {
        let blocks: Range<usize> = part * blocks / parts..(part + 1) * blocks / parts;
        let partial = Product {
            c: start.get().wrapping_add(part * m * n),
            c_row_stride: n,
            accumulate: false,
            epilogue: Epilogue::NONE,
            ..*x
        };
        // SAFETY: every part has an m x n matrix of its own inside `sums`.
        unsafe { block::run(&partial, 0..m, 0..n, blocks) }
    });
    for i in 0..m {
        let row = &mut c[i * x.c_row_stride..][..n];
        for part in 0..parts {
            let partial = &sums[(part * m + i) * n..][..n];
            if part == 0 && !x.accumulate {
                row.copy_from_slice(partial);
            } else {
                row.iter_mut().zip(partial).for_each(|(y, x)| *y += x);
            }
        }
    }
    fallback::finish(c, x.c_row_stride, (m, n), x.epilogue);
}

/// Where part `i` of the columns begins, or the last one ends: where a panel does if they are
/// packed, else as evenly as whole vectors allow.
fn column(x: &Product, i: usize, parts: usize) -> usize {
    let n = x.b.cols();
    match x.b {
        Rhs::Packed(..) => x.kernels.panel_start(n, i * x.kernels.panels(n) / parts),
        Rhs::Plain(_) => (i * x.kernels.vectors(n) / parts * x.kernels.lanes).min(n),
    }
}

/// How many parts the rows and the columns are cut into: at most `tasks` in all.
fn grid(x: &Product, threads: usize, tasks: usize) -> (usize, usize) {
    let (m, n) = (x.a.rows, x.b.cols());
    let (row_blocks, panels) = (m.div_ceil(x.kernels.mr()), x.kernels.panels(n));
    let of_a = match x.a.col_stride {
        1 => READING_A,
        _ => COPYING_A,
    };
    let of_b = match x.b {
        Rhs::Packed(..) => 0.0,
        Rhs::Plain(b) if b.col_stride == 1 && !collide(b.row_stride) => PACKING_B,
        Rhs::Plain(_) => COPYING_B,
    };
    let mut best = (f64::INFINITY, (1, 1));
    for down in 1..=tasks.min(row_blocks) {
        let across = (tasks / down).clamp(1, panels);
        let rounds = (down * across).div_ceil(threads);
        // Time of the slowest thread: multiply-adds of the largest rectangle, what becomes of its
        // part of a, and packing.
        let wide = (0..across).map(|j| column(x, j + 1, across) - column(x, j, across));
        let (high, wide) = (m.div_ceil(down) as f64, wide.max().unwrap_or(n) as f64);
        let time = rounds as f64 * (high * wide + of_a * high + of_b * wide);
        if time < best.0 {
            best = (time, (down, across));
        }
    }
    best.1
}
