//! What recording and differentiating cost: a training step of a net of about 1,000 parameters,
//! beside hand-written loops of the same arithmetic.
//!
//! The net is x [4, 20] -> 24, ReLU -> 20 with a squared error: 1,004 parameters. A step is its
//! forward and backward pass and Adam. Throughput counts steps. Sixteen batches take turns, so that
//! gradients never fade to subnormal numbers, which would be all that is measured.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use grad::kernels::gemm::Activation;
use grad::{Tape, Tensor, Var};
use kernels::optim::Adam;
use nn::layers::Linear;
use nn::optim::{Optimiser, OptimiserState};
use nn::{Builder, Params};
use std::time::Instant;

#[path = "common/brief.rs"]
mod brief;
mod common;
use common::time;

const BATCHES: usize = 16;
const BATCH: usize = 4;
const IN: usize = 20;
const HIDDEN: usize = 24;
const OUT: usize = 20;
/// Weights and biases of the two layers.
const SHAPES: [&[usize]; 4] = [&[IN, HIDDEN], &[HIDDEN], &[HIDDEN, OUT], &[OUT]];

const ADAM: Adam = Adam {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    gradient_scale: 1.0,
    l2: 0.0,
    decay: 0.0,
};

fn numbers(shape: &[usize], scale: f32) -> Vec<f32> {
    let len = shape.iter().product();
    (0..len).map(|i| scale * (i as f32 * 0.37).sin()).collect()
}

/// Plain vectors: the parameters, their moments, and room for everything on the way.
struct Plain {
    params: [Vec<f32>; 4],
    gradients: [Vec<f32>; 4],
    m: [Vec<f32>; 4],
    v: [Vec<f32>; 4],
    h: Vec<f32>,
    g_h: Vec<f32>,
    g_y: Vec<f32>,
    t: u64,
}

impl Plain {
    fn new() -> Plain {
        let zeros = || SHAPES.map(|shape| numbers(shape, 0.0));
        Plain {
            params: SHAPES.map(|shape| numbers(shape, 0.2)),
            gradients: zeros(),
            m: zeros(),
            v: zeros(),
            h: vec![0.0; BATCH * HIDDEN],
            g_h: vec![0.0; BATCH * HIDDEN],
            g_y: vec![0.0; BATCH * OUT],
            t: 0,
        }
    }

    fn step(&mut self, x: &[f32], target: &[f32]) -> f32 {
        let [w1, b1, w2, b2] = &self.params;
        for (h, x) in self.h.chunks_exact_mut(HIDDEN).zip(x.chunks_exact(IN)) {
            affine(x, w1, b1, h);
            h.iter_mut().for_each(|h| *h = h.max(0.0));
        }
        for (y, h) in (self.g_y.chunks_exact_mut(OUT)).zip(self.h.chunks_exact(HIDDEN)) {
            affine(h, w2, b2, y);
        }
        let mut loss = 0.0;
        for (y, target) in self.g_y.iter_mut().zip(target) {
            let difference = *y - target;
            loss += difference * difference;
            *y = 2.0 / BATCH as f32 * difference;
        }

        let [g_w1, g_b1, g_w2, g_b2] = &mut self.gradients;
        for g in [&mut *g_w1, &mut *g_b1, &mut *g_w2, &mut *g_b2] {
            g.fill(0.0);
        }
        let rows = self.h.chunks_exact(HIDDEN).zip(self.g_y.chunks_exact(OUT));
        for ((h, g_y), g_h) in rows.zip(self.g_h.chunks_exact_mut(HIDDEN)) {
            outer(h, g_y, g_w2, g_b2);
            for ((g_h, h), w) in g_h.iter_mut().zip(h).zip(w2.chunks_exact(OUT)) {
                *g_h = if *h > 0.0 { dot(w, g_y) } else { 0.0 };
            }
        }
        for (x, g_h) in x.chunks_exact(IN).zip(self.g_h.chunks_exact(HIDDEN)) {
            outer(x, g_h, g_w1, g_b1);
        }

        self.t += 1;
        let rate = (ADAM.learning_rate / (1.0 - ADAM.beta1.powf(self.t as f64))) as f32;
        let root = (1.0 / (1.0 - ADAM.beta2.powf(self.t as f64)).sqrt()) as f32;
        let (beta1, beta2) = (ADAM.beta1 as f32, ADAM.beta2 as f32);
        for k in 0..4 {
            let moments = self.m[k].iter_mut().zip(&mut self.v[k]);
            let both = self.params[k].iter_mut().zip(&self.gradients[k]);
            for ((p, g), (m, v)) in both.zip(moments) {
                *m = without_dregs(beta1 * *m + (1.0 - beta1) * g);
                *v = without_dregs(beta2 * *v + (1.0 - beta2) * (g * g));
                *p -= rate * *m / (v.sqrt() * root + ADAM.epsilon as f32);
            }
        }
        loss / BATCH as f32
    }
}

