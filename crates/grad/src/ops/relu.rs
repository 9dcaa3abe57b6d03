//! ReLU and its leaky relative, with their derivatives: linear on either side of a kink at 0.

use super::Entry;
use super::sample::{around_zero, sample, uniform};
use super::unary::map;
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::{Binary, Unary, elementwise};

pub(super) const RELU: Entry = Entry {
    name: "relu",
    formula: "max(x, 0), with the derivative 0 at 0",
    samples: || {
        vec![
            sample!("2-D", [around_zero([2, 3], 0.1, 2.0)], |x| x[0].relu()),
            sample!("squared", [around_zero([2, 3], 0.1, 2.0)], |x| x[0]
                .relu()
                .square()),
            sample!(
                "of an argument that has a gradient already",
                [around_zero([2, 3], 0.1, 2.0)],
                |x| x[0].relu() + x[0].square()
            ),
        ]
    },
};

pub(super) const LEAKY_RELU: Entry = Entry {
    name: "leaky_relu",
    formula: "x where x > 0, else slope x, with the derivative slope at 0",
    samples: || {
        vec![
            sample!("slope 0.2", [around_zero([2, 3], 0.1, 2.0)], |x| x[0]
                .leaky_relu(0.2)),
            sample!("squared", [around_zero([2, 3], 0.1, 2.0)], |x| x[0]
                .leaky_relu(0.01)
                .square()),
        ]
    },
};

pub(super) const LEAKY_RELU_GRADIENT: Entry = Entry {
    name: "leaky_relu_gradient",
    formula: "g where y > 0, else slope g; its derivative by y is 0",
    samples: || {
        vec![
            sample!(
                "slope 0.2",
                [around_zero([2, 3], 0.1, 0.9), uniform([2, 3], -1.0, 1.0)],
                |x| x[1].leaky_relu_gradient(&x[0], 0.2).square()
            ),
            sample!(
                "relu",
                [around_zero([2, 3], 0.1, 0.9), uniform([2, 3], -1.0, 1.0)],
                |x| x[1].relu_gradient(&x[0]).square()
            ),
        ]
    },
};

pub(super) const ABS: Entry = Entry {
    name: "abs",
    formula: "|x|, with the derivative 0 at 0",
    samples: || {
        vec![sample!("2-D", [around_zero([2, 3], 0.1, 2.0)], |x| x[0]
            .abs()
            .square())]
    },
};

struct Relu;

impl<T: Element> Op<T> for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }
    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        map(Unary::Relu, x[0])
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let y = at.output();
        at.give_part(
            0,
            g,
            |gx, g| elementwise::add_relu_gradient(y.value().data(), g, gx),
            |g| g.relu_gradient(&y),
        );
    }
}

struct LeakyRelu {
    slope: f64,
}

impl<T: Element> Op<T> for LeakyRelu {
    fn name(&self) -> &'static str {
        "leaky_relu"
    }
    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        Tensor::build(*x[0].shape(), |out| {
            elementwise::leaky_relu(T::from_f64(self.slope), x[0].data(), out)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.leaky_relu_gradient(&at.output(), self.slope));
    }
}

/// Inputs (y, g). Linear in g; in y it is flat wherever it is smooth, so y gets no gradient.
struct ReluGradient;

impl<T: Element> Op<T> for ReluGradient {
    fn name(&self) -> &'static str {
        "relu_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::input(0)
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        Tensor::build(*x[0].shape(), |out| {
            elementwise::binary(Binary::ReluGradient, x[0].data(), x[1].data(), out)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        at.give(1, || h.relu_gradient(&at.input(0)));
    }
}

/// As [`ReluGradient`].
struct LeakyReluGradient {
    slope: f64,
}

impl<T: Element> Op<T> for LeakyReluGradient {
    fn name(&self) -> &'static str {
        "leaky_relu_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::input(0)
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        Tensor::build(*x[0].shape(), |out| {
            let slope = T::from_f64(self.slope);
            elementwise::leaky_relu_gradient(slope, x[0].data(), x[1].data(), out)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        at.give(1, || h.leaky_relu_gradient(&at.input(0), self.slope));
    }
}

struct Abs;

impl<T: Element> Op<T> for Abs {
    fn name(&self) -> &'static str {
        "abs"
    }
    fn saves(&self) -> Saves {
        Saves::input(0)
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        map(Unary::Abs, x[0])
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g * at.input(0).sign());
    }
}

/// 1 above 0, -1 below: flat wherever it is smooth, so it passes no gradient on.
struct Sign;

impl<T: Element> Op<T> for Sign {
    fn name(&self) -> &'static str {
        "sign"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        map(Unary::Sign, x[0])
    }
    fn vjp(&self, _: &Vjp<'_, T>, _: Var<T>) {}
}

impl<T: Element> Var<T> {
    /// max(x, 0), elementwise; the derivative at 0 is 0.
    pub fn relu(&self) -> Var<T> {
        Var::apply(Relu, &[self])
    }

    /// x where x > 0, else slope x, elementwise; the derivative at 0 is the slope.
    ///
    /// # Panics
    /// If the slope is negative: the derivative is seen in the sign of the result.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Var<T> {
        assert!(slope >= 0.0, "leaky_relu: negative slope {slope}");
        if slope == 0.0 {
            return self.relu();
        }
        Var::apply(LeakyRelu { slope }, &[self])
    }

    /// |x|, elementwise; the derivative at 0 is 0.
    pub fn abs(&self) -> Var<T> {
        Var::apply(Abs, &[self])
    }

    /// 1 above 0, -1 below, 0 at 0, elementwise; its derivative is 0.
    pub fn sign(&self) -> Var<T> {
        Var::apply(Sign, &[self])
    }

    /// self where y > 0, else 0; both of one shape.
    #[track_caller]
    pub(super) fn relu_gradient(&self, y: &Var<T>) -> Var<T> {
        Var::apply(ReluGradient, &[y, self])
    }

    /// self where y > 0, else slope self; both of one shape.
    #[track_caller]
    pub(super) fn leaky_relu_gradient(&self, y: &Var<T>, slope: f64) -> Var<T> {
        Var::apply(LeakyReluGradient { slope }, &[y, self])
    }
}
