//! Bias and activation, alone and as the end of a product.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::gemm::Activation;
use kernels::reduce;

pub(super) const BIAS_ACTIVATION: Entry = Entry {
    name: "bias_activation",
    formula: "act(x + b)",
    samples: || {
        vec![
            sample!(
                "relu",
                [uniform([4, 3], -1.0, 1.0), uniform([3], -1.0, 1.0)],
                |x| x[0].bias_activation(&x[1], Activation::Relu)
            ),
            sample!(
                "leaky relu, rank 3",
                [uniform([2, 2, 3], -1.0, 1.0), uniform([3], -1.0, 1.0)],
                |x| x[0].bias_activation(&x[1], Activation::LeakyRelu(0.2))
            ),
            sample!(
                "no activation",
                [uniform([2, 3], -1.0, 1.0), uniform([3], -1.0, 1.0)],
                |x| x[0].bias_activation(&x[1], Activation::Identity)
            ),
        ]
    },
};

/// Inputs x and b.
struct BiasActivation(Activation);

impl<T: Element> Op<T> for BiasActivation {
    fn name(&self) -> &'static str {
        "bias_activation"
    }
    fn saves(&self) -> Saves {
        saves_for(self.0, 0)
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        Tensor::build(*x[0].shape(), |y| {
            reduce::bias_activation(x[0].data(), x[1].data(), self.0, y)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let g = through(self.0, at, g, 1);
        at.give(0, || g);
    }
}

impl<T: Element> Var<T> {
    /// act(self + b): what the epilogue of a product does, for sums of several products.
    ///
    /// Shapes: self `[.., C]`, b `[C]`.
    ///
    /// # Panics
    /// If the shapes do not fit, or for a leaky ReLU with a negative slope.
    #[track_caller]
    pub fn bias_activation(&self, b: &Var<T>, activation: Activation) -> Var<T> {
        assert_differentiable("bias_activation", activation);
        self.assert_columns("bias_activation", b, b);
        Var::apply(BiasActivation(activation), &[self, b])
    }
}

/// What an operation saves that ends in an activation, whose derivative is seen in its output, and
/// itself saves `inputs`.
pub(super) fn saves_for(activation: Activation, inputs: u32) -> Saves {
    Saves {
        inputs,
        output: activation != Activation::Identity,
    }
}

/// The gradient before a bias and an activation that end an operation, from the one after them.
/// Gives the gradient of the bias, if input number `bias` exists.
#[track_caller]
pub(super) fn through<T: Element>(
    activation: Activation,
    at: &Vjp<'_, T>,
    g: Var<T>,
    bias: usize,
) -> Var<T> {
    let bias = (bias < at.inputs() && at.needs(bias)).then_some(bias);
    if let (Some(bias), false, true) = (bias, at.records(), activation != Activation::Identity) {
        // Both gradients in one pass.
        let mut before = None;
        let of_bias = Tensor::build(at.input_shape(bias), |of_bias| {
            before = Some(Tensor::build(*g.shape(), |out| {
                let (y, g) = (at.output(), g.value().data());
                reduce::bias_activation_gradient(y.value().data(), g, activation, out, of_bias)
            }));
        });
        at.give(bias, || Var::constant(of_bias));
        return Var::constant(before.expect("it was built with the other one"));
    }
    let g = match activation {
        Activation::Identity => g,
        Activation::Relu => g.relu_gradient(&at.output()),
        Activation::LeakyRelu(slope) => g.leaky_relu_gradient(&at.output(), f64::from(slope)),
        other => unreachable!("{other:?} was refused when it was applied"),
    };
    if let Some(bias) = bias {
        at.give(bias, || {
            let shape = at.input_shape(bias);
            if at.records() {
                return g.sum_to(shape);
            }
            let sums = |out: &mut [T]| reduce::sum_columns(g.value().data(), out);
            Var::constant(Tensor::build(shape, sums))
        });
    }
    g
}

/// The derivative must be seen in the sign of the output.
#[track_caller]
pub(super) fn assert_differentiable(op: &str, activation: Activation) {
    let seen = match activation {
        Activation::Identity | Activation::Relu => true,
        Activation::LeakyRelu(slope) => slope >= 0.0,
        _ => false,
    };
    assert!(
        seen,
        "{op}: no derivative for the fused activation {activation:?}"
    );
}
