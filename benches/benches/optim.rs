//! Steps of the optimisers over 4 million parameters, f32: each one pass over memory.
//!
//! Throughput counts bytes: four for each number that is read and four for each that is written,
//! so that GB/s is to be compared with that of copies, which is printed first. Muon multiplies
//! matrices: its throughput counts the operations of the products, to be compared with the peak.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use grad::Tensor;
use kernels::optim::{Adagrad, Adam, RmsProp, Sgd};
use nn::Params;
use nn::optim::{Optimiser, OptimiserState};
use rayon::ThreadPool;

#[path = "common/brief.rs"]
mod brief;
mod common;
use common::time;

const LEN: usize = 1 << 22;

fn steps(criterion: &mut Criterion) {
    let adam = Adam {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        gradient_scale: 0.5,
        l2: 0.0,
        decay: 0.0,
    };
    let adamw = Adam {
        decay: 0.01,
        ..adam
    };
    let rms_prop = RmsProp {
        learning_rate: 1e-3,
        rho: 0.9,
        epsilon: 1e-8,
        gradient_scale: 0.5,
        l2: 0.0,
    };
    let adagrad = Adagrad {
        learning_rate: 1e-3,
        epsilon: 1e-8,
        gradient_scale: 0.5,
        l2: 0.0,
    };
    let sgd = Sgd {
        learning_rate: 1e-3,
        momentum: 0.9,
        nesterov: false,
        gradient_scale: 0.5,
        l2: 0.0,
    };
    for threads in [1, 2] {
        let name = format!("optim {threads}T");
        let pool = common::pool(&name, threads);
        let mut group = criterion.benchmark_group(&name);
        brief::briefly(&mut group);
        let g: Vec<f32> = (0..LEN).map(|i| (i as f32 * 0.37).sin()).collect();
        let (mut p, mut m, mut v) = (g.clone(), vec![0.0; LEN], vec![0.0; LEN]);
        let shape = &format!("{LEN}");
        // Numbers moved for each parameter.
        let bytes = |moved: usize| Throughput::Bytes((4 * moved * LEN) as u64);
        group.throughput(bytes(7));
        for (name, rule) in [("adam", adam), ("adamw", adamw)] {
            time(&mut group, &pool, (name, shape), || {
                rule.update(10, &mut p, &g, &mut m, &mut v)
            });
        }
        group.throughput(bytes(5));
        time(&mut group, &pool, ("rmsprop", shape), || {
            rms_prop.update(&mut p, &g, &mut v)
        });
        time(&mut group, &pool, ("adagrad", shape), || {
            adagrad.update(&mut p, &g, &mut v)
        });
        time(&mut group, &pool, ("sgd with momentum", shape), || {
            sgd.update(&mut p, &g, &mut m)
        });
        group.throughput(bytes(3));
        time(&mut group, &pool, ("sgd", shape), || {
            sgd.update_plain(&mut p, &g)
        });
        muon(&mut group, &pool);
        group.finish();
    }
}

/// The filters of 28 convolutions of 3x3, 128 to 128 channels: as many numbers as above.
fn muon(group: &mut BenchmarkGroup<WallTime>, pool: &ThreadPool) {
    const FILTERS: u64 = 28;
    const SIDES: [u64; 2] = [3 * 3 * 128, 128];
    let filter = || Tensor::from_fn([3, 3, 128, 128], |i| (i as f32 * 0.37).sin());
    let mut params = Params::new();
    let ids: Vec<_> = (0..FILTERS)
        .map(|i| params.add(format!("{i}"), filter(), true))
        .collect();
    let gradients: Vec<_> = ids.iter().map(|_| filter()).collect();
    let mut state = OptimiserState::new(Optimiser::muon(1e-3), &params, ids);
    // Five rounds of x^T x, its square, and their product with x.
    let [long, short] = SIDES;
    let round = 2 * short * short * (2 * long + short);
    group.throughput(Throughput::Elements(FILTERS * 5 * round));
    time(group, pool, ("muon", "28 x 1152x128"), || {
        state.step(&mut params, &gradients, 1.0)
    });
}

criterion_group!(benches, steps);
criterion_main!(benches);
