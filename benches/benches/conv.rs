//! Convolutions, f32: forward, input gradient, weight gradient; dense and masked.
//!
//! Throughput counts floating-point operations of taps that are used, two for each multiply-add:
//! Gelem/s is GFLOP/s. Where wide layers save multiplications (`Sums::Fast`, as in training) it
//! can be more than the peak. So a masked row that reaches the GFLOP/s of its dense twin takes 5/9 (3x3
//! type B) or 24/49 (7x7 type A) of its time. The peak is printed first.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernels::conv::{
    Conv2d, Padding, Sums, Taps, Weights, forward, input_gradient, weight_gradient,
};
use kernels::gemm::{Beta, Epilogue};

mod common;

/// batch, size, channels in and out, kernel, stride, padding.
type Row = (&'static str, [usize; 7]);

const ROWS: &[Row] = &[
    ("64 -> 64 3x3", [32, 28, 64, 64, 3, 1, 1]),
    ("1 -> 64 7x7", [32, 28, 1, 64, 7, 1, 3]),
    ("64 -> 128 1x1", [32, 28, 64, 128, 1, 1, 0]),
    ("128 -> 256 3x3", [32, 28, 128, 256, 3, 1, 1]),
    ("64 -> 128 4x4 stride 2", [64, 14, 64, 128, 4, 2, 1]),
    ("1 -> 64 4x4 stride 2", [64, 28, 1, 64, 4, 2, 1]),
    ("16 -> 16 3x3", [64, 28, 16, 16, 3, 1, 1]),
    ("32 -> 16 1x1", [64, 28, 32, 16, 1, 1, 0]),
    ("16 -> 32 1x1", [64, 28, 16, 32, 1, 1, 0]),
    ("128 -> 256 4x4 stride 2, 8x8", [64, 8, 128, 256, 4, 2, 1]),
];

/// Which taps come before the middle one in reading order, and whether it counts itself.
const MASKED: &[(Row, usize)] = &[
    (("64 -> 64 3x3 B", [32, 28, 64, 64, 3, 1, 1]), 1),
    (("16 -> 16 3x3 B", [64, 28, 16, 16, 3, 1, 1]), 1),
    (("1 -> 64 7x7 A", [32, 28, 1, 64, 7, 1, 3]), 0),
    (("1 -> 32 7x7 A", [64, 28, 1, 32, 7, 1, 3]), 0),
];

fn geometry([batch, size, inputs, outputs, k, stride, padding]: [usize; 7]) -> Conv2d {
    Conv2d::new([batch, size, size, inputs], outputs, [k, k])
        .with_stride([stride, stride])
        .with_padding(Padding::uniform(padding))
}

fn convolutions(criterion: &mut Criterion) {
    let dense = ROWS.iter().map(|&(name, row)| (name, geometry(row)));
    let masked = MASKED.iter().map(|&((name, row), own)| {
        let k = row[4];
        let taps = Taps::from_fn(k, k, |r, c| r * k + c < k * k / 2 + own);
        (name, geometry(row).with_taps(taps))
    });
    let rows: Vec<_> = dense.chain(masked).collect();
    for threads in [1, 2] {
        let pool = common::pool("conv", threads);
        let mut group = criterion.benchmark_group(format!("conv {threads}T"));
        for (name, g) in &rows {
            let (x, w, gy) = (
                vec![0.5f32; g.x_len()],
                vec![0.25f32; g.w_len()],
                vec![0.125f32; g.y_len()],
            );
            let (mut y, mut gx, mut gw) = (gy.clone(), x.clone(), w.clone());
            group.throughput(Throughput::Elements(g.flops()));
            common::time(&mut group, &pool, ("forward", name), || {
                forward(
                    g,
                    &x,
                    Weights::new(&w),
                    None,
                    &mut y,
                    Epilogue::NONE,
                    Sums::Fast,
                )
            });
            common::time(&mut group, &pool, ("input gradient", name), || {
                input_gradient(g, &gy, Weights::new(&w), Beta::Zero, &mut gx)
            });
            common::time(&mut group, &pool, ("weight gradient", name), || {
                weight_gradient(g, &x, &gy, Beta::Zero, &mut gw)
            });
        }
        group.finish();
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
