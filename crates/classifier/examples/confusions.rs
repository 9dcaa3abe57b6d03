//! A perceptron learns the built-in glyphs, and what it mistakes for what is counted.
//!
//! ```sh
//! cargo run --release -p genzoo-classifier --example confusions
//! ```

use classifier::MODELS;
use dataset::{Batch as Images, Cache, Dataset, Source, Split};
use grad::{Tensor, Var};
use nn::lanes;
use nn::model::{Batch, ImageSpec, Step};
use nn::optim::{Optimiser, OptimiserState};
use nn::stats::accuracy;
use std::error::Error;
use std::ops::Range;

/// A part of a batch as models see it.
fn part_of(images: &Images, spec: ImageSpec, part: Range<usize>) -> Batch {
    let pixels = &images.images[part.start * spec.dims()..part.end * spec.dims()];
    let noise: Vec<u64> = images.indices[part.clone()]
        .iter()
        .map(|&i| i.into())
        .collect();
    let batch = Batch::new(Tensor::new(spec.shape(part.len()), pixels), noise);
    match &images.labels {
        Some(labels) => batch.with_labels(&labels[part]),
        None => batch,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let source = Source::parse(Source::GLYPHS)?;
    let data = Dataset::open(&source, &Cache::from_environment()?)?;
    let (shape, classes) = (
        data.shape(),
        data.classes().ok_or("expected labels")? as usize,
    );
    let spec = ImageSpec::new(shape.height, shape.width, shape.channels, 256).with_classes(classes);

    let entry = &MODELS[0];
    let (model, mut params) = entry.build_for(&entry.defaults(), spec, 0)?;
    let mut adam = OptimiserState::new(Optimiser::adam(1e-3), &params, params.ids().collect());
    for images in data.split(Split::Train).batches(64, 1, 0) {
        let sums = lanes::gradients(&params, images.len(), 16, |tape, p, part| {
            model
                .loss(&Step::new(tape, p, &part_of(&images, spec, part)))
                .sum
        });
        adam.step_summed(&mut params, sums.halves(), 1.0, 1.0 / images.len() as f64);
    }

    let network = model.classifier().ok_or("expected a classifier")?;
    let mut test = data.split(Split::Test).batches(5000, 0, 0);
    let images = test.next().ok_or("expected test images")?;
    let batch = part_of(&images, spec, 0..images.len());
    let logits = network.logits(&params.constants(), &Var::constant(batch.images));
    let labels = images.labels.ok_or("expected labels")?;
    println!(
        "{}: {:.2} % right",
        entry.name,
        100.0 * accuracy(logits.value(), &labels)
    );

    let mut counts = vec![0; classes * classes];
    for (&label, found) in labels.iter().zip(logits.value().argmax(1)) {
        counts[label as usize * classes + found as usize] += 1;
    }
    println!("a row for each class, a column for what it was taken for");
    for row in counts.chunks_exact(classes) {
        println!(
            "{}",
            row.iter().map(|n| format!("{n:5}")).collect::<String>()
        );
    }
    Ok(())
}
