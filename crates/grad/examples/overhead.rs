//! What an operation costs beside its arithmetic: `cargo run --release -p genzoo-grad --example overhead`.

use grad::kernels::gemm::Activation;
use grad::kernels::parallel::serial;
use grad::{Tape, Tensor, Var};
use std::hint::black_box;
use std::time::Instant;

/// The best of many runs, in nanoseconds for each of `ops` operations.
fn best(ops: usize, mut run: impl FnMut()) -> f64 {
    (0..200)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_nanos() as f64 / ops as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    const OPS: usize = 1000;
    let x = Tensor::<f32>::full([8], 0.5);
    let w = Tensor::<f32>::full([8], 1.0);
    serial(|| {
        let constant = Var::constant(x.clone());
        let weight = Var::constant(w.clone());
        println!("ns an operation on 8 numbers");
        let add = best(OPS, || {
            let mut y = constant.clone();
            for _ in 0..OPS {
                y = &y + &weight;
            }
            black_box(y);
        });
        println!("add, not recorded      {add:6.1}");
        let add = best(OPS, || {
            let tape = Tape::new();
            let mut y = tape.var(x.clone());
            for _ in 0..OPS {
                y = &y + &weight;
            }
            black_box(y);
        });
        println!("add, recorded          {add:6.1}");
        let scale = best(OPS, || {
            let tape = Tape::new();
            let mut y = tape.var(x.clone());
            for _ in 0..OPS {
                y = &y * 0.99;
            }
            black_box(y);
        });
        println!("scale, recorded        {scale:6.1}");
        let both = best(OPS, || {
            let tape = Tape::new();
            let w = tape.var(w.clone());
            let mut y = tape.var(x.clone());
            for _ in 0..OPS / 2 {
                y = (&y * &w).tanh();
            }
            let loss = y.sum();
            black_box(tape.into_gradients(&loss, &[&w]));
        });
        println!("mul and tanh, forward and backward {both:6.1}");
        let w = Tensor::<f32>::full([8, 8], 0.1);
        let x = Tensor::<f32>::full([4, 8], 0.5);
        let b = Tensor::<f32>::full([8], 0.5);
        let layer = best(100, || {
            let tape = Tape::new();
            let (w, b) = (tape.var(w.clone()), tape.var(b.clone()));
            let mut y = Var::constant(x.clone());
            for _ in 0..100 {
                y = y.linear(&w, Some(&b), Activation::Relu);
            }
            let loss = y.sum();
            black_box(tape.into_gradients(&loss, &[&w, &b]));
        });
        println!("linear 4 x 8 x 8 with bias and relu, forward and backward {layer:6.1}");
    });
}
