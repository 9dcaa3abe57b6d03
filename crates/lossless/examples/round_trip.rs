//! Images through a file and back: a small autoregressive model learns the built-in glyphs, and its
//! probabilities make their file short.
//!
//! ```sh
//! cargo run --release -p genzoo-lossless --example round_trip
//! ```

use dataset::{Binarize, Cache, Dataset, Source, Split};
use grad::Tensor;
use lossless::{Archive, Codec, Levels};
use nn::lanes;
use nn::model::{Batch, ImageSpec, Step};
use nn::optim::{Optimiser, OptimiserState};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let source = Source::parse(Source::GLYPHS)?;
    let data = Dataset::open(&source, &Cache::from_environment()?)?;
    let shape = data.shape();
    let spec = ImageSpec::new(shape.height, shape.width, shape.channels, 2);

    // The first model of the table, a logistic regression for each pixel on those before it.
    let entry = &autoregressive::MODELS[0];
    let (model, mut params) = entry.build_for(&entry.defaults(), spec, 0)?;
    let mut adam = OptimiserState::new(Optimiser::adam(3e-3), &params, params.ids().collect());
    let batches = data.split(Split::Train).batches(128, 1, 0);
    for images in batches.binarize(Binarize::Static) {
        let sums = lanes::gradients(&params, images.len(), 32, |tape, p, part| {
            let pixels = &images.images[part.start * spec.dims()..part.end * spec.dims()];
            let noise: Vec<u64> = images.indices[part.clone()]
                .iter()
                .map(|&i| i.into())
                .collect();
            let batch = Batch::new(Tensor::new(spec.shape(part.len()), pixels), noise);
            model.loss(&Step::new(tape, p, &batch)).sum
        });
        adam.step_summed(&mut params, sums.halves(), 1.0, 1.0 / images.len() as f64);
    }

    // A thousand images that it has not seen, 784 bits each.
    let mut unseen = data
        .split(Split::Valid)
        .batches(1000, 0, 0)
        .binarize(Binarize::Static);
    let images = unseen.next().ok_or("expected validation images")?;
    let levels = Levels {
        levels: images.images.iter().map(|&x| x as u8).collect(),
        classes: Vec::new(),
    };
    let codec = Codec::new(&*model, &params, spec, entry.name).ok_or("expected a coder")?;
    let bytes = codec.write(&levels, b"glyphs")?;
    assert_eq!(codec.read(&Archive::parse(&bytes)?)?, levels);
    println!(
        "{} images of {} bits: {} bytes, {:.1} bits each; read again, they are the same",
        images.len(),
        spec.dims(),
        bytes.len(),
        8.0 * bytes.len() as f64 / images.len() as f64
    );
    Ok(())
}
