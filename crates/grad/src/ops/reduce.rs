//! Reductions that are not linear: the largest number along an axis, and log-sum-exp.

use super::Entry;
use super::join::around;
use super::sample::{distinct, sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::buffer::Buffer;
use kernels::{Binary, Unary, elementwise, reduce};

pub(super) const MAX_AXIS: Entry = Entry {
    name: "max_axis",
    formula: "the largest number along an axis; the gradient goes to the first of the largest",
    samples: || {
        vec![
            sample!("last axis", [distinct([3, 4], 0.2)], |x| x[0]
                .max_axis(1)
                .square()),
            sample!("first axis", [distinct([4, 3], 0.2)], |x| x[0]
                .max_axis(0)
                .square()),
        ]
    },
};

pub(super) const LOGSUMEXP: Entry = Entry {
    name: "logsumexp",
    formula: "ln of the sum of e^x along an axis",
    samples: || {
        vec![
            sample!("last axis", [uniform([3, 4], -2.0, 2.0)], |x| x[0]
                .logsumexp(1)),
            sample!("middle axis", [uniform([2, 3, 2], -2.0, 2.0)], |x| x[0]
                .logsumexp(1)),
        ]
    },
};

struct MaxAxis(usize);

impl<T: Element> Op<T> for MaxAxis {
    fn name(&self) -> &'static str {
        "max_axis"
    }
    fn saves(&self) -> Saves {
        Saves {
            output: true,
            ..Saves::input(0)
        }
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let (_, extent, inner) = around(x[0].shape(), self.0);
        Tensor::build(x[0].shape().without(self.0), |out| {
            if inner == 1 {
                return reduce::max_rows(x[0].data(), extent, out);
            }
            let block = (extent * inner).max(1);
            let outer = x[0].data().chunks_exact(block);
            for (out, x) in out.chunks_exact_mut(inner.max(1)).zip(outer) {
                max_columns(x, out);
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let (x, y) = (at.input(0), at.output());
            let (_, extent, inner) = around(x.shape(), self.0);
            let block = (extent * inner).max(1);
            // 1 at the first of the largest numbers, and nowhere else.
            let chosen = Tensor::build(*x.shape(), |out| {
                out.fill(T::ZERO);
                let blocks = out
                    .chunks_exact_mut(block)
                    .zip(x.value().data().chunks_exact(block));
                for ((out, x), y) in blocks.zip(y.value().data().chunks_exact(inner)) {
                    for (j, y) in y.iter().enumerate() {
                        let column = (j..block).step_by(inner);
                        if let Some(i) = column.into_iter().find(|&i| x[i] == *y) {
                            out[i] = T::ONE;
                        }
                    }
                }
            });
            let zero = Var::constant(Tensor::scalar(T::ZERO));
            let g = g.reshape(x.shape().with(self.0, 1));
            Var::select(&chosen, &g, &zero)
        });
    }
}

/// The largest number of each column of x [extent, out.len()].
fn max_columns<T: Element>(x: &[T], out: &mut [T]) {
    let (first, rest) = x.split_at(out.len());
    out.copy_from_slice(first);
    for row in rest.chunks_exact(out.len()) {
        for (max, &x) in out.iter_mut().zip(row) {
            // A NaN stays: no comparison with it holds.
            let stays = *max >= x || max.partial_cmp(&max).is_none();
            *max = if stays { *max } else { x };
        }
    }
}

struct LogSumExp(usize);

impl<T: Element> Op<T> for LogSumExp {
    fn name(&self) -> &'static str {
        "logsumexp"
    }
    fn saves(&self) -> Saves {
        Saves {
            output: true,
            ..Saves::input(0)
        }
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let (_, extent, inner) = around(x[0].shape(), self.0);
        Tensor::build(x[0].shape().without(self.0), |out| {
            if inner == 1 {
                return reduce::logsumexp_rows(x[0].data(), extent, out);
            }
            let block = (extent * inner).max(1);
            let outer = x[0].data().chunks_exact(block);
            for (out, x) in out.chunks_exact_mut(inner.max(1)).zip(outer) {
                logsumexp_columns(x, out);
            }
        })
    }
    /// dx = g e^(x - y), the softmax of x times g.
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let x = at.input(0);
            let column = x.shape().with(self.0, 1);
            let share = (&x - at.output().reshape(column)).exp();
            share * g.reshape(column)
        });
    }
}

fn logsumexp_columns<T: Element>(x: &[T], out: &mut [T]) {
    let columns = out.len();
    let mut max = Buffer::recycled(columns);
    max_columns(x, &mut max);
    // A column of -inf alone: its terms must be e^-inf, not e^(-inf + inf).
    let lowest = T::from_f64(f64::from(f32::MIN));
    let mut shift = Buffer::recycled(columns);
    elementwise::binary_scalar(Binary::Max, &max, lowest, &mut shift);
    let mut term = Buffer::recycled(columns);
    out.fill(T::ZERO);
    for row in x.chunks_exact(columns) {
        elementwise::binary(Binary::Sub, row, &shift, &mut term);
        elementwise::unary_in_place(Unary::Exp, &mut term);
        elementwise::add_assign(out, &term);
    }
    elementwise::unary_in_place(Unary::Log, out);
    elementwise::add_assign(out, &shift);
}

impl<T: Element> Var<T> {
    /// The largest number along `axis`, which the result does not have any more; NaN if one is.
    /// The gradient goes to the first of the largest.
    ///
    /// # Panics
    /// If there is no such axis, or it is empty.
    #[track_caller]
    pub fn max_axis(&self, axis: usize) -> Var<T> {
        self.assert_filled("max_axis", axis);
        Var::apply(MaxAxis(axis), &[self])
    }

    /// ln of the sum of e^x along `axis`, which the result does not have any more. Does not
    /// overflow.
    ///
    /// # Panics
    /// If there is no such axis, or it is empty.
    #[track_caller]
    pub fn logsumexp(&self, axis: usize) -> Var<T> {
        self.assert_filled("logsumexp", axis);
        Var::apply(LogSumExp(axis), &[self])
    }

    #[track_caller]
    pub(super) fn assert_filled(&self, op: &str, axis: usize) {
        self.assert_axis(op, axis);
        assert!(
            self.shape()[axis] > 0,
            "{op}: axis {axis} of shape {} is empty",
            self.shape()
        );
    }
}
