//! Losses in logits, in nats, each in one pass.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, MAX_RANK, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::reduce;
use std::sync::Arc;

pub(super) const BCE_WITH_LOGITS: Entry = Entry {
    name: "bce_with_logits_sum_rows",
    formula: "sum of ln(1 + e^l) - t l over all axes but the first",
    samples: || {
        vec![
            sample!(
                "2-D",
                [uniform([2, 3], -2.0, 2.0), uniform([2, 3], 0.0, 1.0)],
                |x| x[0].bce_with_logits_sum_rows(&x[1])
            ),
            sample!(
                "4-D",
                [
                    uniform([2, 2, 2, 1], -2.0, 2.0),
                    uniform([2, 2, 2, 1], 0.0, 1.0)
                ],
                |x| { x[0].bce_with_logits_sum_rows(&x[1]) }
            ),
        ]
    },
};

pub(super) const BCE_GRADIENT: Entry = Entry {
    name: "bce_with_logits_gradient",
    formula: "g[b] (sigmoid(l) - t)",
    samples: || {
        vec![sample!(
            "2-D",
            [
                uniform([2], -1.0, 1.0),
                uniform([2, 3], -2.0, 2.0),
                uniform([2, 3], 0.0, 1.0)
            ],
            |x| x[0].bce_gradient(&x[1], &x[2])
        )]
    },
};

pub(super) const CROSS_ENTROPY: Entry = Entry {
    name: "softmax_cross_entropy",
    formula: "ln sum e^l - l[target] over the last axis",
    samples: || {
        vec![sample!("3-D", [uniform([2, 2, 3], -2.0, 2.0)], |x| x[0]
            .softmax_cross_entropy([0, 2, 1, 1].into()))]
    },
};

pub(super) const CROSS_ENTROPY_GRADIENT: Entry = Entry {
    name: "softmax_cross_entropy_gradient",
    formula: "g[r] (softmax(l) - onehot(target))",
    samples: || {
        vec![sample!(
            "2-D",
            [uniform([2], -1.0, 1.0), uniform([2, 3], -2.0, 2.0)],
            |x| x[0].cross_entropy_gradient(&x[1], [0, 2].into())
        )]
    },
};

/// [B, ..] as B rows: the numbers of each.
fn row_len(shape: &Shape) -> usize {
    shape[1..].iter().product()
}

/// [B] as [B, 1, ..] with `rank` axes.
fn as_column<T: Element>(x: &Var<T>, rank: usize) -> Var<T> {
    let mut extents = [1; MAX_RANK];
    extents[0] = x.shape()[0];
    x.reshape(&extents[..rank])
}

/// Sums over all axes but the first.
fn sum_rows<T: Element>(x: &Var<T>) -> Var<T> {
    const AXES: [usize; MAX_RANK] = [0, 1, 2, 3, 4, 5];
    x.sum_axes(&AXES[1..x.shape().rank()])
}

struct BceWithLogits;

impl<T: Element> Op<T> for BceWithLogits {
    fn name(&self) -> &'static str {
        "bce_with_logits_sum_rows"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let (shape, row) = (x[0].shape(), row_len(x[0].shape()));
        Tensor::build([shape[0]], |out| {
            reduce::bce_with_logits(x[0].data(), x[1].data(), row, out)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.bce_gradient(&at.input(0), &at.input(1)));
        at.give(1, || {
            let l = at.input(0);
            -(&l * as_column(&g, l.shape().rank()))
        });
    }
}

/// Inputs (g, l, t).
struct BceGradient;

impl<T: Element> Op<T> for BceGradient {
    fn name(&self) -> &'static str {
        "bce_with_logits_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let (g, l, t) = (x[0].data(), x[1].data(), x[2].data());
        let row = row_len(x[1].shape());
        Tensor::build(*x[1].shape(), |out| {
            reduce::bce_with_logits_gradient(l, t, g, row, out)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        let (g, l) = (at.input(0), at.input(1));
        let g = as_column(&g, l.shape().rank());
        at.give(0, || sum_rows(&(&h * (l.sigmoid() - at.input(2)))));
        at.give(1, || (&h * &g).sigmoid_gradient(&l.sigmoid()));
        at.give(2, || -(&h * &g));
    }
}

struct CrossEntropy {
    targets: Arc<[u32]>,
}

impl<T: Element> Op<T> for CrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let shape = x[0].shape();
        Tensor::build(shape.without(shape.rank() - 1), |out| {
            reduce::cross_entropy(x[0].data(), &self.targets, shape.last_extent(), out)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            g.cross_entropy_gradient(&at.input(0), self.targets.clone())
        });
    }
}

/// Inputs (g, l).
struct CrossEntropyGradient {
    targets: Arc<[u32]>,
}

impl<T: Element> Op<T> for CrossEntropyGradient {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let columns = x[1].shape().last_extent();
        let (g, l) = (x[0].data(), x[1].data());
        Tensor::build(*x[1].shape(), |out| {
            reduce::cross_entropy_gradient(l, &self.targets, g, columns, out)
        })
    }
    /// With p = softmax(l): dg = sum h p - h[target], dl = p (h g - sum h g p).
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        let (g, p) = (at.input(0), at.input(1).softmax());
        let last = p.shape().rank() - 1;
        at.give(0, || {
            (&h * &p).sum_axes(&[last]) - h.pick(self.targets.clone())
        });
        at.give(1, || {
            let g = g.reshape(p.shape().with(last, 1));
            (&h * g).softmax_gradient(&p)
        });
    }
}

impl<T: Element> Var<T> {
    /// -log p(target) in nats of independent Bernoulli variables with these logits, summed over
    /// all axes but the first: sum of ln(1 + e^l) - t l.
    ///
    /// Shapes: self and target `[B, ..]`, the result `[B]`. Targets lie in [0, 1].
    ///
    /// # Panics
    /// If the shapes differ or are scalars.
    #[track_caller]
    pub fn bce_with_logits_sum_rows(&self, target: &Var<T>) -> Var<T> {
        assert!(
            self.shape().rank() > 0 && self.shape() == target.shape(),
            "bce_with_logits_sum_rows: logits {}, target {}",
            self.shape(),
            target.shape()
        );
        Var::apply(BceWithLogits, &[self, target])
    }

    /// self[b] (sigmoid(l) - t).
    fn bce_gradient(&self, l: &Var<T>, t: &Var<T>) -> Var<T> {
        Var::apply(BceGradient, &[self, l, t])
    }

    /// -log p(target) in nats of a categorical variable with these logits, one for each row of
    /// the last axis: ln sum e^l - l\[target\].
    ///
    /// Shapes: self `[.., C]`, the result `[..]`.
    ///
    /// # Panics
    /// If there is not one target for each row, or one is not below C.
    #[track_caller]
    pub fn softmax_cross_entropy(&self, targets: Arc<[u32]>) -> Var<T> {
        self.assert_rows("softmax_cross_entropy");
        let columns = self.shape().last_extent();
        assert!(
            targets.len() * columns == self.shape().elements(),
            "softmax_cross_entropy: {} targets for logits {}",
            targets.len(),
            self.shape()
        );
        super::index::assert_below("softmax_cross_entropy", &targets, columns);
        Var::apply(CrossEntropy { targets }, &[self])
    }

    /// self[r] (softmax(l) - onehot(target)).
    fn cross_entropy_gradient(&self, l: &Var<T>, targets: Arc<[u32]>) -> Var<T> {
        Var::apply(CrossEntropyGradient { targets }, &[self, l])
    }
}
