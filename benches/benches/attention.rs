//! Softmax attention, f32, forward and forward + backward, with queries, keys and values packed.
//!
//! Throughput counts floating-point operations of pairs that see each other, two for each
//! multiply-add: two products forward; forward + backward seven, with the one that is computed
//! again. Gelem/s is GFLOP/s. The peak is printed first.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernels::attention::{Attention, Backward, Forward, Pattern, Rows, RowsMut, Strides};

mod common;

const CAUSAL: Pattern = Pattern::Causal { strict: false };

/// batch, length, heads, depth.
const ROWS: &[(&str, [usize; 4], Pattern)] = &[
    ("causal 784, 16 x 2 x 32", [16, 784, 2, 32], CAUSAL),
    ("causal 784, 16 x 4 x 32", [16, 784, 4, 32], CAUSAL),
    ("causal 1024, 8 x 8 x 64", [8, 1024, 8, 64], CAUSAL),
    ("full 784, 16 x 2 x 32", [16, 784, 2, 32], Pattern::Full),
    (
        "local 256 + 256 of 3072, 4 x 4 x 32",
        [4, 3072, 4, 32],
        Pattern::Local {
            query: 256,
            memory: 256,
        },
    ),
    (
        "local 8 x 8, flange 8, of 32 x 32, 8 x 4 x 32",
        [8, 1024, 4, 32],
        Pattern::Local2d {
            size: [32, 32],
            query: [8, 8],
            flange: [8, 8],
        },
    ),
];

fn numbers(len: usize) -> Vec<f32> {
    let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 1000;
    (0..len).map(|i| noise(i) as f32 / 500.0 - 1.0).collect()
}

fn attention(criterion: &mut Criterion) {
    for threads in [1, 2] {
        let pool = common::pool("attention", threads);
        let mut group = criterion.benchmark_group(format!("attention {threads}T"));
        for &(name, shape, pattern) in ROWS {
            let a = Attention::new(shape, pattern);
            let [batch, length, heads, depth] = shape;
            let len: usize = shape.iter().product();
            let (x, go) = (numbers(3 * len), numbers(len));
            let (mut o, mut gx) = (go.clone(), x.clone());
            let mut logsumexp = vec![0.0; batch * heads * length];
            let strides = Strides::contiguous(length, 1, heads, depth);
            let [q, k, v] = Rows::packed(&x, length, heads, depth);
            let forward = |o: &mut [f32], logsumexp: &mut [f32]| {
                let o = RowsMut::new(o, strides);
                a.forward(Forward { q, k, v, o }, logsumexp);
            };
            group.throughput(Throughput::Elements(4 * a.products()));
            common::time(&mut group, &pool, ("forward", name), || {
                forward(&mut o, &mut logsumexp)
            });
            group.throughput(Throughput::Elements(14 * a.products()));
            common::time(&mut group, &pool, ("forward + backward", name), || {
                forward(&mut o, &mut logsumexp);
                let [gq, gk, gv] = RowsMut::packed(&mut gx, length, heads, depth);
                a.backward(Backward {
                    q,
                    k,
                    v,
                    o: Rows::new(&o, strides),
                    logsumexp: &logsumexp,
                    go: Rows::new(&go, strides),
                    gq,
                    gk,
                    gv,
                })
            });
        }
        group.finish();
    }
}

criterion_group!(benches, attention);
criterion_main!(benches);
