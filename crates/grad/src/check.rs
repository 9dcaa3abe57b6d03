//! Derivatives held against finite differences, in f64.
//!
//! For y = f(x_1, .., x_n) with a fixed random cotangent c, the scalar <c, y> is differentiated
//! by the tape and by central differences. To second order, the recorded first derivatives,
//! contracted with fixed random cotangents of their own, are differentiated in the same two ways;
//! there c counts as an input, too.

use crate::ops::splitmix;
use crate::{Shape, Tape, Tensor, Var};
use std::fmt;

/// The largest error [`gradients`] accepts, relative to the larger of the derivative itself and
/// the root mean square of all derivatives by the same input.
pub const TOLERANCE: f64 = 1e-6;

/// Up to which order [`gradients`] checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// First derivatives.
    First,
    /// First and second derivatives.
    Second,
}

/// A derivative that finite differences do not confirm.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// What was checked.
    pub name: String,
    /// The order of the derivative.
    pub order: Order,
    /// Which input it is by; in second order, the number of inputs means the cotangent c.
    pub input: usize,
    /// That input's shape.
    pub shape: Shape,
    /// Where in that input, in row-major order.
    pub index: usize,
    /// By central differences.
    pub expected: f64,
    /// By the tape.
    pub found: f64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:?}-order derivative by input {} (shape {}) at index {}: \
             expected {:e} (finite differences), found {:e}",
            self.name, self.order, self.input, self.shape, self.index, self.expected, self.found
        )
    }
}

impl std::error::Error for Mismatch {}

/// Holds the derivatives of `f` by all its inputs against central differences.
///
/// `f` must be smooth around the inputs: keep a few 1e-2 away from kinks. `name` is what the error
/// shows. Values of any shape are fine.
///
/// ```
/// use grad::check::{Order, gradients};
/// use grad::Tensor;
/// let x = Tensor::new([3], &[0.3, -1.2, 0.8]);
/// gradients("x tanh x", &[x], |x| &x[0] * x[0].tanh(), Order::Second).unwrap();
/// ```
///
/// # Errors
/// The first derivative that differs by more than [`TOLERANCE`].
///
/// # Panics
/// If `f` does, or uses an operation without the derivative that is asked for.
pub fn gradients(
    name: &str,
    inputs: &[Tensor<f64>],
    f: impl Fn(&[Var<f64>]) -> Var<f64>,
    order: Order,
) -> Result<(), Mismatch> {
    // Not recorded where nothing is differentiated, so that this is checked, too.
    checked(name, inputs, |_, x| f(x), |_, x| Var::constant(x), order)
}

/// As [`gradients`], for a function that takes gradients itself: it is given the tape that its
/// variables are on. A penalty on a gradient is one, and so is score matching.
///
/// ```
/// use grad::check::{Order, gradients_on_tape};
/// use grad::{Tape, Tensor, Var};
///
/// // (|d critic / d x| - 1)^2 for critic = leaky_relu(x w), by x and by w.
/// let penalty = |tape: &Tape<f64>, x: &[Var<f64>]| {
///     let critic = x[0].matmul(&x[1]).leaky_relu(0.2).square().sum();
///     let gx = &tape.gradients_recorded(&critic, &[&x[0]])[0];
///     (gx.square().sum().sqrt() - 1.0).square()
/// };
/// let x = Tensor::new([2, 2], &[0.3, -0.8, 1.1, 0.4]);
/// let w = Tensor::new([2, 1], &[2.0, 1.5]);
/// gradients_on_tape("penalty", &[x, w], penalty, Order::First).unwrap();
/// ```
///
/// # Errors
/// As [`gradients`].
///
/// # Panics
/// As [`gradients`].
pub fn gradients_on_tape(
    name: &str,
    inputs: &[Tensor<f64>],
    f: impl Fn(&Tape<f64>, &[Var<f64>]) -> Var<f64>,
    order: Order,
) -> Result<(), Mismatch> {
    let recorded = |tape: &Tape<f64>, x: Tensor<f64>| tape.var(x);
    checked(name, inputs, f, recorded, order)
}

