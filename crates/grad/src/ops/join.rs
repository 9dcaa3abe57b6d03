//! Operations that cut and join along an axis: slice and pad, concat and stack.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, MAX_RANK, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::elementwise;
use std::ops::Range;

pub(super) const SLICE: Entry = Entry {
    name: "slice",
    formula: "the numbers within a range of an axis",
    samples: || {
        vec![
            sample!("last axis", [uniform([2, 5], -1.0, 1.0)], |x| x[0]
                .slice(1, 1..4)),
            sample!("middle axis", [uniform([2, 4, 3], -1.0, 1.0)], |x| x[0]
                .slice(1, 2..4)),
        ]
    },
};

pub(super) const PAD: Entry = Entry {
    name: "pad",
    formula: "zeros before and after the numbers of an axis; the adjoint of slice",
    samples: || {
        vec![sample!(
            "middle axis",
            [uniform([2, 2, 3], -1.0, 1.0)],
            |x| x[0].pad(1, 1, 2).square()
        )]
    },
};

pub(super) const CONCAT: Entry = Entry {
    name: "concat",
    formula: "several inputs one after the other along an axis",
    samples: || {
        vec![
            sample!(
                "last axis, three inputs",
                [
                    uniform([2, 3], -1.0, 1.0),
                    uniform([2, 1], -1.0, 1.0),
                    uniform([2, 2], -1.0, 1.0)
                ],
                |x| Var::concat(&[&x[0], &x[1], &x[2]], 1)
            ),
            sample!(
                "first axis, one input twice",
                [uniform([2, 3], -1.0, 1.0)],
                |x| { Var::concat(&[&x[0], &x[0]], 0) }
            ),
            sample!(
                "stack",
                [uniform([2, 3], -1.0, 1.0), uniform([2, 3], -2.0, 1.0)],
                |x| Var::stack(&[&x[0], &x[1]], 1)
            ),
        ]
    },
};

/// (outer, extent, inner): the axis as the middle one of three.
pub(super) fn around(shape: &Shape, axis: usize) -> (usize, usize, usize) {
    let outer = shape[..axis].iter().product();
    let inner = shape[axis + 1..].iter().product();
    (outer, shape[axis], inner)
}

struct Slice {
    axis: usize,
    start: usize,
    end: usize,
}

impl<T: Element> Op<T> for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let (_, extent, inner) = around(x[0].shape(), self.axis);
        let taken = (self.end - self.start) * inner;
        Tensor::build(x[0].shape().with(self.axis, self.end - self.start), |out| {
            if taken == 0 {
                return;
            }
            let blocks = x[0].data().chunks_exact(extent * inner);
            for (out, x) in out.chunks_exact_mut(taken).zip(blocks) {
                out.copy_from_slice(&x[self.start * inner..][..taken]);
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let (_, extent, inner) = around(&at.input_shape(0), self.axis);
        let (start, taken) = (self.start * inner, (self.end - self.start) * inner);
        let add = |sum: &mut [T], g: &[T]| {
            let rows = sum.chunks_exact_mut((extent * inner).max(1));
            for (sum, g) in rows.zip(g.chunks_exact(taken.max(1))) {
                elementwise::add_assign(&mut sum[start..start + taken], g);
            }
        };
        let whole = |g: Var<T>| g.pad(self.axis, self.start, extent - self.end);
        at.give_part(0, g, add, whole);
    }
}

struct Pad {
    axis: usize,
    before: usize,
    after: usize,
}

impl<T: Element> Op<T> for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let (_, extent, inner) = around(x[0].shape(), self.axis);
        let padded = self.before + extent + self.after;
        Tensor::build(x[0].shape().with(self.axis, padded), |out| {
            if extent * inner == 0 {
                return out.fill(T::ZERO);
            }
            let blocks = x[0].data().chunks_exact(extent * inner);
            for (out, x) in out.chunks_exact_mut(padded * inner).zip(blocks) {
                let (before, rest) = out.split_at_mut(self.before * inner);
                let (middle, after) = rest.split_at_mut(x.len());
                before.fill(T::ZERO);
                middle.copy_from_slice(x);
                after.fill(T::ZERO);
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let extent = at.input_shape(0)[self.axis];
            g.slice(self.axis, self.before..self.before + extent)
        });
    }
}

