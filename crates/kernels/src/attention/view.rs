//! How queries, keys, values and their gradients lie in memory.

use super::ahead::Coming;
use super::pattern::Positions;
use crate::simd::prefetch;
use std::fmt;
use std::marker::PhantomData;

/// Distances in a buffer, in elements: row (b, t, h) begins at `b * batch + t * position +
/// h * head`, and its elements follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strides {
    /// From an example to the next.
    pub batch: usize,
    /// From a position to the next.
    pub position: usize,
    /// From a head to the next.
    pub head: usize,
}

impl Strides {
    /// Those of `[batch, length, parts, heads, depth]`: a single tensor has one part, a packed
    /// projection to queries, keys and values three.
    pub fn contiguous(length: usize, parts: usize, heads: usize, depth: usize) -> Strides {
        let position = parts * heads * depth;
        Strides {
            batch: length * position,
            position,
            head: depth,
        }
    }

    pub(super) fn at(&self, b: usize, t: usize, h: usize) -> usize {
        b * self.batch + t * self.position + h * self.head
    }

    /// How many elements a buffer must have, if that number fits.
    pub(super) fn span(&self, [batch, length, heads, depth]: [usize; 4]) -> Option<usize> {
        if batch * length * heads * depth == 0 {
            return Some(0);
        }
        let b = (batch - 1).checked_mul(self.batch)?;
        let t = (length - 1).checked_mul(self.position)?;
        let h = (heads - 1).checked_mul(self.head)?;
        b.checked_add(t)?.checked_add(h)?.checked_add(depth)
    }

    /// Whether no two rows share an element.
    fn disjoint(&self, [batch, length, heads, depth]: [usize; 4]) -> bool {
        if batch * length * heads * depth == 0 {
            return true;
        }
        let mut axes = [
            (self.batch, batch),
            (self.position, length),
            (self.head, heads),
        ];
        axes.sort();
        let mut reach = depth;
        axes.into_iter().all(|(stride, extent)| {
            let apart = extent < 2 || stride >= reach;
            reach += stride * extent.saturating_sub(1);
            apart
        })
    }
}

/// Rows of one operand.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    /// The numbers, starting with row (0, 0, 0).
    pub data: &'a [T],
    /// Where the rows are.
    pub strides: Strides,
}

impl<'a, T> Rows<'a, T> {
    /// Rows with distances of their own.
    pub fn new(data: &'a [T], strides: Strides) -> Self {
        Rows { data, strides }
    }

    /// Queries, keys and values in one buffer `[batch, length, 3, heads, depth]`.
    ///
    /// # Panics
    /// If the buffer is not empty and has less than three rows.
    #[track_caller]
    pub fn packed(data: &'a [T], length: usize, heads: usize, depth: usize) -> [Self; 3] {
        let strides = Strides::contiguous(length, 3, heads, depth);
        [0, 1, 2].map(|part| {
            let from = if data.is_empty() {
                0
            } else {
                part * heads * depth
            };
            Rows::new(&data[from..], strides)
        })
    }

    /// Everything from row (b, t, h) on.
    pub(super) fn from(&self, (b, h): (usize, usize), t: usize) -> &'a [T] {
        &self.data[self.strides.at(b, t, h)..]
    }

    /// Rows of a head that will be read.
    pub(super) fn coming(
        &self,
        at: (usize, usize),
        positions: Positions,
        count: usize,
    ) -> Coming<T> {
        Coming::new(self.data.as_ptr(), self.strides, at, positions, count)
    }
}

/// Rows of one result.
pub struct RowsMut<'a, T> {
    data: *mut T,
    len: usize,
    strides: Strides,
    /// Most heads and most depth for which no row is also another part's.
    most: [usize; 2],
    marker: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`, or for rows of one that no other part of it has.
unsafe impl<T: Send> Send for RowsMut<'_, T> {}
// SAFETY: as above; through a shared reference only `row` writes, whose callers answer for it.
unsafe impl<T: Send> Sync for RowsMut<'_, T> {}

impl<'a, T> RowsMut<'a, T> {
    /// Rows with distances of their own.
    pub fn new(data: &'a mut [T], strides: Strides) -> Self {
        RowsMut {
            data: data.as_mut_ptr(),
            len: data.len(),
            strides,
            most: [usize::MAX; 2],
            marker: PhantomData,
        }
    }

    /// The gradients of queries, keys and values in one buffer `[batch, length, 3, heads, depth]`.
    ///
    /// # Panics
    /// If the buffer does not have whole examples of that shape.
    #[track_caller]
    pub fn packed(data: &'a mut [T], length: usize, heads: usize, depth: usize) -> [Self; 3] {
        let strides = Strides::contiguous(length, 3, heads, depth);
        let len = data.len();
        assert!(
            len == 0 || len.is_multiple_of(strides.batch),
            "attention: {len} elements are not examples of [{length}, 3, {heads}, {depth}]"
        );
        let data = data.as_mut_ptr();
        // Each part's last row ends where that of the third part would, two parts further on.
        let part = heads * depth;
        let len = len.saturating_sub(2 * part);
        [0, 1, 2].map(|i| RowsMut {
            data: data.wrapping_add(if len == 0 { 0 } else { i * part }),
            len,
            strides,
            most: [heads, depth],
            marker: PhantomData,
        })
    }

    /// Whether all rows of this shape exist, apart from each other and from other parts.
    pub(super) fn fits(&self, shape: [usize; 4]) -> bool {
        let [_, _, heads, depth] = shape;
        heads <= self.most[0]
            && depth <= self.most[1]
            && self.strides.disjoint(shape)
            && self.strides.span(shape).is_some_and(|n| n <= self.len)
    }

    /// Rows of a head that will be written.
    pub(super) fn coming(
        &self,
        at: (usize, usize),
        positions: Positions,
        count: usize,
    ) -> Coming<T> {
        Coming::new(self.data, self.strides, at, positions, count)
    }

    /// Asks for the rows of a head at the next `count` positions, which will be written.
    pub(super) fn prefetch(
        &self,
        at: (usize, usize),
        positions: Positions,
        count: usize,
        depth: usize,
    ) {
        for t in positions.take(count) {
            for j in (0..depth).step_by(64 / size_of::<T>()) {
                prefetch(self.start(at, t).wrapping_add(j));
            }
        }
    }

    pub(super) fn strides(&self) -> Strides {
        self.strides
    }

    /// Where row (b, t, h) begins.
    pub(super) fn start(&self, (b, h): (usize, usize), t: usize) -> *mut T {
        self.data.wrapping_add(self.strides.at(b, t, h))
    }

    /// Row (b, t, h).
    ///
    /// # Safety
    /// The row lies inside a shape that [`fits`](Self::fits), and nobody else holds it.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn row(&self, at: (usize, usize), t: usize, depth: usize) -> &mut [T] {
        // SAFETY: the caller's promise, and that of the constructors: every element within `len`
        // belongs to this part alone if it lies in a row.
        unsafe { std::slice::from_raw_parts_mut(self.start(at, t), depth) }
    }
}

impl<T> fmt::Debug for RowsMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> fmt::Display for RowsMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements with {:?}", self.len, self.strides)
    }
}
