//! Source images as the microkernels read it: in place, or copied between margins of zeros.

use super::plan::Plan;
use crate::buffer::Buffer;
use crate::element::Element;
use crate::simd::{Isa, Kernel, Vector, dispatch};
use std::ops::Range;

/// So many bytes are copied at a time, if an image has them: short rows one by one take longer to
/// begin than to copy.
const AT_ONCE: usize = 4 << 10;

/// What one job reads at a time. Margins exist only if a used tap falls beside the image; then
/// rows are copied soon before they are first read, so the copy also brings them into the cache.
/// Rows above and below the image are never read: their runs are left out.
pub(super) struct Images<'a, T: Element> {
    plan: &'a Plan,
    isa: Isa,
    count: usize,
    /// Images with margins; empty if none are needed.
    copy: Buffer<T>,
    images: &'a [T],
    /// The rows [first, end) of each image that have been copied.
    copied: [usize; 2],
    /// The end of the rows that were wanted last, and when there was something to copy last.
    wanted: [usize; 2],
}

impl<'a, T: Element> Images<'a, T> {
    /// Room for `count` images at a time.
    pub(super) fn new(plan: &'a Plan, isa: Isa, count: usize) -> Self {
        let len = if plan.margin == [0, 0] {
            0
        } else {
            count * plan.source[0] * plan.pitch() * plan.source[2]
        };
        let mut copy = Buffer::recycled(len);
        if len > 0 {
            // Once for all images: what is copied between the margins never reaches them.
            let [left, width] = [plan.margin[0], plan.source[1]].map(|n| n * plan.source[2]);
            for row in copy.chunks_exact_mut(plan.pitch() * plan.source[2]) {
                row[..left].fill(T::ZERO);
                row[left + width..].fill(T::ZERO);
            }
        }
        Images {
            plan,
            isa,
            count,
            copy,
            images: &[],
            copied: [0, 0],
            wanted: [0, 0],
        }
    }

    /// Goes on to other images.
    pub(super) fn set(&mut self, images: &'a [T]) {
        self.images = images;
        (self.copied, self.wanted) = ([0, 0], [0, 0]);
    }

    /// Elements from one image to the next where they are read.
    pub(super) fn step(&self) -> usize {
        self.plan.source[0] * self.plan.pitch() * self.plan.source[2]
    }

    /// What will be copied next, or of that as many rows as one row of the result advances. Nothing
    /// if the images are read in place.
    pub(super) fn ahead(&self) -> Option<(*const T, usize)> {
        let row = self.plan.source[1] * self.plan.source[2];
        let [now, then] = self.wanted;
        let next = self.copied[1] + now.saturating_sub(then);
        let at = self.images.as_ptr().wrapping_add(next * row);
        (self.plan.margin != [0, 0]).then_some((at, row * self.plan.step[0]))
    }

    /// The base of pixel (0, 0) of the first image, after making sure that rows [first, end) of
    /// each can be read.
    pub(super) fn rows(&mut self, first: usize, end: usize) -> *const T {
        if self.plan.margin == [0, 0] {
            return self.images.as_ptr();
        }
        let [low, high] = match self.copied {
            [low, high] if low == high => [first, first],
            copied => copied,
        };
        let mut until = high;
        if end > high {
            let row = self.plan.source[1] * self.plan.source[2] * size_of::<T>() * self.count;
            let some = high + AT_ONCE / row.max(1);
            until = some.min(self.plan.source[0]).max(end);
            self.wanted[1] = end;
        }
        self.copy(first..low);
        self.copy(high..until);
        self.copied = [first.min(low), until];
        self.wanted[0] = end;
        let left = self.plan.margin[0] * self.plan.source[2];
        self.copy.as_ptr().wrapping_add(left)
    }

    fn copy(&mut self, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        let [height, width, channels] = self.plan.source;
        let (left, width) = (self.plan.margin[0] * channels, width * channels);
        let (pitch, step) = (self.plan.pitch() * channels, self.step());
        let len = height * width;
        // An empty image still has margins.
        let count = self.images.len().checked_div(len).unwrap_or(self.count);
        for n in 0..count {
            let from = &self.images[n * len..][rows.start * width..rows.end * width];
            let to = &mut self.copy[n * step + left..][rows.start * pitch..];
            dispatch(self.isa, Copy(from, width, to, pitch));
        }
    }
}

/// Rows that follow each other, to some that are `pitch` apart.
struct Copy<'a, T>(&'a [T], usize, &'a mut [T], usize);

impl<T: Element> Kernel<T> for Copy<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let Copy(from, width, to, pitch) = self;
        if width == 0 {
            return;
        }
        let rest = width % V::LANES;
        for (from, to) in from.chunks_exact(width).zip(to.chunks_mut(pitch)) {
            let to = &mut to[..width];
            for i in (0..width - rest).step_by(V::LANES) {
                V::load(&from[i..]).store(&mut to[i..]);
            }
            if rest > 0 {
                V::load_partial(&from[width - rest..]).store_partial(&mut to[width - rest..]);
            }
        }
    }
}