/// x, or 0 near the subnormal numbers: the moments of a unit that is dead for good fade to those,
/// which take a hundred times as long. The optimisers' kernels end them, too.
fn without_dregs(x: f32) -> f32 {
    if x.abs() < 1e-30 { 0.0 } else { x }
}

/// y = x w + b.
fn affine(x: &[f32], w: &[f32], b: &[f32], y: &mut [f32]) {
    y.copy_from_slice(b);
    for (x, w) in x.iter().zip(w.chunks_exact(b.len())) {
        for (y, w) in y.iter_mut().zip(w) {
            *y += x * w;
        }
    }
}

/// The sum of a b, in four sums side by side: what the compiler makes vectors of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 4];
    for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
        for k in 0..4 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum()
}

/// gw += x g, gb += g.
fn outer(x: &[f32], g: &[f32], gw: &mut [f32], gb: &mut [f32]) {
    for (x, gw) in x.iter().zip(gw.chunks_exact_mut(g.len())) {
        for (gw, g) in gw.iter_mut().zip(g) {
            *gw += x * g;
        }
    }
    for (gb, g) in gb.iter_mut().zip(g) {
        *gb += g;
    }
}

/// The same with tensors and a tape.
struct Taped {
    params: [Tensor<f32>; 4],
    m: [Tensor<f32>; 4],
    v: [Tensor<f32>; 4],
    t: u64,
}

impl Taped {
    fn new() -> Taped {
        let zeros = || SHAPES.map(Tensor::zeros);
        Taped {
            params: SHAPES.map(|shape| Tensor::new(shape, &numbers(shape, 0.2))),
            m: zeros(),
            v: zeros(),
            t: 0,
        }
    }

    fn step(&mut self, x: &Var<f32>, target: &Var<f32>) -> f32 {
        let tape = Tape::new();
        let [w1, b1, w2, b2] = self.params.each_ref().map(|p| tape.var(p.clone()));
        let h = x.linear(&w1, Some(&b1), Activation::Relu);
        let y = h.linear(&w2, Some(&b2), Activation::Identity);
        let loss = (y - target).square().sum() * (1.0 / BATCH as f64);
        let value = loss.item();
        let gradients = tape.into_gradients(&loss, &[&w1, &b1, &w2, &b2]);
        drop((w1, b1, w2, b2));
        self.t += 1;
        let step = ADAM.at(self.t);
        let moments = self.m.iter_mut().zip(&mut self.v);
        for ((p, g), (m, v)) in self.params.iter_mut().zip(&gradients).zip(moments) {
            let (p, m, v) = (p.make_mut(), m.make_mut(), v.make_mut());
            step.update(p, g.data(), m, v);
        }
        value
    }
}

/// The same with layers, named parameters and an optimiser of `nn`.
struct Layers {
    params: Params<f32>,
    first: Linear,
    second: Linear,
    state: OptimiserState,
}

impl Layers {
    fn new() -> Layers {
        let mut params = Params::new();
        let mut builder = Builder::new(&mut params, 1);
        let first = Linear::new(&mut builder.scope("first"), IN, HIDDEN);
        let second = Linear::new(&mut builder.scope("second"), HIDDEN, OUT);
        for (param, shape) in params.iter_mut().zip(SHAPES) {
            param.value = Tensor::new(shape, &numbers(shape, 0.2));
        }
        let ids = params.ids().collect();
        let state = OptimiserState::new(Optimiser::adam(ADAM.learning_rate), &params, ids);
        Layers {
            params,
            first,
            second,
            state,
        }
    }

