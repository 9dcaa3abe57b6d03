//! Softmax and its logarithm, over the last axis.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::reduce;

pub(super) const SOFTMAX: Entry = Entry {
    name: "softmax",
    formula: "e^x / sum e^x over the last axis",
    samples: || vec![sample!("3-D", [uniform([2, 2, 3], -2.0, 2.0)], |x| x[0].softmax())],
};

pub(super) const SOFTMAX_GRADIENT: Entry = Entry {
    name: "softmax_gradient",
    formula: "y (g - sum of g y over the last axis)",
    samples: || {
        vec![sample!(
            "2-D",
            [uniform([2, 3], 0.1, 0.9), uniform([2, 3], -1.0, 1.0)],
            |x| x[1].softmax_gradient(&x[0])
        )]
    },
};

pub(super) const LOG_SOFTMAX_GRADIENT: Entry = Entry {
    name: "log_softmax_gradient",
    formula: "g - e^y (sum of g over the last axis)",
    samples: || {
        vec![sample!(
            "2-D",
            [uniform([2, 3], -2.0, -0.1), uniform([2, 3], -1.0, 1.0)],
            |x| x[1].log_softmax_gradient(&x[0])
        )]
    },
};

pub(super) const LOG_SOFTMAX: Entry = Entry {
    name: "log_softmax",
    formula: "x - ln sum e^x over the last axis",
    samples: || vec![sample!("2-D", [uniform([2, 4], -2.0, 2.0)], |x| x[0].log_softmax())],
};

struct Softmax;

impl<T: Element> Op<T> for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }
    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let columns = x[0].shape().last_extent();
        Tensor::build(*x[0].shape(), |y| reduce::softmax(x[0].data(), columns, y))
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.softmax_gradient(&at.output()));
    }
}

/// Inputs (y, g).
struct SoftmaxGradient;

impl<T: Element> Op<T> for SoftmaxGradient {
    fn name(&self) -> &'static str {
        "softmax_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (y, g) = (inputs[0], inputs[1]);
        let columns = y.shape().last_extent();
        Tensor::build(*y.shape(), |out| {
            reduce::softmax_gradient(y.data(), g.data(), columns, out)
        })
    }
    /// With s = sum g y and t = sum h y: dg = y (h - t), dy = h (g - s) - t g.
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        let (y, g) = (at.input(0), at.input(1));
        let last = y.shape().rank() - 1;
        at.give(0, || {
            let s = (&g * &y).sum_axes_keep(&[last]);
            let t = (&h * &y).sum_axes_keep(&[last]);
            &h * (&g - s) - t * &g
        });
        at.give(1, || h.softmax_gradient(&y));
    }
}

struct LogSoftmax;

impl<T: Element> Op<T> for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }
    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let columns = x[0].shape().last_extent();
        Tensor::build(*x[0].shape(), |y| {
            reduce::log_softmax(x[0].data(), columns, y)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.log_softmax_gradient(&at.output()));
    }
}

/// Inputs (y, g).
struct LogSoftmaxGradient;

impl<T: Element> Op<T> for LogSoftmaxGradient {
    fn name(&self) -> &'static str {
        "log_softmax_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (y, g) = (inputs[0], inputs[1]);
        let columns = y.shape().last_extent();
        Tensor::build(*y.shape(), |out| {
            reduce::log_softmax_gradient(y.data(), g.data(), columns, out)
        })
    }
    /// dg = h - sum h e^y, dy = -h e^y sum g.
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        let last = [h.shape().rank() - 1];
        let share = &h * at.input(0).exp();
        at.give(0, || -(&share * at.input(1).sum_axes_keep(&last)));
        at.give(1, || &h - share.sum_axes_keep(&last));
    }
}

impl<T: Element> Var<T> {
    /// e^x / sum e^x over the last axis. Does not overflow.
    ///
    /// # Panics
    /// If this is a scalar, or the last axis is empty.
    #[track_caller]
    pub fn softmax(&self) -> Var<T> {
        self.assert_rows("softmax");
        Var::apply(Softmax, &[self])
    }

    /// x - ln sum e^x over the last axis. Does not overflow.
    ///
    /// # Panics
    /// If this is a scalar, or the last axis is empty.
    #[track_caller]
    pub fn log_softmax(&self) -> Var<T> {
        self.assert_rows("log_softmax");
        Var::apply(LogSoftmax, &[self])
    }

    /// y (self - sum of self y over the last axis); both of one shape.
    pub(super) fn softmax_gradient(&self, y: &Var<T>) -> Var<T> {
        Var::apply(SoftmaxGradient, &[y, self])
    }

    /// self - e^y (sum of self over the last axis); both of one shape.
    fn log_softmax_gradient(&self, y: &Var<T>) -> Var<T> {
        Var::apply(LogSoftmaxGradient, &[y, self])
    }

    #[track_caller]
    pub(super) fn assert_rows(&self, op: &str) {
        assert!(
            self.shape().rank() > 0 && self.shape().last_extent() > 0,
            "{op}: no rows in shape {}",
            self.shape()
        );
    }
}
