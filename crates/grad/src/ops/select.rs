//! Choosing between two values by a constant mask.

use super::Entry;
use super::panels::panels;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::elementwise::Operand;

pub(super) const SELECT: Entry = Entry {
    name: "select",
    formula: "a where the mask is not 0, else b; nothing of the other one leaks",
    samples: || {
        vec![
            sample!(
                "one shape",
                [uniform([2, 3], -1.0, 1.0), uniform([2, 3], -2.0, 1.0)],
                |x| {
                    let mask = Tensor::from_fn([2, 3], |i| if i % 2 == 0 { 1.0 } else { 0.0 });
                    Var::select(&mask, &x[0].square(), &x[1])
                }
            ),
            sample!(
                "everything stretched",
                [uniform([2, 1], -1.0, 1.0), uniform([], -2.0, 1.0)],
                |x| {
                    let mask = Tensor::from_fn([3], |i| if i == 1 { 1.0 } else { 0.0 });
                    Var::select(&mask, &x[0], &x[1])
                }
            ),
        ]
    },
};

struct Select<T: Element> {
    mask: Tensor<T>,
}

impl<T: Element> Op<T> for Select<T> {
    fn name(&self) -> &'static str {
        "select"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let (mask, a, b) = (&self.mask, x[0], x[1]);
        let shape = (a.shape().broadcast(b.shape())).and_then(|s| s.broadcast(mask.shape()));
        let Some(shape) = shape else {
            panic!(
                "select: mask {}, a {}, b {}",
                mask.shape(),
                a.shape(),
                b.shape()
            )
        };
        Tensor::build(shape, |out| {
            panels(&shape, [mask.shape(), a.shape(), b.shape()], |panel| {
                let out = &mut out[panel.start..][..panel.len()];
                let mask = panel.operand(0, mask.data());
                let (a, b) = (panel.operand(1, a.data()), panel.operand(2, b.data()));
                for (i, row) in out.chunks_exact_mut(panel.cols).enumerate() {
                    let at = |x| InRow::of(x, i, panel.cols);
                    choose(at(mask), at(a), at(b), row);
                }
            });
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let zero = Var::constant(Tensor::scalar(T::ZERO));
        let shape = at.input_shape(0);
        at.give(0, || Var::select(&self.mask, &g, &zero).sum_to(shape));
        let shape = at.input_shape(1);
        at.give(1, || Var::select(&self.mask, &zero, &g).sum_to(shape));
    }
}

/// An operand within one row.
#[derive(Clone, Copy)]
enum InRow<'a, T> {
    Each(&'a [T]),
    One(T),
}

impl<'a, T: Element> InRow<'a, T> {
    fn of(operand: Operand<'a, T>, row: usize, cols: usize) -> InRow<'a, T> {
        match operand {
            Operand::Full(x) => InRow::Each(&x[row * cols..][..cols]),
            Operand::Row(x) => InRow::Each(x),
            Operand::Column(x) => InRow::One(x[row]),
            Operand::Scalar(x) => InRow::One(x),
        }
    }

    #[inline]
    fn at(self, i: usize) -> T {
        match self {
            InRow::Each(x) => x[i],
            InRow::One(x) => x,
        }
    }
}

/// y = a where the mask is not 0, else b.
fn choose<T: Element>(mask: InRow<T>, a: InRow<T>, b: InRow<T>, y: &mut [T]) {
    match (mask, a, b) {
        (InRow::One(mask), a, b) => match if mask != T::ZERO { a } else { b } {
            InRow::Each(x) => y.copy_from_slice(x),
            InRow::One(x) => y.fill(x),
        },
        (InRow::Each(mask), InRow::Each(a), InRow::Each(b)) => {
            for (((y, &m), &a), &b) in y.iter_mut().zip(mask).zip(a).zip(b) {
                *y = if m != T::ZERO { a } else { b };
            }
        }
        (InRow::Each(mask), a, b) => {
            for (i, (y, &m)) in y.iter_mut().zip(mask).enumerate() {
                *y = if m != T::ZERO { a.at(i) } else { b.at(i) };
            }
        }
    }
}

impl<T: Element> Var<T> {
    /// a where the mask is not 0, else b; all three broadcast to one shape.
    ///
    /// Nothing of the number that is not taken leaks, in value or gradient, not even NaN.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn select(mask: &Tensor<T>, a: &Var<T>, b: &Var<T>) -> Var<T> {
        Var::apply(Select { mask: mask.clone() }, &[a, b])
    }
}