    fn step(&mut self, x: &Var<f32>, target: &Var<f32>) -> f32 {
        let tape = Tape::new();
        let p = self.params.bind(&tape);
        let h = self.first.forward_with(&p, x, Activation::Relu);
        let y = self.second.forward(&p, &h);
        let loss = (y - target).square().sum() * (1.0 / BATCH as f64);
        let value = loss.item();
        let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
        let gradients = tape.into_gradients(&loss, &wrt);
        drop(p);
        self.state.step(&mut self.params, &gradients, 1.0);
        value
    }
}

fn small_net(criterion: &mut Criterion) {
    let x = numbers(&[BATCHES, BATCH, IN], 1.0);
    let target = numbers(&[BATCHES, BATCH, OUT], 0.7);
    let batches: Vec<_> = x
        .chunks_exact(BATCH * IN)
        .zip(target.chunks_exact(BATCH * OUT))
        .collect();
    let tensors: Vec<_> = (batches.iter())
        .map(|(x, target)| {
            [
                Tensor::new([BATCH, IN], x),
                Tensor::new([BATCH, OUT], target),
            ]
        })
        .collect();

    let (mut plain, mut taped) = (Plain::new(), Taped::new());
    let mut hand_written = |step: usize| {
        let (x, target) = batches[step % BATCHES];
        plain.step(x, target)
    };
    let mut on_a_tape = |step: usize| {
        let [x, target] = tensors[step % BATCHES].clone().map(Var::constant);
        taped.step(&x, &target)
    };
    let mut layers = Layers::new();
    let mut with_layers = |step: usize| {
        let [x, target] = tensors[step % BATCHES].clone().map(Var::constant);
        layers.step(&x, &target)
    };
    // All three are the same net.
    for step in 0..50 {
        let expected = hand_written(step);
        for loss in [on_a_tape(step), with_layers(step)] {
            let error = (loss - expected).abs();
            assert!(
                error <= 1e-3 * expected,
                "loss in step {step}: {loss}, expected {expected}"
            );
        }
    }

    let pool = common::pool("tape", 1);
    pool.install(|| {
        by_turns([
            ("hand-written", &mut hand_written),
            ("tape", &mut on_a_tape),
            ("layers and optimiser", &mut with_layers),
        ])
    });
    let mut group = criterion.benchmark_group("tape");
    brief::briefly(&mut group);
    group.throughput(Throughput::Elements(1));
    let shape = "1,004 parameters";
    let mut step = 0;
    time(&mut group, &pool, ("hand-written", shape), || {
        step += 1;
        std::hint::black_box(hand_written(step));
    });
    time(&mut group, &pool, ("tape", shape), || {
        step += 1;
        std::hint::black_box(on_a_tape(step));
    });
    time(&mut group, &pool, ("layers and optimiser", shape), || {
        step += 1;
        std::hint::black_box(with_layers(step));
    });
    group.finish();
}

/// Prints how long a step takes, in short turns: criterion's windows are seconds apart, and what else
/// the machine does in one of them is no part of the ratio.
fn by_turns(mut nets: [(&str, &mut (dyn FnMut(usize) -> f32 + Send)); 3]) {
    const TURNS: usize = 1000;
    const STEPS: usize = 200;
    let mut times = [(); 3].map(|()| Vec::with_capacity(TURNS));
    for _ in 0..TURNS {
        for ((_, step), times) in nets.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for i in 0..STEPS {
                std::hint::black_box(step(i));
            }
            times.push(start.elapsed().as_secs_f64() * 1e6 / STEPS as f64);
        }
    }
    times.iter_mut().for_each(|t| t.sort_by(f64::total_cmp));
    println!("a step by turns, microseconds and times the first:");
    for ((name, _), t) in nets.iter().zip(&times) {
        let (least, median) = (t[0], t[TURNS / 2]);
        let (of_least, of_median) = (least / times[0][0], median / times[0][TURNS / 2]);
        println!("  {name}: median {median:.2} ({of_median:.2}), least {least:.2} ({of_least:.2})");
    }
}

criterion_group!(benches, small_net);
criterion_main!(benches);
