//! Elementwise functions and the fused row kernels, f32.
//!
//! Throughput counts bytes: four for each number that is read and four for each that is written,
//! so that GB/s is to be compared with that of copies, which is printed first. `cache` works on
//! 16,384 numbers on one thread, `memory` on 8 million; what is slower in the cache than memory is
//! bound by its arithmetic.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use kernels::gemm::Activation;
use kernels::{Unary, elementwise, reduce};
use rayon::ThreadPool;

#[path = "common/brief.rs"]
mod brief;
mod common;
use common::time;

/// Numbers of both signs and moderate size.
fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| 3.0 * (i as f32 * 0.37).sin()).collect()
}

struct Bench<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    pool: &'a ThreadPool,
    len: usize,
}

impl Bench<'_> {
    /// Times `f`, which moves so many numbers in all.
    fn time(&mut self, name: &str, moved: usize, f: impl FnMut() + Send) {
        self.group.throughput(Throughput::Bytes(4 * moved as u64));
        let shape = format!("{}", self.len);
        time(&mut self.group, self.pool, (name, &shape), f);
    }

    fn functions(&mut self) {
        let (x, n) = (numbers(self.len), self.len);
        let mut y = x.clone();
        use Unary::{Exp, Gelu, GeluDerivative, Log, Relu, Sigmoid, Softplus, Tanh};
        for f in [
            Relu,
            Exp,
            Log,
            Tanh,
            Sigmoid,
            Softplus,
            Gelu,
            GeluDerivative,
        ] {
            self.time(f.name(), 2 * n, || elementwise::unary(f, &x, &mut y));
        }
    }

    fn rows(&mut self) {
        const COLS: usize = 64;
        let n = self.len;
        let (x, g) = (numbers(n), numbers(n));
        let (mut y, mut gx) = (x.clone(), x.clone());
        let (gain, bias) = (vec![1.5f32; COLS], vec![0.25; COLS]);
        let relu = Activation::Relu;
        self.time("bias relu", 2 * n, || {
            reduce::bias_activation(&x, &bias, relu, &mut y)
        });
        let mut g_bias = bias.clone();
        self.time("bias relu gradient", 3 * n, || {
            reduce::bias_activation_gradient(&y, &g, relu, &mut gx, &mut g_bias)
        });

        let (mut mean, mut spread) = (bias.clone(), gain.clone());
        self.time("batch norm", 3 * n, || {
            reduce::batch_norm(&x, &gain, &bias, 1e-5, &mut y, &mut mean, &mut spread)
        });
        let (mut of_gain, mut of_bias) = (gain.clone(), bias.clone());
        self.time("batch norm gradient", 5 * n, || {
            let of = (&mean[..], &spread[..]);
            let to = (&mut gx[..], &mut of_gain[..], &mut of_bias[..]);
            reduce::batch_norm_gradient(&x, &gain, of.0, of.1, 1e-5, &g, to.0, to.1, to.2)
        });
        let (mut mean, mut inverse) = (vec![0.0; n / COLS], vec![1.0; n / COLS]);
        self.time("layer norm", 2 * n, || {
            reduce::layer_norm(&x, &gain, &bias, 1e-5, &mut y, &mut mean, &mut inverse)
        });
        self.time("layer norm gradient", 3 * n, || {
            let to = (&mut gx[..], &mut of_gain[..], &mut of_bias[..]);
            reduce::layer_norm_gradient(&x, &gain, &mean, &inverse, &g, to.0, to.1, to.2)
        });

        let mut half = vec![0.0; n / 2];
        self.time("gate", n + n / 2 + n, || {
            reduce::gate(&x, COLS / 2, &mut half, &mut y)
        });
        self.time("gate gradient", n + n / 2 + n, || {
            reduce::gate_gradient(&y, &half, COLS / 2, &mut gx)
        });
    }

    fn likelihoods(&mut self) {
        let n = self.len;
        let x = numbers(n);
        let mut gx = x.clone();
        let (targets, cols) = (vec![0.5f32; n], 512);
        let (mut nll, g) = (vec![0.0; n / cols], vec![1.0f32; n / cols]);
        self.time("bce with logits", 2 * n, || {
            reduce::bce_with_logits(&x, &targets, cols, &mut nll)
        });
        self.time("bce with logits gradient", 3 * n, || {
            reduce::bce_with_logits_gradient(&x, &targets, &g, cols, &mut gx)
        });
        let (classes, levels) = (vec![7u32; n / 256], 256);
        let (mut nll, g) = (vec![0.0; n / levels], vec![1.0f32; n / levels]);
        self.time("cross entropy", n, || {
            reduce::cross_entropy(&x, &classes, levels, &mut nll)
        });
        self.time("cross entropy gradient", 2 * n, || {
            reduce::cross_entropy_gradient(&x, &classes, &g, levels, &mut gx)
        });
        // Ten components for each number of an image: value and gradient in one pass.
        let rows = n / 30;
        let pixels: Vec<f32> = (0..rows).map(|i| (i % 256) as f32 / 255.0).collect();
        let (parameters, gx) = (&x[..30 * rows], &mut gx[..30 * rows]);
        let mut nll = vec![0.0; rows];
        self.time("logistic mixture", 60 * rows, || {
            reduce::logistic_mixture(parameters, &pixels, 256, &mut nll, gx)
        });
    }
}

fn kernels(criterion: &mut Criterion) {
    for (name, threads, len) in [
        ("elementwise cache 1T", 1, 1 << 14),
        ("elementwise memory 1T", 1, 1 << 23),
        ("elementwise memory 2T", 2, 1 << 23),
    ] {
        let pool = common::pool(name, threads);
        let mut group = criterion.benchmark_group(name);
        brief::briefly(&mut group);
        let mut bench = Bench {
            group,
            pool: &pool,
            len,
        };
        bench.functions();
        bench.rows();
        bench.likelihoods();
        bench.group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
