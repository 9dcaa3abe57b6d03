//! A generative adversarial network in the plane: a generator learns eight clouds on a circle.
//! Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1, with the generator's loss of section 3
//! that does not saturate.
//!
//! ```sh
//! cargo run --release -p genzoo-gan --example ring [-- LOSS]
//! ```
//! LOSS is one of those that `genzoo models gan` lists: `hinge`, say.

use gan::Objective;
use grad::{Tape, Tensor, Var};
use nn::layers::{Activation, Linear};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{normal, normal_tensor, stream, uniform};
use nn::{Bound, Builder, Params};
use std::f64::consts::TAU;

const BATCH: usize = 256;
const NOISE: usize = 4;
const MODES: usize = 8;

/// Three linear layers with leaky ReLUs between them.
struct Perceptron([Linear; 3]);

impl Perceptron {
    fn new(b: &mut Builder, sizes: [usize; 4]) -> Perceptron {
        let layer = |i: usize| Linear::new(&mut b.scope(i), sizes[i], sizes[i + 1]);
        Perceptron([0, 1, 2].map(layer))
    }

    fn forward(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        let Perceptron([a, b, c]) = self;
        let h = a.forward_with(p, x, Activation::LeakyRelu(0.2));
        c.forward(p, &b.forward_with(p, &h, Activation::LeakyRelu(0.2)))
    }
}

/// Points of the data, `[BATCH, 2]`: clouds of standard deviation 0.1 on a circle of radius 2.
fn real(step: u64) -> Tensor<f32> {
    let mut stream = stream(&[1, step]);
    Tensor::build([BATCH, 2], |out| {
        for point in out.chunks_exact_mut(2) {
            let mode = (uniform(&mut stream) * MODES as f64).floor();
            let (sin, cos) = (TAU * mode / MODES as f64).sin_cos();
            point[0] = (2.0 * cos + 0.1 * normal(&mut stream)) as f32;
            point[1] = (2.0 * sin + 0.1 * normal(&mut stream)) as f32;
        }
    })
}

fn noise(step: u64) -> Var<f32> {
    let mut stream = stream(&[2, step]);
    Var::constant(normal_tensor([BATCH, NOISE], &mut stream))
}

/// One step of the parameters that `optimiser` has, named `prefix`.
fn step(
    params: &mut Params<f32>,
    optimiser: &mut OptimiserState,
    prefix: &str,
    loss: impl FnOnce(&Bound<f32>) -> Var<f32>,
) -> f32 {
    let tape = Tape::new();
    let p = params.bind_where(&tape, |param| param.name.starts_with(prefix));
    let loss = loss(&p);
    let value = loss.item();
    let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
    let gradients = tape.into_gradients(&loss, &wrt);
    drop(p);
    optimiser.step(params, &gradients, 1.0);
    value
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or("non-saturating".into());
    let Some(objective) = Objective::named(&name) else {
        eprintln!(
            "expected one of {:?}, found {name:?}",
            Objective::NAMES.map(|(name, _)| name)
        );
        std::process::exit(2);
    };
    let mut params = Params::new();
    let mut root = Builder::new(&mut params, 0);
    let generator = Perceptron::new(&mut root.scope("generator"), [NOISE, 64, 64, 2]);
    let critic = Perceptron::new(&mut root.scope("discriminator"), [2, 64, 64, 1]);
    let optimiser = |prefix: &str| {
        let ids = params
            .ids()
            .filter(|&id| params[id].name.starts_with(prefix));
        OptimiserState::new(Optimiser::adam(1e-3), &params, ids.collect())
    };
    let (mut of_generator, mut of_critic) = (optimiser("generator"), optimiser("discriminator"));

    for i in 0..=3000 {
        let judged = step(&mut params, &mut of_critic, "discriminator", |p| {
            let fake = critic.forward(p, &generator.forward(p, &noise(2 * i)));
            let true_ones = critic.forward(p, &Var::constant(real(i)));
            (objective.of_real(&true_ones, 0.0) + objective.of_fake(&fake)).mean()
        });
        let fooled = step(&mut params, &mut of_generator, "generator", |p| {
            let fake = generator.forward(p, &noise(2 * i + 1));
            objective.of_generator(&critic.forward(p, &fake)).mean()
        });
        if i % 1000 == 0 {
            println!("step {i:4}: discriminator {judged:.3}, generator {fooled:.3}");
        }
    }

    // Where the points of the generator are: near which cloud, and how far from the circle.
    let points = generator.forward(&params.constants(), &noise(u64::MAX));
    let mut near = [0; MODES];
    for point in points.value().data().chunks_exact(2) {
        let angle = f64::from(point[1])
            .atan2(f64::from(point[0]))
            .rem_euclid(TAU);
        near[(angle / TAU * MODES as f64).round() as usize % MODES] += 1;
    }
    let radius = points.square().sum_axes(&[1]).sqrt().mean().item();
    println!("points by cloud {near:?}, mean radius {radius:.2}");
}
