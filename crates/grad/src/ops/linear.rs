//! A fully connected layer: product, bias and activation in one pass.

use super::Entry;
use super::bias::{assert_differentiable, saves_for, through};
use super::matmul::rows_of;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::gemm::{Activation, Beta, Epilogue, Mat, gemm};

pub(super) const LINEAR: Entry = Entry {
    name: "linear",
    formula: "act(x w + b)",
    samples: || {
        vec![
            sample!(
                "bias and relu",
                [
                    uniform([3, 4], -1.0, 1.0),
                    uniform([4, 2], -1.0, 1.0),
                    uniform([2], -1.0, 1.0)
                ],
                |x| x[0].linear(&x[1], Some(&x[2]), Activation::Relu)
            ),
            sample!(
                "bias and leaky relu, rank 3",
                [
                    uniform([2, 2, 3], -1.0, 1.0),
                    uniform([3, 2], -1.0, 1.0),
                    uniform([2], -1.0, 1.0)
                ],
                |x| x[0].linear(&x[1], Some(&x[2]), Activation::LeakyRelu(0.2))
            ),
            sample!(
                "bias alone",
                [
                    uniform([3, 4], -1.0, 1.0),
                    uniform([4, 2], -1.0, 1.0),
                    uniform([2], -1.0, 1.0)
                ],
                |x| x[0].linear(&x[1], Some(&x[2]), Activation::Identity)
            ),
            sample!(
                "relu alone",
                [uniform([3, 4], -1.0, 1.0), uniform([4, 2], -1.0, 1.0)],
                |x| x[0].linear(&x[1], None, Activation::Relu)
            ),
        ]
    },
};

/// Inputs x, w and, if there are three, b.
struct Linear(Activation);

impl<T: Element> Op<T> for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn saves(&self) -> Saves {
        saves_for(self.0, 0b11)
    }
    #[track_caller]
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (x, w, b) = (inputs[0], inputs[1], inputs.get(2));
        let fits = matches!((&x.shape()[..], &w.shape()[..]), ([.., k], &[w_k, _]) if *k == w_k);
        assert!(fits, "linear: x {} x w {}", x.shape(), w.shape());
        let (k, n) = (w.shape()[0], w.shape()[1]);
        if let Some(b) = b {
            assert!(
                b.shape()[..] == [n],
                "linear: bias {} for w {}",
                b.shape(),
                w.shape()
            );
        }
        let m: usize = x.shape()[..x.shape().rank() - 1].iter().product();
        Tensor::build(x.shape().with(x.shape().rank() - 1, n), |out| {
            let epilogue = Epilogue {
                bias: b.map(|b| b.data()),
                activation: self.0,
            };
            let (x, w) = (Mat::new(x.data(), m, k), Mat::new(w.data(), k, n));
            gemm(x, w, Beta::Zero, out, epilogue);
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let g = through(self.0, at, g, 2);
        let [k, n] = at.input_shape(1)[..] else {
            unreachable!("the forward pass took w as a matrix");
        };
        at.give_product(
            0,
            g.clone(),
            |beta, gx, g| {
                let g = Mat::new(g, g.len() / n.max(1), n);
                at.read_input(1, |w| {
                    gemm(g, Mat::new(w, k, n).t(), beta, gx, Epilogue::NONE);
                });
            },
            |g| g.matmul_with(&at.input(1), false, true),
        );
        at.give_product(
            1,
            g,
            |beta, gw, g| {
                let m = g.len() / n.max(1);
                at.read_input(0, |x| {
                    let (x, g) = (Mat::new(x, m, k), Mat::new(g, m, n));
                    gemm(x.t(), g, beta, gw, Epilogue::NONE);
                });
            },
            |g| rows_of(&at.input(0)).matmul_with(&rows_of(&g), true, false),
        );
    }
}

impl<T: Element> Var<T> {
    /// act(self w + b), in one pass over the output.
    ///
    /// Shapes: self `[.., in]`, w `[in, out]`, b `[out]`, the result `[.., out]`.
    ///
    /// # Panics
    /// If the shapes do not fit, or for a leaky ReLU with a negative slope.
    #[track_caller]
    pub fn linear(&self, w: &Var<T>, b: Option<&Var<T>>, activation: Activation) -> Var<T> {
        assert_differentiable("linear", activation);
        let op = Linear(activation);
        match b {
            Some(b) => Var::apply(op, &[self, w, b]),
            None => Var::apply(op, &[self, w]),
        }
    }
}
