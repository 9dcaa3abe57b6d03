//! An operation of one's own: forward, backward, a check of both derivatives, and its use.
//!
//! ```sh
//! cargo run --release -p genzoo-grad --example custom_operation
//! ```

use grad::check::{Order, gradients};
use grad::{Element, Op, Saves, Tape, Tensor, Var, Vjp};

/// y = |x|^p sign(x), elementwise, for p > 2: a power that keeps the sign.
struct SignedPower {
    exponent: f64,
}

impl<T: Element> Op<T> for SignedPower {
    fn name(&self) -> &'static str {
        "signed_power"
    }

    /// What the backward pass wants to see again: the first input.
    fn saves(&self) -> Saves {
        Saves::input(0)
    }

    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let p = T::from_f64(self.exponent);
        x[0].map(|x| {
            let power = x.abs().powf(p);
            if x < T::ZERO { -power } else { power }
        })
    }

    /// dy/dx = p |x|^(p - 1), which is sign(x) times the signed power of one less. It is written
    /// in variables, so it can be differentiated again.
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let x = at.input(0);
            let power = signed_power(&x, self.exponent - 1.0) * x.sign();
            g * power.scale(self.exponent)
        });
    }
}

fn signed_power<T: Element>(x: &Var<T>, exponent: f64) -> Var<T> {
    Var::apply(SignedPower { exponent }, &[x])
}

fn main() -> Result<(), grad::check::Mismatch> {
    // Away from 0, where differences are smooth.
    let x = Tensor::new([2, 3], &[0.5, -1.2, 2.0, -0.3, 0.9, -1.7]);
    let f = |x: &[Var<f64>]| signed_power(&x[0], 3.5);
    gradients("signed_power", std::slice::from_ref(&x), f, Order::Second)?;
    println!("first and second derivatives agree with finite differences");

    // In f32 on a tape, as in training.
    let tape = Tape::new();
    let x = tape.var(x.cast::<f32>());
    let y = signed_power(&x, 3.5);
    println!("x     {:?}", x.value());
    println!("y     {:?}", y.value());
    println!("dy/dx {:?}", tape.gradients(&y.sum(), &[&x])[0]);
    Ok(())
}
