//! Sums over axes and their adjoint, the stretching of axes.

use super::Entry;
use super::panels::panels;
use super::sample::{sample, uniform};
use crate::{Element, MAX_RANK, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::buffer::Buffer;
use kernels::elementwise::Operand;
use kernels::reduce;

pub(super) const SUM: Entry = Entry {
    name: "sum",
    formula: "the sum over some axes; the adjoint of broadcast_to",
    samples: || {
        vec![
            sample!("of everything", [uniform([2, 3], -1.0, 1.0)], |x| x[0]
                .sum()
                .square()),
            sample!("of rows", [uniform([3, 4], -1.0, 1.0)], |x| x[0]
                .sum_axes(&[1])
                .square()),
            sample!("of columns", [uniform([70, 3], -1.0, 1.0)], |x| x[0]
                .sum_to([3])
                .square()),
            sample!(
                "of outer and inner axes",
                [uniform([2, 3, 2, 2], -1.0, 1.0)],
                |x| x[0].sum_axes(&[0, 3]).square()
            ),
            sample!(
                "of a middle axis, kept",
                [uniform([2, 3, 2], -1.0, 1.0)],
                |x| x[0].sum_axes_keep(&[1]).square()
            ),
            sample!("mean", [uniform([2, 3, 2], -1.0, 1.0)], |x| x[0]
                .mean_axes(&[0, 1])
                .square()),
        ]
    },
};

pub(super) const BROADCAST_TO: Entry = Entry {
    name: "broadcast_to",
    formula: "x stretched to a shape by the rules of NumPy",
    samples: || {
        vec![
            sample!("rows and columns", [uniform([2, 1, 3], -1.0, 1.0)], |x| x
                [0]
            .broadcast_to([2, 2, 4, 3])
            .square()),
            sample!("a scalar", [uniform([], -1.0, 1.0)], |x| x[0]
                .broadcast_to([2, 3])
                .square()),
        ]
    },
};

/// The sum over the axes that `kept` has shrunk to 1 (or left off in front), given out as `out`:
/// the same count of numbers as `kept`.
struct Sum {
    kept: Shape,
    out: Shape,
}

impl<T: Element> Op<T> for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        Tensor::build(self.out, |out| {
            sum_into(x[0].data(), x[0].shape(), &self.kept, out)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.reshape(self.kept).broadcast_to(at.input_shape(0)));
    }
}

/// out = the sum of x over the axes along which `kept` has extent 1 or is missing.
fn sum_into<T: Element>(x: &[T], shape: &Shape, kept: &Shape, out: &mut [T]) {
    // Adjacent axes of one kind as one: (extent, whether it is summed over).
    let mut groups = [(1, false); MAX_RANK];
    let mut count = 0;
    for axis in 0..shape.rank() {
        if shape[axis] == 1 {
            continue;
        }
        let own = (axis + kept.rank()).checked_sub(shape.rank());
        let summed = own.is_none_or(|axis| kept[axis] == 1);
        if count > 0 && groups[count - 1].1 == summed {
            groups[count - 1].0 *= shape[axis];
        } else {
            groups[count] = (shape[axis], summed);
            count += 1;
        }
    }
    let mut groups = &mut groups[..count];
    let mut held: Option<Buffer<T>> = None;
    // One summed group after the other, innermost first; the last one goes to `out`.
    while let Some(last) = groups.iter().rposition(|&(_, summed)| summed) {
        let product = |groups: &[(usize, bool)]| groups.iter().map(|g| g.0).product::<usize>();
        let (outer, extent) = (product(&groups[..last]), groups[last].0);
        let inner = product(&groups[last + 1..]);
        let source = held.as_deref().unwrap_or(x);
        if groups[..last].iter().all(|&(_, summed)| !summed) {
            return reduce::sum_middle(source, extent, inner, out);
        }
        let mut next = Buffer::recycled(outer * inner);
        reduce::sum_middle(source, extent, inner, &mut next);
        held = Some(next);
        groups[last] = (inner, false);
        groups = &mut groups[..=last];
    }
    out.copy_from_slice(x);
}

struct BroadcastTo(Shape);

