//! + - * / max min of two operands, broadcast by the rules of NumPy.

use super::Entry;
use super::panels::panels;
use super::sample::{around_zero, distinct, sample, uniform};
use crate::{Element, Op, Saves, Tensor, Var, Vjp};
use kernels::{Binary, elementwise};

pub(super) const ADD: Entry = Entry {
    name: "add",
    formula: "a + b",
    samples: || {
        vec![
            sample!(
                "one shape",
                [uniform([2, 3], -1.0, 1.0), uniform([2, 3], -2.0, 1.0)],
                |x| { (&x[0] + &x[1]).square() }
            ),
            sample!(
                "a row",
                [uniform([3, 4], -1.0, 1.0), uniform([4], -2.0, 1.0)],
                |x| { (&x[0] + &x[1]).square() }
            ),
        ]
    },
};

pub(super) const SUB: Entry = Entry {
    name: "sub",
    formula: "a - b",
    samples: || {
        vec![sample!(
            "a column",
            [uniform([3, 1], -1.0, 1.0), uniform([3, 4], -2.0, 1.0)],
            |x| { (&x[0] - &x[1]).square() }
        )]
    },
};

pub(super) const MUL: Entry = Entry {
    name: "mul",
    formula: "a b",
    samples: || {
        vec![
            sample!(
                "one shape",
                [uniform([2, 3], -1.0, 1.0), uniform([2, 3], -2.0, 1.0)],
                |x| { &x[0] * &x[1] }
            ),
            sample!(
                "a scalar",
                [uniform([], -1.0, 1.0), uniform([2, 3], -2.0, 1.0)],
                |x| { &x[0] * &x[1] }
            ),
            sample!(
                "both stretched",
                [uniform([2, 1, 3], -1.0, 1.0), uniform([2, 1], -2.0, 1.0)],
                |x| &x[0] * &x[1]
            ),
        ]
    },
};

pub(super) const DIV: Entry = Entry {
    name: "div",
    formula: "a / b",
    samples: || {
        vec![
            sample!(
                "one shape",
                [uniform([2, 3], -1.0, 1.0), around_zero([2, 3], 0.7, 1.5)],
                |x| { &x[0] / &x[1] }
            ),
            sample!(
                "outer",
                [uniform([3], -1.0, 1.0), around_zero([2, 1], 0.7, 1.5)],
                |x| { &x[0] / &x[1] }
            ),
        ]
    },
};

pub(super) const MAX: Entry = Entry {
    name: "max",
    formula: "the larger of a and b; the gradient goes to a where they are equal",
    samples: || {
        vec![sample!(
            "a row",
            [distinct([3, 3], 0.2), uniform([3], 0.05, 0.15)],
            |x| x[0].square().max(&x[1])
        )]
    },
};

pub(super) const MIN: Entry = Entry {
    name: "min",
    formula: "the smaller of a and b; the gradient goes to a where they are equal",
    samples: || {
        vec![sample!(
            "a row",
            [distinct([3, 3], 0.2), uniform([3], 0.05, 0.15)],
            |x| x[0].min(&x[1]).square()
        )]
    },
};

/// f(a, b) for operands stretched to one shape.
#[track_caller]
pub(super) fn broadcast<T: Element>(
    name: &str,
    f: Binary,
    a: &Tensor<T>,
    b: &Tensor<T>,
) -> Tensor<T> {
    if a.shape() == b.shape() {
        return Tensor::build(*a.shape(), |out| {
            elementwise::binary(f, a.data(), b.data(), out)
        });
    }
    let Some(shape) = a.shape().broadcast(b.shape()) else {
        panic!(
            "{name}: shapes {} and {} do not broadcast",
            a.shape(),
            b.shape()
        )
    };
    Tensor::build(shape, |out| {
        panels(&shape, [a.shape(), b.shape()], |panel| {
            let out = &mut out[panel.start..][..panel.len()];
            let (a, b) = (panel.operand(0, a.data()), panel.operand(1, b.data()));
            elementwise::binary_broadcast(f, a, b, panel.cols, out);
        })
    })
}

/// An operation on two operands that broadcast: its kernel, what it saves, and its vjp.
macro_rules! binary_op {
    ($Op:ident, $name:literal, $kernel:expr, $saves:expr, |$at:ident, $g:ident| $vjp:block) => {
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
                broadcast($name, $kernel, x[0], x[1])
            }
            fn vjp(&self, $at: &Vjp<'_, T>, $g: Var<T>) $vjp
        }
    };
}

binary_op!(Add, "add", Binary::Add, Saves::NOTHING, |at, g| {
    at.give(0, || g.sum_to(at.input_shape(0)));
    at.give(1, || g.sum_to(at.input_shape(1)));
});

