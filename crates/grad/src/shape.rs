//! Shapes: up to six dimensions, row-major, stored inline.

use std::fmt;
use std::ops::Deref;

/// The most dimensions a tensor has.
pub const MAX_RANK: usize = 6;

/// The extent of each axis, outermost first. A scalar has none.
#[derive(Clone, Copy, Eq, Default)]
pub struct Shape {
    /// 0 beyond the rank.
    extents: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// The shape of a single number.
    pub const SCALAR: Shape = Shape {
        extents: [0; MAX_RANK],
        rank: 0,
    };

    /// A shape from its extents.
    ///
    /// # Panics
    /// With more than [`MAX_RANK`] extents.
    #[track_caller]
    pub fn new(extents: &[usize]) -> Shape {
        assert!(
            extents.len() <= MAX_RANK,
            "shape: expected at most {MAX_RANK} dimensions, found {extents:?}"
        );
        Shape {
            // Not a copy of so many bytes, which would be a call.
            extents: std::array::from_fn(|i| extents.get(i).copied().unwrap_or(0)),
            rank: extents.len() as u8,
        }
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The product of the extents: 1 for a scalar.
    #[inline]
    pub fn elements(&self) -> usize {
        self.iter().product()
    }

    /// The last extent; 1 for a scalar.
    pub fn last_extent(&self) -> usize {
        self.last().copied().unwrap_or(1)
    }

    /// How far apart neighbours along each axis lie in a row-major buffer.
    pub fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank()).rev() {
            strides[axis] = step;
            step *= self.extents[axis];
        }
        strides
    }

    /// The shape both operands of an elementwise operation are stretched to, by the rules of
    /// NumPy: align the last axes, an extent of 1 stretches to the other's.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let mut shape = Shape::new(&[0; MAX_RANK][..rank]);
        for i in 0..rank {
            let extent = |s: &Shape| (i + s.rank()).checked_sub(rank).map_or(1, |axis| s[axis]);
            shape.extents[i] = match (extent(self), extent(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Some(shape)
    }

    /// The shape without `axis`.
    #[track_caller]
    pub fn without(&self, axis: usize) -> Shape {
        let mut extents = self.to_vec();
        assert!(
            axis < extents.len(),
            "axis {axis} of a tensor of shape {self:?}"
        );
        extents.remove(axis);
        Shape::new(&extents)
    }

    /// The shape with the extent of `axis` replaced.
    #[track_caller]
    pub fn with(&self, axis: usize, extent: usize) -> Shape {
        assert!(
            axis < self.rank(),
            "axis {axis} of a tensor of shape {self:?}"
        );
        let mut shape = *self;
        shape.extents[axis] = extent;
        shape
    }
}

impl PartialEq for Shape {
    /// All extents at once: a comparison of slices would be a call.
    #[inline]
    fn eq(&self, other: &Shape) -> bool {
        let differs = |i: usize| self.extents[i] ^ other.extents[i];
        self.rank == other.rank && (0..MAX_RANK).fold(0, |all, i| all | differs(i)) == 0
    }
}

impl Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        &self.extents[..self.rank()]
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(extents: [usize; N]) -> Shape {
        Shape::new(&extents)
    }
}

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(extents: &[usize]) -> Shape {
        Shape::new(extents)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self[..])
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let check = |a: &[usize], b: &[usize], expected: Option<&[usize]>| {
            let (a, b) = (Shape::new(a), Shape::new(b));
            assert_eq!(a.broadcast(&b), expected.map(Shape::new), "{a} and {b}");
            assert_eq!(b.broadcast(&a), expected.map(Shape::new), "{b} and {a}");
        };
        check(&[2, 3], &[3], Some(&[2, 3]));
        check(&[2, 1], &[1, 3], Some(&[2, 3]));
        check(&[], &[4], Some(&[4]));
        check(&[0, 3], &[1, 3], Some(&[0, 3]));
        check(&[2], &[3], None);
    }

    #[test]
    fn strides_are_row_major() {
        assert_eq!(&Shape::from([2, 3, 4]).strides()[..3], [12, 4, 1]);
        assert_eq!(Shape::SCALAR.elements(), 1);
    }
}
