//! Input gradient where x has few channels: every pixel of gy scatters to what its taps reach.
//!
//! ```text
//! for images, blocks of rows of gy:               // images on threads
//!     z[tap, channel][pixel] = w gy^T             // one matrix product
//!     for tap, channel, row of the block:
//!         plane[channel][row + dy] += z row, shifted by dx
//!     interleave the planes of a finished image into gx
//! ```
//!
//! 1. The gather kernel's vectors run over channels of x: with one channel it uses one lane of
//!    sixteen. Here vectors run over pixels, and the product's lanes are full.
//! 2. The sums over taps are additions of whole rows, 1 for every 2 x out_channels operations.
//! 3. With a stride, a plane keeps columns of one residue together, so the rows that are added
//!    stay contiguous.
//! 4. z of a block is small enough to stay in the cache, and about a whole number of the
//!    product's panels wide; blocks go on across images for that.

use super::Conv2d;
use super::panel::Limits;
use super::plan::{Plan, Run};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::gemm::{Beta, Epilogue, Mat, gemm};
use crate::parallel::{self, Shared, each};
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// Bytes of z, at most (but for one row).
const BLOCK: usize = 64 << 10;
/// Columns of the product's panels: a multiple of what any instruction set has.
const PANEL: usize = 32;
/// Multiplications of one job, about.
const JOB: usize = 1 << 22;

/// Whether this way is faster than gathering: the lanes it fills are worth the additions.
pub(super) fn pays<T: Element>(g: &Conv2d, isa: Isa) -> bool {
    g.in_channels * 2 <= Limits::of::<T>(isa).lanes && g.out_channels >= 8
}

/// One row of z: where it is added.
#[derive(Clone, Copy, Default)]
struct Target {
    dy: isize,
    /// The start of its row in the planes of source row 0.
    at: usize,
}
impl crate::buffer::Plain for Target {}

/// The gradient by x.
pub(super) fn input_gradient<T: Element>(g: &Conv2d, gy: &[T], w: &[T], beta: Beta, gx: &mut [T]) {
    let isa = Isa::current();
    let plan = Plan::forward(g);
    let (ci, co) = (g.in_channels, g.out_channels);
    let rows = g.taps.count() * ci;
    if rows == 0 || gx.is_empty() || plan.result.contains(&0) {
        if beta == Beta::Zero {
            gx.fill(T::ZERO);
        }
        return;
    }
    let planes = Planes::new(&plan);
    let mut weights = Buffer::recycled(rows * co);
    let mut targets = Buffer::filled(rows, Target::default());
    let mut row = 0;
    let phase = plan.phases()[0];
    for run in plan.runs(&phase) {
        for q in 0..run.len / ci {
            let tap = run.tap.wrapping_add_signed(q as isize * run.tap_step);
            for k in 0..ci {
                let from = &w[(tap * ci + k) * co..][..co];
                weights[row * co..][..co].copy_from_slice(from);
                targets[row] = planes.target(run, q, k);
                row += 1;
            }
        }
    }
    let image = plan.source.iter().product::<usize>();
    let work = rows * co * plan.result[0] * plan.result[1];
    // By shape alone: how a product is cut may show in its last bits.
    let jobs = (work * g.batch).div_ceil(JOB).clamp(1, g.batch.min(64));
    let shared = Shared(gx.as_mut_ptr());
    let gy_image = plan.result.iter().product::<usize>();
    each(jobs, |job| {
        let (first, end) = (g.batch * job / jobs, g.batch * (job + 1) / jobs);
        // SAFETY: images [first, end) of gx are this job's alone.
        let gx = unsafe {
            let at = shared.get().add(first * image);
            std::slice::from_raw_parts_mut(at, (end - first) * image)
        };
        let gy = &gy[first * gy_image..end * gy_image];
        let weights = Mat::new(&weights, rows, co);
        isa.scoped(|| parallel::serial(|| planes.images(isa, weights, &targets, gy, beta, gx)));
    });
}

/// Sums of one image: `[channels][source rows][residues of the stride][columns]`.
struct Planes<'a> {
    plan: &'a Plan,
    /// Columns of one residue.
    cols: usize,
    /// Elements of one source row of one channel.
    row: usize,
}