/// `bind` makes the variables where a value alone is wanted.
fn checked(
    name: &str,
    inputs: &[Tensor<f64>],
    f: impl Fn(&Tape<f64>, &[Var<f64>]) -> Var<f64>,
    bind: impl Fn(&Tape<f64>, Tensor<f64>) -> Var<f64>,
    order: Order,
) -> Result<(), Mismatch> {
    let value = |x: &[Tensor<f64>]| {
        let tape = Tape::new();
        let x: Vec<_> = x.iter().map(|x| bind(&tape, x.clone())).collect();
        f(&tape, &x).into_value()
    };
    let cotangent = noise(*value(inputs).shape(), 0);

    let first = |tape: &Tape<f64>, x: &[Var<f64>]| {
        let y = &f(tape, x) * &Var::constant(cotangent.clone());
        let y = y.sum();
        tape.gradients(&y, &x.iter().collect::<Vec<_>>())
    };
    let contracted = |x: &[Tensor<f64>]| dot(&value(x), &cotangent);
    let tape = Tape::new();
    let x: Vec<_> = inputs.iter().map(|x| tape.var(x.clone())).collect();
    compare(name, Order::First, inputs, &first(&tape, &x), contracted)?;
    if order == Order::First {
        return Ok(());
    }

    // The second order: everything above, with c as one more input.
    let mut inputs = inputs.to_vec();
    inputs.push(cotangent.clone());
    let directions: Vec<_> = (inputs.iter().enumerate())
        .map(|(i, x)| noise(*x.shape(), i as u64 + 1))
        .collect();
    let (n, last) = (inputs.len() - 1, inputs.len() - 1);
    let tape = Tape::new();
    let x: Vec<_> = inputs.iter().map(|x| tape.var(x.clone())).collect();
    let y = (&f(&tape, &x[..n]) * &x[last]).sum();
    let recorded = tape.gradients_recorded(&y, &x[..n].iter().collect::<Vec<_>>());
    let contracted = (recorded.iter().zip(&directions))
        .map(|(gradient, v)| (gradient * &Var::constant(v.clone())).sum())
        .reduce(|sum, term| sum + term);
    let Some(contracted) = contracted else {
        return Ok(());
    };
    let second = if contracted.is_recorded() {
        tape.gradients(&contracted, &x.iter().collect::<Vec<_>>())
    } else {
        inputs.iter().map(|x| Tensor::zeros(*x.shape())).collect()
    };
    let value = |x: &[Tensor<f64>]| {
        let tape = Tape::new();
        let vars: Vec<_> = x[..n].iter().map(|x| tape.var(x.clone())).collect();
        let y = (&f(&tape, &vars) * &Var::constant(x[last].clone())).sum();
        let first = tape.gradients(&y, &vars.iter().collect::<Vec<_>>());
        first.iter().zip(&directions).map(|(g, v)| dot(g, v)).sum()
    };
    compare(name, Order::Second, &inputs, &second, value)
}

/// Central differences of `value` against `found`.
fn compare(
    name: &str,
    order: Order,
    inputs: &[Tensor<f64>],
    found: &[Tensor<f64>],
    value: impl Fn(&[Tensor<f64>]) -> f64,
) -> Result<(), Mismatch> {
    let mut x = inputs.to_vec();
    for (input, found) in found.iter().enumerate() {
        let expected = Tensor::from_fn(*inputs[input].shape(), |index| {
            let at = inputs[input].data()[index];
            let mut shifted = |by: f64| {
                x[input].make_mut()[index] = at + by;
                let value = value(&x);
                x[input].make_mut()[index] = at;
                value
            };
            // Five-point stencil: its error is h^4 f''''' / 30.
            let h = 5e-4 * at.abs().max(0.5);
            let near = shifted(h) - shifted(-h);
            let far = shifted(2.0 * h) - shifted(-2.0 * h);
            (8.0 * near - far) / (12.0 * h)
        });
        let mean_square = dot(&expected, &expected) / expected.len().max(1) as f64;
        // Where all derivatives are 0, rounding in the differences still is not.
        let floor = mean_square.sqrt().max(1e-3);
        for (index, (&expected, &found)) in expected.data().iter().zip(found.data()).enumerate() {
            let size = expected.abs().max(found.abs()).max(floor);
            let near = (expected - found).abs() <= TOLERANCE * size;
            if !near {
                return Err(Mismatch {
                    name: name.into(),
                    order,
                    input,
                    shape: *inputs[input].shape(),
                    index,
                    expected,
                    found,
                });
            }
        }
    }
    Ok(())
}

