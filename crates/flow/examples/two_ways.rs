//! A normalising flow learns the built-in glyphs, tells their density, and draws from it.
//!
//! ```sh
//! cargo run --release -p genzoo-flow --example two_ways
//! ```

use dataset::{Cache, Dataset, Source, Split};
use flow::MODELS;
use grad::Tensor;
use nn::lanes;
use nn::model::{Batch, ImageSpec, SampleRequest, Step};
use nn::optim::{Optimiser, OptimiserState};
use nn::stats::bits_per_dim;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let source = Source::parse(Source::GLYPHS)?;
    let data = Dataset::open(&source, &Cache::from_environment()?)?;
    let shape = data.shape();
    let spec = ImageSpec::new(shape.height, shape.width, shape.channels, 256);

    // NICE with smaller networks than the paper's.
    let entry = &MODELS[0];
    let mut hypers = entry.defaults();
    hypers.set("hidden", "200,200")?;
    let (model, mut params) = entry.build_for(&hypers, spec, 0)?;
    let mut adam = OptimiserState::new(Optimiser::adam(1e-3), &params, params.ids().collect());
    for epoch in 0..3 {
        let (mut nats, mut seen) = (0.0, 0);
        for images in data.split(Split::Train).batches(128, 1, epoch) {
            let sums = lanes::gradients(&params, images.len(), 32, |tape, p, part| {
                let pixels = &images.images[part.start * spec.dims()..part.end * spec.dims()];
                // What the noise between two levels of a pixel follows from.
                let noise: Vec<u64> = (images.indices[part.clone()].iter())
                    .map(|&i| epoch << 32 | u64::from(i))
                    .collect();
                let batch = Batch::new(Tensor::new(spec.shape(part.len()), pixels), noise);
                model.loss(&Step::new(tape, p, &batch)).sum
            });
            adam.step_summed(&mut params, sums.halves(), 1.0, 1.0 / images.len() as f64);
            nats += sums.rest.loss;
            seen += images.len();
        }
        let bits = bits_per_dim(nats / seen as f64, spec.dims());
        println!("epoch {epoch}: {bits:.3} bits a dimension in training");
    }

    // The other way: from noise to images.
    let sampler = model.sampler().ok_or("expected a sampler")?;
    let images = sampler.sample(&params.constants(), &SampleRequest::new(4, 0));
    for row in 0..shape.height {
        let line: String = (0..4 * shape.width)
            .map(|column| {
                let (image, column) = (column / shape.width, column % shape.width);
                let x = images.data()[(image * shape.height + row) * shape.width + column];
                char::from(b" .:-=+*#%@"[(x.clamp(0.0, 1.0) * 9.99) as usize])
            })
            .collect();
        println!("{}", line.trim_end());
    }
    Ok(())
}
