//! A source image as the microkernels read it: in place, or copied between margins of zeros.

use super::plan::Plan;
use crate::buffer::Buffer;
use crate::element::Element;

/// The source of one job. Margins exist only if a used tap falls beside the image; then rows are
/// copied just before they are first read, so the copy also brings them into the cache. Rows
/// above and below the image are never read: their runs are left out.
pub(super) struct Image<'a, T: Element> {
    plan: &'a Plan,
    /// One image with margins; empty if none are needed.
    copy: Buffer<T>,
    image: &'a [T],
    /// The rows [first, end) that have been copied.
    copied: [usize; 2],
}

impl<'a, T: Element> Image<'a, T> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let [rows, _, channels] = plan.source;
        let len = if plan.margin == [0, 0] {
            0
        } else {
            rows * plan.pitch() * channels
        };
        Image {
            plan,
            copy: Buffer::recycled(len),
            image: &[],
            copied: [0, 0],
        }
    }

    /// Goes on to another image.
    pub(super) fn set(&mut self, image: &'a [T]) {
        self.image = image;
        self.copied = [0, 0];
    }

    /// What will be copied next: as many rows as one row of the result advances. Nothing if the
    /// image is read in place.
    pub(super) fn ahead(&self) -> Option<(*const T, usize)> {
        let row = self.plan.source[1] * self.plan.source[2];
        let at = self.image.as_ptr().wrapping_add(self.copied[1] * row);
        (self.plan.margin != [0, 0]).then_some((at, row * self.plan.step[0]))
    }

    /// The base of source pixel (0, 0), after making sure that rows [first, end) can be read.
    pub(super) fn rows(&mut self, first: usize, end: usize) -> *const T {
        if self.plan.margin == [0, 0] {
            return self.image.as_ptr();
        }
        let [_, cols, channels] = self.plan.source;
        let left = self.plan.margin[0] * channels;
        let (width, pitch) = (cols * channels, self.plan.pitch() * channels);
        let mut copy = |rows: std::ops::Range<usize>| {
            for row in rows {
                let to = &mut self.copy[row * pitch..][..pitch];
                to[..left].fill(T::ZERO);
                to[left..][..width].copy_from_slice(&self.image[row * width..][..width]);
                to[left + width..].fill(T::ZERO);
            }
        };
        let [low, high] = self.copied;
        if low == high {
            copy(first..end);
            self.copied = [first, end.max(first)];
        } else {
            copy(first..low);
            copy(high..end);
            self.copied = [first.min(low), end.max(high)];
        }
        self.copy.as_ptr().wrapping_add(left)
    }
}
