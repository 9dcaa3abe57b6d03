//! A loss that takes a gradient itself: a critic whose slope is pulled to 1, as in WGAN-GP
//! (Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1).
//!
//! ```sh
//! cargo run --release -p genzoo-grad --example gradient_penalty
//! ```
//! The critic tells points near (2, 0) from points near (-2, 0). The difference of its means is the
//! distance between the two, 4, once its slope is nowhere more than 1.

use grad::check::{Order, gradients_on_tape};
use grad::{Element, Tape, Tensor, Var};

const POINTS: usize = 64;

/// Values of the critic, `[B, 1]`, for points x `[B, 2]`.
fn critic<T: Element>(weights: &[Var<T>], x: &Var<T>) -> Var<T> {
    let h = (x.matmul(&weights[0]) + &weights[1]).leaky_relu(0.2);
    h.matmul(&weights[2])
}

/// -(mean critic(real) - mean critic(fake)) + 10 mean (|slope| - 1)^2, with slopes halfway.
fn loss<T: Element>(
    tape: &Tape<T>,
    weights: &[Var<T>],
    real: &Tensor<T>,
    fake: &Tensor<T>,
) -> Var<T> {
    let [a, b] = [real, fake].map(|x| Var::constant(x.clone()));
    // On the tape, since a gradient by it is wanted.
    let between = tape.var(((&a + &b) * 0.5).into_value());
    let values = critic(weights, &between).sum();
    let slopes = &tape.gradients_recorded(&values, &[&between])[0];
    let lengths = (slopes.square().sum_axes(&[1]) + 1e-12).sqrt();
    let penalty = (lengths - 1.0).square().mean();
    critic(weights, &b).mean() - critic(weights, &a).mean() + penalty * 10.0
}

fn main() -> Result<(), grad::check::Mismatch> {
    let cloud = |x: f64| {
        Tensor::from_fn([POINTS, 2], |i| {
            let noise = 0.3 * (i as f64 * 1.7).sin();
            if i % 2 == 0 { x + noise } else { noise }
        })
    };
    let (real, fake) = (cloud(2.0), cloud(-2.0));
    let start = |shape: [usize; 2], scale: f64| {
        Tensor::from_fn(shape, |i| scale * (1.3 * i as f64 + 0.4).cos())
    };
    let mut weights = [start([2, 8], 0.7), start([1, 8], 0.5), start([8, 1], 0.7)];

    // The gradient of such a loss, by the tape and by differences.
    let f = |tape: &Tape<f64>, w: &[Var<f64>]| loss(tape, w, &real, &fake);
    gradients_on_tape("gradient penalty", &weights, f, Order::First)?;
    println!("the gradient of the penalty agrees with finite differences");

    let (real, fake) = (real.cast::<f32>(), fake.cast::<f32>());
    for step in 0..=600 {
        let tape = Tape::new();
        let vars: Vec<_> = weights.iter().map(|w| tape.var(w.cast())).collect();
        let loss = loss(&tape, &vars, &real, &fake);
        if step % 150 == 0 {
            let mean = |x: &Tensor<f32>| critic(&vars, &Var::constant(x.clone())).mean().item();
            let distance = mean(&real) - mean(&fake);
            println!(
                "step {step:3}: loss {:8.4}, distance {distance:.4}",
                loss.item()
            );
        }
        let gradients = tape.gradients(&loss, &vars.iter().collect::<Vec<_>>());
        for (weight, gradient) in weights.iter_mut().zip(&gradients) {
            for (w, g) in weight.make_mut().iter_mut().zip(gradient.data()) {
                *w -= 0.02 * f64::from(*g);
            }
        }
    }
    Ok(())
}
