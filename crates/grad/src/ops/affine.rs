//! s x + c for two numbers s and c.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::elementwise;

pub(super) const AFFINE: Entry = Entry {
    name: "affine",
    formula: "s x + c for two numbers s and c",
    samples: || {
        vec![
            sample!("scale", [uniform([2, 3], -1.0, 1.0)], |x| (&x[0] * -1.5)
                .square()),
            sample!("shift", [uniform([2, 3], -1.0, 1.0)], |x| (&x[0] + 0.5)
                .square()),
            sample!("both", [uniform([2, 3], -1.0, 1.0)], |x| (2.0 - &x[0])
                .square()),
            sample!("reciprocal", [uniform([2, 3], 0.7, 2.0)], |x| 2.0 / &x[0]),
        ]
    },
};

struct Affine {
    scale: f64,
    shift: f64,
}

impl<T: Element> Op<T> for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        Tensor::build(*x[0].shape(), |out| {
            let (scale, shift) = (T::from_f64(self.scale), T::from_f64(self.shift));
            elementwise::affine(scale, shift, x[0].data(), out)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.scale(self.scale));
    }
}

impl<T: Element> Var<T> {
    /// scale x + shift, elementwise.
    pub fn affine(&self, scale: f64, shift: f64) -> Var<T> {
        if (scale, shift) == (1.0, 0.0) {
            return self.clone();
        }
        Var::apply(Affine { scale, shift }, &[self])
    }

    /// s x, elementwise.
    pub fn scale(&self, s: f64) -> Var<T> {
        self.affine(s, 0.0)
    }

    /// x + c, elementwise.
    pub fn shift(&self, c: f64) -> Var<T> {
        self.affine(1.0, c)
    }
}