fn dot(a: &Tensor<f64>, b: &Tensor<f64>) -> f64 {
    a.data().iter().zip(b.data()).map(|(a, b)| a * b).sum()
}

/// Numbers in +-[0.5, 1.5): no direction of the result is left out.
fn noise(shape: Shape, stream: u64) -> Tensor<f64> {
    Tensor::from_fn(shape, |i| {
        let bits = splitmix(splitmix(stream) ^ i as u64);
        let size = 0.5 + (bits >> 11) as f64 / (1u64 << 53) as f64;
        if bits & 1 == 0 { size } else { -size }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Saves, Vjp};

    /// y = x^3 with the derivative `factor` x^2, written in variables or not.
    struct Cube {
        factor: f64,
        taped: bool,
    }

    impl Op<f64> for Cube {
        fn name(&self) -> &'static str {
            "cube"
        }
        fn saves(&self) -> Saves {
            Saves::input(0)
        }
        fn forward(&self, x: &[&Tensor<f64>]) -> Tensor<f64> {
            x[0].map(|x| x * x * x)
        }
        fn vjp(&self, at: &Vjp<f64>, g: Var<f64>) {
            let x = at.input(0);
            let x = if self.taped { x } else { x.detach() };
            at.give(0, || g * x.square() * self.factor);
        }
    }

    fn check(factor: f64, taped: bool, order: Order) -> Result<(), Mismatch> {
        let inputs = [
            Tensor::new([2], &[0.5, -1.0]),
            Tensor::new([2], &[1.0, 2.0]),
        ];
        let f = |x: &[Var<f64>]| Var::apply(Cube { factor, taped }, &[&x[1]]) * &x[0];
        gradients("a cube", &inputs, f, order)
    }

    #[test]
    fn right_derivatives_pass() {
        assert_eq!(check(3.0, true, Order::Second), Ok(()));
        assert_eq!(check(3.0, false, Order::First), Ok(()));
    }

    #[test]
    fn a_function_may_take_gradients_itself() {
        let inputs = [Tensor::new([2], &[0.5, -1.0])];
        let check = |factor: f64, taped: bool, order| {
            // The derivative of x^3, times x: 3 x^3.
            let f = |tape: &Tape<f64>, x: &[Var<f64>]| {
                let y = Var::apply(Cube { factor, taped }, &[&x[0]]).sum();
                &tape.gradients_recorded(&y, &[&x[0]])[0] * &x[0]
            };
            gradients_on_tape("a gradient", &inputs, f, order)
        };
        assert_eq!(check(3.0, true, Order::Second), Ok(()));
        // Its own gradient is what it says, but not that of what it computes.
        let mismatch = check(3.0, false, Order::First).unwrap_err();
        assert_eq!((mismatch.order, mismatch.input), (Order::First, 0));
    }

    #[test]
    fn a_wrong_first_derivative_is_found() {
        let mismatch = check(3.0 + 1e-5, true, Order::First).unwrap_err();
        assert_eq!((mismatch.order, mismatch.input), (Order::First, 1));
        let message = mismatch.to_string();
        let begins = "a cube: First-order derivative by input 1 (shape [2]) at index ";
        assert!(message.starts_with(begins), "{message}");
        assert!((mismatch.found / mismatch.expected - 1.0 - 1e-5 / 3.0).abs() < 1e-8);
    }

    #[test]
    fn a_derivative_that_leaves_the_tape_is_found_in_second_order() {
        let mismatch = check(3.0, false, Order::Second).unwrap_err();
        assert_eq!((mismatch.order, mismatch.input), (Order::Second, 1));
    }
}
