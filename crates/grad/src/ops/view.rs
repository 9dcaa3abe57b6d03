//! Operations that move numbers about: reshape, permute, flip.

use super::sample::{sample, uniform};
use super::{Entry, Sample};
use crate::{Element, MAX_RANK, Op, Saves, Shape, Tensor, Var, Vjp};

pub(super) const RESHAPE: Entry = Entry {
    name: "reshape",
    formula: "the same numbers in another shape",
    samples: || {
        vec![sample!("2-D to 3-D", [uniform([4, 3], -1.0, 1.0)], |x| x
            [0]
        .reshape([2, 2, 3])
        .square())]
    },
};

pub(super) const PERMUTE: Entry = Entry {
    name: "permute",
    formula: "axis i of the output is axis `axes[i]` of x",
    samples: || -> Vec<Sample> {
        vec![
            sample!("4-D", [uniform([2, 3, 4, 2], -1.0, 1.0)], |x| x[0]
                .permute(&[2, 0, 3, 1])),
            sample!("transpose", [uniform([3, 5], -1.0, 1.0)], |x| x[0]
                .transpose()),
            sample!("batched transpose", [uniform([2, 3, 4], -1.0, 1.0)], |x| x
                [0]
            .permute(&[0, 2, 1])),
        ]
    },
};

pub(super) const FLIP: Entry = Entry {
    name: "flip",
    formula: "the numbers along an axis in reverse order",
    samples: || {
        vec![
            sample!("middle axis", [uniform([2, 3, 4], -1.0, 1.0)], |x| x[0]
                .flip(1)),
            sample!("last axis", [uniform([2, 3], -1.0, 1.0)], |x| x[0].flip(1)),
        ]
    },
};

struct Reshape(Shape);

impl<T: Element> Op<T> for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        x[0].reshape(self.0)
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.reshape(at.input_shape(0)));
    }
}

/// Axis i of the output is axis `self[i]` of the input; the rest of the list is not used.
struct Permute([usize; MAX_RANK]);

impl<T: Element> Op<T> for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let from = x[0].shape();
        let axes = &self.0[..from.rank()];
        let mut extents = [0; MAX_RANK];
        let mut strides = [0; MAX_RANK];
        for (i, &axis) in axes.iter().enumerate() {
            extents[i] = from[axis];
            strides[i] = from.strides()[axis];
        }
        let shape = Shape::new(&extents[..axes.len()]);
        Tensor::build(shape, |out| {
            strided_copy(x[0].data(), out, &extents[..axes.len()], &strides)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let rank = g.shape().rank();
            let mut inverse = [0; MAX_RANK];
            for (i, &axis) in self.0[..rank].iter().enumerate() {
                inverse[axis] = i;
            }
            g.permute(&inverse[..rank])
        });
    }
}

/// out[i, j, ..] = x[i * strides[0] + j * strides[1] + ..] for a row-major `out` of `extents`.
fn strided_copy<T: Copy>(x: &[T], out: &mut [T], extents: &[usize], strides: &[usize]) {
    if out.is_empty() {
        return;
    }
    let Some((&extent, inner)) = extents.split_first() else {
        out[0] = x[0];
        return;
    };
    let block = out.len() / extent;
    match *inner {
        // The last two axes together, in squares: the one that x has contiguous is read whole
        // cache lines at a time, whichever it is.
        [columns] if strides[1] != 1 => {
            const SIDE: usize = 16;
            let (down, across) = (strides[0], strides[1]);
            for i0 in (0..extent).step_by(SIDE) {
                for j0 in (0..columns).step_by(SIDE) {
                    for i in i0..(i0 + SIDE).min(extent) {
                        for j in j0..(j0 + SIDE).min(columns) {
                            out[i * columns + j] = x[i * down + j * across];
                        }
                    }
                }
            }
        }
        [] if strides[0] == 1 => out.copy_from_slice(&x[..extent]),
        _ => {
            for (i, out) in out.chunks_exact_mut(block).enumerate() {
                strided_copy(&x[i * strides[0]..], out, inner, &strides[1..]);
            }
        }
    }
}

struct Flip(usize);

impl<T: Element> Op<T> for Flip {
    fn name(&self) -> &'static str {
        "flip"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let shape = *x[0].shape();
        let inner: usize = shape[self.0 + 1..].iter().product();
        let block = (shape[self.0] * inner).max(1);
        Tensor::build(shape, |out| {
            for (out, x) in out
                .chunks_exact_mut(block)
                .zip(x[0].data().chunks_exact(block))
            {
                for (out, x) in out.chunks_exact_mut(inner).zip(x.rchunks_exact(inner)) {
                    out.copy_from_slice(x);
                }
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.flip(self.0));
    }
}

impl<T: Element> Var<T> {
    /// The same numbers in another shape, row-major; the memory is shared.
    ///
    /// # Panics
    /// If the shape holds another count of numbers.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Var<T> {
        let shape = shape.into();
        if shape == *self.shape() {
            return self.clone();
        }
        Var::apply(Reshape(shape), &[self])
    }

    /// Axis i of the result is axis `axes[i]` of this.
    ///
    /// # Panics
    /// If `axes` does not name every axis once.
    #[track_caller]
    pub fn permute(&self, axes: &[usize]) -> Var<T> {
        let rank = self.shape().rank();
        let all = axes.len() == rank && (0..rank).all(|axis| axes.contains(&axis));
        assert!(
            all,
            "permute: axes {axes:?} do not name every axis of shape {} once",
            self.shape()
        );
        let mut list = [0; MAX_RANK];
        list[..rank].copy_from_slice(axes);
        Var::apply(Permute(list), &[self])
    }

    /// Rows become columns: `[m, n]` to `[n, m]`.
    ///
    /// # Panics
    /// If this is not a matrix.
    #[track_caller]
    pub fn transpose(&self) -> Var<T> {
        assert!(
            self.shape().rank() == 2,
            "transpose: expected a matrix, found shape {}",
            self.shape()
        );
        self.permute(&[1, 0])
    }

    /// The numbers along `axis` in reverse order.
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn flip(&self, axis: usize) -> Var<T> {
        self.assert_axis("flip", axis);
        Var::apply(Flip(axis), &[self])
    }

    #[track_caller]
    pub(crate) fn assert_axis(&self, op: &str, axis: usize) {
        assert!(
            axis < self.shape().rank(),
            "{op}: no axis {axis} in shape {}",
            self.shape()
        );
    }
}
