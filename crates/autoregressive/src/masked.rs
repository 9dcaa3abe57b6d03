//! Linear layers whose mask is a staircase (see [`Staircase`]), and sorting units into one.

use crate::ordering::inverse;
use grad::kernels::Binary;
use grad::kernels::autoregressive::Staircase;
use grad::kernels::gemm::{Activation, Epilogue};
use grad::{Element, Op, Saves, Tensor, Var, Vjp};
use std::sync::Arc;

/// act(x (mask * w) + b), mask the staircase: x `[B, rows]`, w `[rows, columns]`, b `[columns]` ->
/// `[B, columns]`. What lies below the stairs is not read and gets the gradient 0.
///
/// The activation is the identity or a ReLU.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn masked_linear<T: Element>(
    stairs: &Arc<Staircase>,
    x: &Var<T>,
    w: &Var<T>,
    b: Option<&Var<T>>,
    activation: Activation,
) -> Var<T> {
    assert!(
        matches!(activation, Activation::Identity | Activation::Relu),
        "masked_linear: no derivative for {activation:?}"
    );
    let op = MaskedLinear {
        stairs: stairs.clone(),
        activation,
    };
    match b {
        Some(b) => Var::apply(op, &[x, w, b]),
        None => Var::apply(op, &[x, w]),
    }
}

struct MaskedLinear {
    stairs: Arc<Staircase>,
    activation: Activation,
}

impl<T: Element> Op<T> for MaskedLinear {
    fn name(&self) -> &'static str {
        "masked_linear"
    }

    fn saves(&self) -> Saves {
        Saves {
            inputs: 0b11,
            output: self.activation == Activation::Relu,
        }
    }

    #[track_caller]
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (x, w, b) = (inputs[0], inputs[1], inputs.get(2));
        let (rows, columns) = (self.stairs.rows(), self.stairs.columns());
        assert!(
            matches!(x.shape()[..], [_, k] if k == rows)
                && w.shape()[..] == [rows, columns]
                && b.is_none_or(|b| b.shape()[..] == [columns]),
            "masked_linear: expected x [B, {rows}], w [{rows}, {columns}], b [{columns}], \
             found x {}, w {}",
            x.shape(),
            w.shape()
        );
        Tensor::build([x.shape()[0], columns], |y| {
            let epilogue = Epilogue {
                bias: b.map(|b| b.data()),
                activation: self.activation,
            };
            self.stairs.forward(x.data(), w.data(), epilogue, y);
        })
    }

    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let mut g = g.into_value();
        if self.activation == Activation::Relu {
            let y = at.output().into_value();
            g = Tensor::build(*g.shape(), |out| {
                T::binary(Binary::ReluGradient, y.data(), g.data(), out);
            });
        }
        at.give(0, || {
            let w = at.input(1).into_value();
            Var::constant(Tensor::build(at.input_shape(0), |gx| {
                self.stairs.input_gradient(g.data(), w.data(), gx);
            }))
        });
        at.give(1, || {
            let x = at.input(0).into_value();
            Var::constant(Tensor::build(at.input_shape(1), |gw| {
                self.stairs.weight_gradient(x.data(), g.data(), gw);
            }))
        });
        if at.inputs() == 3 {
            at.give(2, || Var::constant(g.clone()).sum_to(at.input_shape(2)));
        }
    }

    fn first_order_only(&self) -> bool {
        true
    }
}

/// y\[i, j\] = x\[i, order\[j\]\] for x `[B, n]`, where `order` is a permutation; x itself without one.
pub(crate) fn permute_columns<T: Element>(x: &Var<T>, order: Option<&Arc<[u32]>>) -> Var<T> {
    match order {
        Some(order) => Var::apply(
            PermuteColumns {
                order: order.clone(),
            },
            &[x],
        ),
        None => x.clone(),
    }
}

struct PermuteColumns {
    order: Arc<[u32]>,
}

impl<T: Element> Op<T> for PermuteColumns {
    fn name(&self) -> &'static str {
        "permute_columns"
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let n = self.order.len();
        assert!(
            matches!(x[0].shape()[..], [_, columns] if columns == n),
            "permute_columns: expected [B, {n}], found {}",
            x[0].shape()
        );
        Tensor::build(*x[0].shape(), |y| {
            let rows = y
                .chunks_exact_mut(n.max(1))
                .zip(x[0].data().chunks_exact(n.max(1)));
            for (y, x) in rows {
                for (y, &from) in y.iter_mut().zip(&self.order[..]) {
                    *y = x[from as usize];
                }
            }
        })
    }

    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || permute_columns(&g, Some(&inverse(&self.order))));
    }
}
