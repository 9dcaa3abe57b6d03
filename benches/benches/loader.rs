//! Batches of images from a mapped dataset: bytes in a shuffled order become floats.
//!
//! Throughput counts bytes: one for each pixel that is read, four for each that is written, so that
//! GB/s is to be compared with that of copies, which is printed first.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataset::{Binarize, Dataset, Examples, ImageShape, Split, gather, permutation};

#[path = "common/brief.rs"]
mod brief;
mod common;
use common::time;

const IMAGES: usize = 20_000;
const BATCH: usize = 128;

fn batches(criterion: &mut Criterion) {
    let pool = common::pool("loader", 1);
    let mut group = criterion.benchmark_group("loader");
    brief::briefly(&mut group);
    for (name, height, channels) in [("28x28", 28, 1), ("32x32x3", 32, 3)] {
        let shape = ImageShape {
            height,
            width: height,
            channels,
        };
        let len = height * height * channels;
        // A third of the pixels grey, as at the edges of strokes.
        let pixel = |i: usize| match i % 3 {
            0 => (i * 31 % 256) as u8,
            k => 255 * (k as u8 - 1),
        };
        let pixels: Vec<u8> = (0..IMAGES * len).map(pixel).collect();
        let train = Examples {
            pixels: &pixels,
            labels: None,
        };
        let splits = [train, Examples::default(), Examples::default()];
        let data = Dataset::in_memory("benchmark", shape, 256, splits).expect("whole images");
        let view = data.split(Split::Train);
        let order = permutation(IMAGES, 1, 0);
        let mut out = vec![0.0f32; BATCH * len];
        group.throughput(Throughput::Bytes((5 * BATCH * len) as u64));
        for binarize in Binarize::ALL {
            let mut place = 0;
            time(&mut group, &pool, (binarize.name(), name), || {
                place = (place + BATCH) % (IMAGES - BATCH);
                gather(view, &order[place..place + BATCH], binarize, 1, 0, &mut out)
            });
        }
    }
    group.throughput(Throughput::Bytes(4 * IMAGES as u64));
    time(
        &mut group,
        &pool,
        ("order of an epoch", "20,000 images"),
        || {
            std::hint::black_box(permutation(IMAGES, 1, 0));
        },
    );
    group.finish();
}

criterion_group!(benches, batches);
criterion_main!(benches);
