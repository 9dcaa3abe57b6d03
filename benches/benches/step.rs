//! Whole training steps on synthetic images: batch, forward, backward, optimiser.
//!
//! Throughput counts images. Each model has its default hyper-parameters; on 1 and on 2 threads, so
//! that their ratio is what the second core brings.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nn::model::Entry;
use train::{Engine, Pace, Synthetic, Tally};

mod common;
use common::time;

/// Models and batch sizes.
const STEPS: &[(&str, usize)] = &[
    ("vae", 128),
    ("fvsbn", 64),
    ("nade", 64),
    ("made", 64),
    ("pixelcnn", 64),
];

fn entry(name: &str) -> &'static Entry {
    let mut all = vae::MODELS.iter().chain(autoregressive::MODELS);
    all.find(|entry| entry.name == name).expect("a model")
}

fn engine(entry: &Entry, input: &Synthetic, batch_size: usize) -> Engine {
    let (hypers, spec) = (entry.defaults(), *input.spec());
    let (model, params) = entry.build_for(&hypers, spec, 0).expect("defaults fit");
    let mut recipe = entry.recipe_for(&hypers, spec);
    recipe.batch_size = batch_size;
    Engine::new(model, params, recipe)
}

fn steps(criterion: &mut Criterion) {
    for threads in [1, 2] {
        let pool = common::pool("step", threads);
        let mut group = criterion.benchmark_group(format!("step {threads}T"));
        group.sample_size(10);
        for &(name, size) in STEPS {
            let input = Synthetic::binary_mnist(size);
            let mut engine = engine(entry(name), &input, size);
            group.throughput(Throughput::Elements(size as u64));
            time(&mut group, &pool, (name, &format!("batch {size}")), || {
                let part = |range| input.batch(range);
                let loss = engine.step(size, &part, Pace::STEADY, &mut Tally::default());
                assert!(loss.expect("a finite loss") > 0.0);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