struct Concat {
    axis: usize,
}

impl<T: Element> Op<T> for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let first = x[0].shape();
        let mut extent = 0;
        for x in x {
            let shape = x.shape();
            assert!(
                shape.rank() == first.rank()
                    && shape.with(self.axis, 0) == first.with(self.axis, 0),
                "concat: along axis {} of shapes {first} and {shape}",
                self.axis
            );
            extent += shape[self.axis];
        }
        let (_, _, inner) = around(first, self.axis);
        Tensor::build(first.with(self.axis, extent), |out| {
            let mut done = 0;
            for x in x {
                let block = x.shape()[self.axis] * inner;
                if block != 0 {
                    let rows = out.chunks_exact_mut(extent * inner);
                    for (out, x) in rows.zip(x.data().chunks_exact(block)) {
                        out[done..done + block].copy_from_slice(x);
                    }
                }
                done += block;
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let mut start = 0;
        for i in 0..at.inputs() {
            let end = start + at.input_shape(i)[self.axis];
            at.give(i, || g.slice(self.axis, start..end));
            start = end;
        }
    }
}

impl<T: Element> Var<T> {
    /// The numbers whose index along `axis` lies in `range`.
    ///
    /// # Panics
    /// If there is no such axis, or the range leaves it.
    #[track_caller]
    pub fn slice(&self, axis: usize, range: Range<usize>) -> Var<T> {
        self.assert_axis("slice", axis);
        let Range { start, end } = range;
        assert!(
            start <= end && end <= self.shape()[axis],
            "slice: {start}..{end} of axis {axis} of shape {}",
            self.shape()
        );
        if (start, end) == (0, self.shape()[axis]) {
            return self.clone();
        }
        Var::apply(Slice { axis, start, end }, &[self])
    }

    /// Zeros before and after the numbers along `axis`.
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn pad(&self, axis: usize, before: usize, after: usize) -> Var<T> {
        self.assert_axis("pad", axis);
        if (before, after) == (0, 0) {
            return self.clone();
        }
        let op = Pad {
            axis,
            before,
            after,
        };
        Var::apply(op, &[self])
    }

    /// The inputs one after the other along `axis`.
    ///
    /// # Panics
    /// If there are none, or they differ in another axis than that.
    #[track_caller]
    pub fn concat(inputs: &[&Var<T>], axis: usize) -> Var<T> {
        assert!(!inputs.is_empty(), "concat: no inputs");
        inputs[0].assert_axis("concat", axis);
        Var::apply(Concat { axis }, inputs)
    }

    /// The inputs, all of one shape, side by side along a new axis.
    ///
    /// # Panics
    /// If there are none, their shapes differ, or there is no place for such an axis.
    #[track_caller]
    pub fn stack(inputs: &[&Var<T>], axis: usize) -> Var<T> {
        assert!(!inputs.is_empty(), "stack: no inputs");
        let shape = *inputs[0].shape();
        assert!(
            axis <= shape.rank() && shape.rank() < MAX_RANK,
            "stack: no place for a new axis {axis} in shape {shape}"
        );
        let mut extents = [1; MAX_RANK];
        extents[..axis].copy_from_slice(&shape[..axis]);
        extents[axis + 1..=shape.rank()].copy_from_slice(&shape[axis..]);
        let extents = &extents[..=shape.rank()];
        for x in inputs {
            assert!(
                *x.shape() == shape,
                "stack: shapes {shape} and {} differ",
                x.shape()
            );
        }
        let parts: Vec<Var<T>> = inputs.iter().map(|x| x.reshape(extents)).collect();
        Var::concat(&parts.iter().collect::<Vec<_>>(), axis)
    }
}
