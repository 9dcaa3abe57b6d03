//! LSTMs over pictures of 28 x 28, f32: forward, backward and weight gradient of one layer; for
//! the diagonal one, of its two directions.
//!
//! Throughput counts the floating-point operations of the products with the states' weights, two
//! for each multiply-add, and nothing for gates and cells. Gelem/s is GFLOP/s. The peak is printed
//! first.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernels::recurrent::{Backward, Forward, Lstm, Scan};

mod common;

const LAYERS: &[(&str, &[Scan])] = &[
    ("row", &[Scan::Row]),
    (
        "diagonal",
        &[
            Scan::Diagonal { mirrored: false },
            Scan::Diagonal { mirrored: true },
        ],
    ),
];

/// What a pass reads and writes.
struct Maps {
    x: Vec<f32>,
    w: Vec<f32>,
    h: Vec<f32>,
    gates: Vec<f32>,
    states: Vec<f32>,
    gx: Vec<f32>,
    gw: Vec<f32>,
}

impl Maps {
    fn new(l: &Lstm, scan: Scan) -> Maps {
        let (n, weights) = (l.states_len(), l.weights_len(scan));
        let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 1000;
        let numbers = |len, size: f32| -> Vec<f32> {
            (0..len)
                .map(|i| size * (noise(i) as f32 / 500.0 - 1.0))
                .collect()
        };
        Maps {
            x: numbers(4 * n, 1.0),
            w: numbers(weights, 0.1),
            h: numbers(n, 1.0),
            gates: vec![0.0; 4 * n],
            states: vec![0.0; n],
            gx: vec![0.0; 4 * n],
            gw: vec![0.0; weights],
        }
    }
}

fn recurrent(criterion: &mut Criterion) {
    for threads in [1, 2] {
        let pool = common::pool("recurrent", threads);
        let mut group = criterion.benchmark_group(format!("recurrent {threads}T"));
        for &(layer, scans) in LAYERS {
            for channels in [16, 64] {
                let l = Lstm {
                    batch: 16,
                    height: 28,
                    width: 28,
                    channels,
                };
                let name = format!("{layer}, 16 x {channels} channels");
                let gh = vec![0.25; l.states_len()];
                let mut maps: Vec<_> = scans.iter().map(|&scan| Maps::new(&l, scan)).collect();
                let products: u64 = scans.iter().map(|&scan| l.products(scan)).sum();
                group.throughput(Throughput::Elements(2 * products));
                common::time(&mut group, &pool, ("forward", &name), || {
                    let passes = scans.iter().zip(&mut maps).map(|(&scan, m)| Forward {
                        scan,
                        x: &m.x,
                        w: &m.w,
                        h: &mut m.h,
                        gates: &mut m.gates,
                        states: &mut m.states,
                    });
                    l.forward(&mut passes.collect::<Vec<_>>())
                });
                common::time(&mut group, &pool, ("backward", &name), || {
                    let passes =
                        (scans.iter().zip(&mut maps).enumerate()).map(|(rows_down, (&scan, m))| {
                            Backward {
                                scan,
                                w: &m.w,
                                gates: &m.gates,
                                states: &m.states,
                                gh: &gh,
                                rows_down,
                                gx: &mut m.gx,
                            }
                        });
                    l.backward(&mut passes.collect::<Vec<_>>())
                });
                common::time(&mut group, &pool, ("weight gradient", &name), || {
                    for (&scan, m) in scans.iter().zip(&mut maps) {
                        l.weight_gradient(scan, &m.h, &m.gx, &mut m.gw);
                    }
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, recurrent);
criterion_main!(benches);
