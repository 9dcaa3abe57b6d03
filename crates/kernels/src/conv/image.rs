//! Source images as the microkernels read it: in place, or copied between margins of zeros.

use super::plan::Plan;
use crate::buffer::Buffer;
use crate::element::Element;

/// What one job reads at a time. Margins exist only if a used tap falls beside the image; then
/// rows are copied just before they are first read, so the copy also brings them into the cache.
/// Rows above and below the image are never read: their runs are left out.
pub(super) struct Images<'a, T: Element> {
    plan: &'a Plan,
    count: usize,
    /// Images with margins; empty if none are needed.
    copy: Buffer<T>,
    images: &'a [T],
    /// The rows [first, end) of each image that have been copied.
    copied: [usize; 2],
}

impl<'a, T: Element> Images<'a, T> {
    /// Room for `count` images at a time.
    pub(super) fn new(plan: &'a Plan, count: usize) -> Self {
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
            count,
            copy,
            images: &[],
            copied: [0, 0],
        }
    }

    /// Goes on to other images.
    pub(super) fn set(&mut self, images: &'a [T]) {
        self.images = images;
        self.copied = [0, 0];
    }

    /// Elements from one image to the next where they are read.
    pub(super) fn step(&self) -> usize {
        self.plan.source[0] * self.plan.pitch() * self.plan.source[2]
    }

    /// What will be copied next: as many rows as one row of the result advances. Nothing if the
    /// images are read in place.
    pub(super) fn ahead(&self) -> Option<(*const T, usize)> {
        let row = self.plan.source[1] * self.plan.source[2];
        let at = self.images.as_ptr().wrapping_add(self.copied[1] * row);
        (self.plan.margin != [0, 0]).then_some((at, row * self.plan.step[0]))
    }

    /// The base of pixel (0, 0) of the first image, after making sure that rows [first, end) of
    /// each can be read.
    pub(super) fn rows(&mut self, first: usize, end: usize) -> *const T {
        if self.plan.margin == [0, 0] {
            return self.images.as_ptr();
        }
        let [low, high] = self.copied;
        if low == high {
            self.copy(first..end);
            self.copied = [first, end.max(first)];
        } else {
            self.copy(first..low);
            self.copy(high..end);
            self.copied = [first.min(low), end.max(high)];
        }
        let left = self.plan.margin[0] * self.plan.source[2];
        self.copy.as_ptr().wrapping_add(left)
    }

    fn copy(&mut self, rows: std::ops::Range<usize>) {
        let [height, width, channels] = self.plan.source;
        let (left, width) = (self.plan.margin[0] * channels, width * channels);
        let (pitch, step) = (self.plan.pitch() * channels, self.step());
        let len = height * width;
        // An empty image still has margins.
        let count = self.images.len().checked_div(len).unwrap_or(self.count);
        for n in 0..count {
            let image = &self.images[n * len..][..len];
            for row in rows.clone() {
                let to = &mut self.copy[n * step + row * pitch + left..][..width];
                to.copy_from_slice(&image[row * width..][..width]);
            }
        }
    }
}
