//! Functions of one number: each with its kernel, what it saves, and its derivative.

use super::Entry;
use super::sample::{around_zero, sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::elementwise;
use kernels::{Binary, Unary};

/// A function of one number: `|at, g| vjp` with `at.input(0)` and `at.output()` as saved.
macro_rules! unary_op {
    (
        $Op:ident, $ENTRY:ident, $method:ident, $name:literal, $formula:literal, $saves:expr,
        $sample:expr, |$at:ident, $g:ident| $vjp:expr
    ) => {
        pub(super) const $ENTRY: Entry = Entry {
            name: $name,
            formula: $formula,
            samples: || vec![sample!("2-D", [$sample], |x| x[0].$method())],
        };

        struct $Op;

        impl<T: Element> Op<T> for $Op {
            fn name(&self) -> &'static str {
                $name
            }
            fn saves(&self) -> Saves {
                $saves
            }
            fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
                map(Unary::$Op, x[0])
            }
            fn vjp(&self, $at: &Vjp<'_, T>, $g: Var<T>) {
                $at.give(0, || $vjp);
            }
        }

        impl<T: Element> Var<T> {
            #[doc = concat!($formula, ", elementwise.")]
            pub fn $method(&self) -> Var<T> {
                Var::apply($Op, &[self])
            }
        }
    };
}

/// f of every number.
pub(super) fn map<T: Element>(f: Unary, x: &Tensor<T>) -> Tensor<T> {
    Tensor::build(*x.shape(), |out| elementwise::unary(f, x.data(), out))
}

unary_op!(
    Exp,
    EXP,
    exp,
    "exp",
    "e^x",
    Saves::OUTPUT,
    uniform([2, 3], -2.0, 2.0),
    |at, g| g * at.output()
);
unary_op!(
    Log,
    LOG,
    log,
    "log",
    "ln x",
    Saves::input(0),
    uniform([2, 3], 0.5, 3.0),
    |at, g| g / at.input(0)
);
unary_op!(
    Sqrt,
    SQRT,
    sqrt,
    "sqrt",
    "the square root of x",
    Saves::OUTPUT,
    uniform([2, 3], 0.5, 3.0),
    |at, g| g / at.output() * 0.5
);
unary_op!(
    Square,
    SQUARE,
    square,
    "square",
    "x^2",
    Saves::input(0),
    uniform([2, 3], -2.0, 2.0),
    |at, g| g.square_gradient(&at.input(0))
);
unary_op!(
    Recip,
    RECIP,
    recip,
    "recip",
    "1 / x",
    Saves::OUTPUT,
    around_zero([2, 3], 0.7, 2.0),
    |at, g| -(g * at.output().square())
);
unary_op!(
    Tanh,
    TANH,
    tanh,
    "tanh",
    "tanh x",
    Saves::OUTPUT,
    uniform([2, 3], -2.0, 2.0),
    |at, g| g.tanh_gradient(&at.output())
);
unary_op!(
    Sigmoid,
    SIGMOID,
    sigmoid,
    "sigmoid",
    "1 / (1 + e^-x)",
    Saves::OUTPUT,
    uniform([2, 3], -2.0, 2.0),
    |at, g| g.sigmoid_gradient(&at.output())
);
unary_op!(
    Softplus,
    SOFTPLUS,
    softplus,
    "softplus",
    "ln(1 + e^x)",
    Saves::input(0),
    uniform([2, 3], -2.0, 2.0),
    |at, g| g * at.input(0).sigmoid()
);
unary_op!(
    Gelu,
    GELU,
    gelu,
    "gelu",
    "x Phi(x), Phi the standard normal distribution function",
    Saves::input(0),
    uniform([2, 3], -2.0, 2.0),
    |at, g| g * at.input(0).gelu_derivative()
);
unary_op!(
    GeluDerivative,
    GELU_DERIVATIVE,
    gelu_derivative,
    "gelu_derivative",
    "Phi(x) + x phi(x), the derivative of gelu",
    Saves::input(0),
    uniform([2, 3], -2.0, 2.0),
    |at, g| g * at.input(0).gelu_second_derivative()
);
unary_op!(
    GeluSecondDerivative,
    GELU_SECOND_DERIVATIVE,
    gelu_second_derivative,
    "gelu_second_derivative",
    "(2 - x^2) phi(x), the second derivative of gelu",
    Saves::input(0),
    uniform([2, 3], -2.0, 2.0),
    |at, g| {
        // x (x^2 - 4) phi(x)
        let x = at.input(0);
        let square = x.square();
        let density =
            (&square * -0.5).exp() * (0.5 * std::f64::consts::FRAC_2_SQRT_PI / 2f64.sqrt());
        g * (x * (square - 4.0) * density)
    }
);
/// The gradient of a function seen in its result (or argument), times g: inputs (y, g).
macro_rules! gradient_op {
    (
        $Op:ident, $ENTRY:ident, $method:ident, $name:literal, $formula:literal, $saves:expr,
        |$at:ident, $h:ident| $by_y:expr, $by_g:expr
    ) => {
        pub(super) const $ENTRY: Entry = Entry {
            name: $name,
            formula: $formula,
            samples: || {
                let (y, g) = (around_zero([2, 3], 0.1, 0.9), uniform([2, 3], -1.0, 1.0));
                vec![sample!("2-D", [y.clone(), g.clone()], |x| x[1].$method(&x[0]))]
            },
        };

        struct $Op;

        impl<T: Element> Op<T> for $Op {
            fn name(&self) -> &'static str {
                $name
            }
            fn saves(&self) -> Saves {
                $saves
            }
            #[track_caller]
            fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
                super::arithmetic::broadcast($name, Binary::$Op, x[0], x[1])
            }
            fn vjp(&self, $at: &Vjp<'_, T>, $h: Var<T>) {
                $at.give(0, || $by_y);
                $at.give(1, || $by_g);
            }
        }

        impl<T: Element> Var<T> {
            #[doc = concat!($formula, "; g is self, both of one shape.")]
            pub(crate) fn $method(&self, y: &Var<T>) -> Var<T> {
                debug_assert_eq!(self.shape(), y.shape());
                Var::apply($Op, &[y, self])
            }
        }
    };
}

gradient_op!(
    SquareGradient,
    SQUARE_GRADIENT,
    square_gradient,
    "square_gradient",
    "2 g y",
    Saves::INPUTS,
    |at, h| h.square_gradient(&at.input(1)),
    h.square_gradient(&at.input(0))
);
gradient_op!(
    TanhGradient,
    TANH_GRADIENT,
    tanh_gradient,
    "tanh_gradient",
    "g (1 - y^2)",
    Saves::INPUTS,
    |at, h| -(&h * at.input(1)).square_gradient(&at.input(0)),
    h.tanh_gradient(&at.input(0))
);
gradient_op!(
    SigmoidGradient,
    SIGMOID_GRADIENT,
    sigmoid_gradient,
    "sigmoid_gradient",
    "g y (1 - y)",
    Saves::INPUTS,
    |at, h| &h * at.input(1) * at.input(0).affine(-2.0, 1.0),
    h.sigmoid_gradient(&at.input(0))
);