binary_op!(Sub, "sub", Binary::Sub, Saves::NOTHING, |at, g| {
    at.give(0, || g.sum_to(at.input_shape(0)));
    at.give(1, || -g.sum_to(at.input_shape(1)));
});

binary_op!(Mul, "mul", Binary::Mul, Saves::INPUTS, |at, g| {
    at.give(0, || (&g * at.input(1)).sum_to(at.input_shape(0)));
    at.give(1, || (&g * at.input(0)).sum_to(at.input_shape(1)));
});

binary_op!(
    Div,
    "div",
    Binary::Div,
    Saves {
        output: true,
        ..Saves::input(1)
    },
    |at, g| {
        let g = g / at.input(1);
        at.give(0, || g.sum_to(at.input_shape(0)));
        at.give(1, || -(&g * at.output()).sum_to(at.input_shape(1)));
    }
);

binary_op!(Max, "max", Binary::Max, Saves::INPUTS, |at, g| {
    to_chosen(at, &g, at.input(0), at.input(1));
});

binary_op!(Min, "min", Binary::Min, Saves::INPUTS, |at, g| {
    to_chosen(at, &g, at.input(1), at.input(0));
});

/// The gradient of the larger of two operands goes to it alone. A tie goes to input 0.
fn to_chosen<T: Element>(at: &Vjp<'_, T>, g: &Var<T>, large: Var<T>, small: Var<T>) {
    let first = broadcast("max", Binary::GreaterEqual, large.value(), small.value());
    let zero = Var::constant(Tensor::scalar(T::ZERO));
    at.give(0, || {
        Var::select(&first, g, &zero).sum_to(at.input_shape(0))
    });
    at.give(1, || {
        Var::select(&first, &zero, g).sum_to(at.input_shape(1))
    });
}

impl<T: Element> Var<T> {
    /// The larger of two numbers, elementwise with broadcasting; NaN if either is. Where they are
    /// equal, the gradient goes to this one.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn max(&self, other: &Var<T>) -> Var<T> {
        Var::apply(Max, &[self, other])
    }

    /// The smaller of two numbers, elementwise with broadcasting; NaN if either is. Where they
    /// are equal, the gradient goes to this one.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn min(&self, other: &Var<T>) -> Var<T> {
        Var::apply(Min, &[self, other])
    }
}

/// An operator for variables and references to them, and for numbers on either side.
macro_rules! operator {
    ($Trait:ident, $method:ident, |$x:ident, $c:ident| $right:expr, $left:expr) => {
        operator!(@pair $Trait, $method, &Var<T>, &Var<T>);
        operator!(@pair $Trait, $method, &Var<T>, Var<T>);
        operator!(@pair $Trait, $method, Var<T>, &Var<T>);
        operator!(@pair $Trait, $method, Var<T>, Var<T>);
        operator!(@number $Trait, $method, &Var<T>, |$x, $c| $right, $left);
        operator!(@number $Trait, $method, Var<T>, |$x, $c| $right, $left);
    };
    (@pair $Trait:ident, $method:ident, $A:ty, $B:ty) => {
        impl<T: Element> std::ops::$Trait<$B> for $A {
            type Output = Var<T>;
            #[track_caller]
            fn $method(self, other: $B) -> Var<T> {
                Var::apply($Trait, &[&self, &other])
            }
        }
    };
    (@number $Trait:ident, $method:ident, $A:ty, |$x:ident, $c:ident| $right:expr, $left:expr) => {
        impl<T: Element> std::ops::$Trait<f64> for $A {
            type Output = Var<T>;
            #[track_caller]
            fn $method(self, $c: f64) -> Var<T> {
                let $x = &self;
                $right
            }
        }
        impl<T: Element> std::ops::$Trait<$A> for f64 {
            type Output = Var<T>;
            #[track_caller]
            fn $method(self, x: $A) -> Var<T> {
                let ($x, $c) = (&x, self);
                $left
            }
        }
    };
}

operator!(Add, add, |x, c| x.shift(c), x.shift(c));
operator!(Sub, sub, |x, c| x.shift(-c), x.affine(-1.0, c));
operator!(Mul, mul, |x, c| x.scale(c), x.scale(c));
operator!(Div, div, |x, c| x.scale(1.0 / c), x.recip().scale(c));

impl<T: Element> std::ops::Neg for &Var<T> {
    type Output = Var<T>;
    fn neg(self) -> Var<T> {
        self.scale(-1.0)
    }
}

impl<T: Element> std::ops::Neg for Var<T> {
    type Output = Var<T>;
    fn neg(self) -> Var<T> {
        self.scale(-1.0)
    }
}