impl Planes<'_> {
    fn new(plan: &Plan) -> Planes<'_> {
        let cols = plan.pitch().div_ceil(plan.step[1]);
        Planes {
            plan,
            cols,
            row: cols * plan.step[1],
        }
    }

    /// Where channel `k` of tap `q` of a run is added.
    fn target(&self, run: &Run, q: usize, k: usize) -> Target {
        let col = (self.plan.margin[0] as isize + run.dx[0]) as usize + q;
        Target {
            dy: run.dy,
            at: k * self.plan.source[0] * self.row + self.place(col),
        }
    }

    /// Where a column, counted from the left margin's first, is in a row.
    fn place(&self, col: usize) -> usize {
        let stride = self.plan.step[1];
        col % stride * self.cols + col / stride
    }

    /// Whole images.
    fn images<T: Element>(
        &self,
        isa: Isa,
        weights: Mat<T>,
        targets: &[Target],
        gy: &[T],
        beta: Beta,
        gx: &mut [T],
    ) {
        let [height, width, channels] = self.plan.source;
        let [rows, cols, co] = self.plan.result;
        let total = gy.len() / (cols * co);
        let block = block_rows(cols, BLOCK / (targets.len() * size_of::<T>())).min(total);
        let mut z = Buffer::recycled(targets.len() * block * cols);
        let mut sums = Buffer::filled(channels * height * self.row, T::ZERO);
        for first in (0..total).step_by(block) {
            let count = block.min(total - first);
            let pixels = count * cols;
            let z = &mut z[..targets.len() * pixels];
            let block_gy = Mat::new(&gy[first * cols * co..][..pixels * co], pixels, co);
            gemm(weights, block_gy.t(), Beta::Zero, z, Epilogue::NONE);
            let mut done = 0;
            while done < count {
                let (image, row) = ((first + done) / rows, (first + done) % rows);
                let some = (rows - row).min(count - done);
                let add = Add {
                    planes: self,
                    targets,
                    z: &z[done * cols..],
                    z_row: pixels,
                    rows: [row, row + some],
                    sums: &mut sums,
                };
                dispatch(isa, add);
                done += some;
                if row + some == rows {
                    let gx = &mut gx[image * height * width * channels..];
                    self.interleave(&sums, beta, &mut gx[..height * width * channels]);
                    sums.fill(T::ZERO);
                }
            }
        }
    }

    /// Planes without their margins to pixels of channels.
    fn interleave<T: Element>(&self, sums: &[T], beta: Beta, gx: &mut [T]) {
        let [height, width, channels] = self.plan.source;
        let left = self.plan.margin[0];
        for i in 0..height {
            for k in 0..channels {
                let from = &sums[(k * height + i) * self.row..][..self.row];
                let to = &mut gx[i * width * channels..][..width * channels];
                if channels == 1 && self.plan.step[1] == 1 && beta == Beta::Zero {
                    to.copy_from_slice(&from[left..][..width]);
                    continue;
                }
                for (j, to) in to[k..].iter_mut().step_by(channels).enumerate() {
                    let from = from[self.place(left + j)];
                    *to = match beta {
                        Beta::Zero => from,
                        Beta::One => *to + from,
                    };
                }
            }
        }
    }
}

/// Rows that make about whole panels of pixels, of at most `pixels` in all but at least one.
fn block_rows(cols: usize, pixels: usize) -> usize {
    let most = (pixels / cols).clamp(1, 64);
    let filled = |rows: &usize| {
        let pixels = rows * cols;
        (pixels * 1000 / pixels.next_multiple_of(PANEL), *rows)
    };
    (1..=most).max_by_key(filled).unwrap_or(1)
}

/// Rows [first, end) of one image, all taps.
struct Add<'a, T> {
    planes: &'a Planes<'a>,
    targets: &'a [Target],
    /// One row of these a target; its row `first` comes first.
    z: &'a [T],
    z_row: usize,
    rows: [usize; 2],
    sums: &'a mut [T],
}

impl<T: Element> Kernel<T> for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let plan = self.planes.plan;
        let phase = plan.phases()[0];
        let cols = plan.result[1];
        for (target, z) in self.targets.iter().zip(self.z.chunks(self.z_row)) {
            let [first, end] = plan.rows_reached(&phase, target.dy);
            for i in first.max(self.rows[0])..end.min(self.rows[1]) {
                let row = ((i * plan.step[0]) as isize + target.dy) as usize;
                let sums = &mut self.sums[target.at + row * self.planes.row..][..cols];
                let z = &z[(i - self.rows[0]) * cols..][..cols];
                for (sums, z) in sums.chunks_mut(V::LANES).zip(z.chunks(V::LANES)) {
                    (V::load_partial(sums) + V::load_partial(z)).store_partial(sums);
                }
            }
        }
    }
}