impl<T: Element> Op<T> for BroadcastTo {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        Tensor::build(self.0, |out| {
            panels(&self.0, [x[0].shape()], |panel| {
                let out = &mut out[panel.start..][..panel.len()];
                let rows = out.chunks_exact_mut(panel.cols);
                match panel.operand(0, x[0].data()) {
                    Operand::Full(x) => out.copy_from_slice(x),
                    Operand::Row(x) => rows.for_each(|row| row.copy_from_slice(x)),
                    Operand::Column(x) => rows.zip(x).for_each(|(row, &x)| row.fill(x)),
                    Operand::Scalar(x) => out.fill(x),
                }
            })
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.sum_to(at.input_shape(0)));
    }
}

impl<T: Element> Var<T> {
    /// The sum of all numbers, a scalar.
    pub fn sum(&self) -> Var<T> {
        self.sum_to(Shape::SCALAR)
    }

    /// The mean of all numbers, a scalar.
    pub fn mean(&self) -> Var<T> {
        self.sum() * (1.0 / self.shape().elements() as f64)
    }

    /// The sum over `axes`, which the result does not have any more.
    ///
    /// # Panics
    /// If there is no such axis, or one is named twice.
    #[track_caller]
    pub fn sum_axes(&self, axes: &[usize]) -> Var<T> {
        let kept = self.without_extent("sum_axes", axes);
        let mut out = [0; MAX_RANK];
        let mut rank = 0;
        for axis in (0..self.shape().rank()).filter(|axis| !axes.contains(axis)) {
            out[rank] = self.shape()[axis];
            rank += 1;
        }
        let out = Shape::new(&out[..rank]);
        Var::apply(Sum { kept, out }, &[self])
    }

    /// The sum over `axes`, which the result has with extent 1.
    ///
    /// # Panics
    /// As [`sum_axes`](Self::sum_axes).
    #[track_caller]
    pub fn sum_axes_keep(&self, axes: &[usize]) -> Var<T> {
        let kept = self.without_extent("sum_axes_keep", axes);
        Var::apply(Sum { kept, out: kept }, &[self])
    }

    /// The mean over `axes`, which the result does not have any more.
    ///
    /// # Panics
    /// As [`sum_axes`](Self::sum_axes).
    #[track_caller]
    pub fn mean_axes(&self, axes: &[usize]) -> Var<T> {
        let sum = self.sum_axes(axes);
        sum * (1.0 / self.extent_of(axes) as f64)
    }

    /// The mean over `axes`, which the result has with extent 1.
    ///
    /// # Panics
    /// As [`sum_axes`](Self::sum_axes).
    #[track_caller]
    pub fn mean_axes_keep(&self, axes: &[usize]) -> Var<T> {
        let sum = self.sum_axes_keep(axes);
        sum * (1.0 / self.extent_of(axes) as f64)
    }

    /// The sum over the axes that [`broadcast_to`](Self::broadcast_to) would stretch to get from
    /// `shape` to this shape: its adjoint.
    ///
    /// # Panics
    /// If `shape` does not broadcast to this shape.
    #[track_caller]
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Var<T> {
        let shape = shape.into();
        if shape == *self.shape() {
            return self.clone();
        }
        assert!(
            shape.broadcast(self.shape()) == Some(*self.shape()),
            "sum_to: {shape} does not broadcast to {}",
            self.shape()
        );
        let op = Sum {
            kept: shape,
            out: shape,
        };
        Var::apply(op, &[self])
    }

    /// This stretched to `shape` by the rules of NumPy: the last axes are aligned, an extent of 1
    /// is repeated.
    ///
    /// # Panics
    /// If it cannot be.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Var<T> {
        let shape = shape.into();
        if shape == *self.shape() {
            return self.clone();
        }
        assert!(
            self.shape().broadcast(&shape) == Some(shape),
            "broadcast_to: {} does not broadcast to {shape}",
            self.shape()
        );
        Var::apply(BroadcastTo(shape), &[self])
    }

    /// This shape with extent 1 along `axes`.
    #[track_caller]
    fn without_extent(&self, op: &str, axes: &[usize]) -> Shape {
        let mut shape = *self.shape();
        for (i, &axis) in axes.iter().enumerate() {
            self.assert_axis(op, axis);
            assert!(
                !axes[..i].contains(&axis),
                "{op}: axis {axis} is named twice in {axes:?}"
            );
            shape = shape.with(axis, 1);
        }
        shape
    }

    /// How many numbers each sum over `axes` has.
    fn extent_of(&self, axes: &[usize]) -> usize {
        axes.iter().map(|&axis| self.shape()[axis]).product()
    }
}
