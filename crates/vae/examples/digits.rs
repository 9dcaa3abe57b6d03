//! A variational autoencoder with a training loop of one's own: the model, two terms of a loss,
//! and images it draws afterwards.
//!
//! ```sh
//! cargo run --release -p genzoo-vae --example digits
//! ```
//! The data are the built-in glyphs. The engine of `genzoo-train` does all this and more.

use dataset::{Binarize, Cache, Dataset, Source, Split};
use grad::{Tensor, Var};
use nn::model::ImageSpec;
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{normal_tensor, stream};
use nn::{Builder, Params, lanes};
use std::error::Error;
use vae::Vae;

const LATENTS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let source = Source::parse(Source::GLYPHS)?;
    let data = Dataset::open(&source, &Cache::from_environment()?)?;
    let shape = data.shape();
    let spec = ImageSpec::new(shape.height, shape.width, shape.channels, 2);
    let dims = spec.dims();
    let mut params = Params::new();
    let vae = Vae::new(&mut Builder::new(&mut params, 0), spec, &[200], LATENTS);
    let mut adam = OptimiserState::new(Optimiser::adam(2e-3), &params, params.ids().collect());

    for epoch in 0..4 {
        let (mut nats, mut seen) = (0.0, 0);
        let batches = data.split(Split::Train).batches(128, 1, epoch);
        for batch in batches.binarize(Binarize::Dynamic) {
            let sums = lanes::gradients(&params, batch.len(), 32, |_, p, part| {
                let images = &batch.images[part.start * dims..part.end * dims];
                let x = Var::constant(Tensor::new([part.len(), dims], images));
                // Noise follows from the data, not from the thread that happens to draw it.
                let words = [epoch, u64::from(batch.indices[part.start])];
                let eps = normal_tensor([part.len(), LATENTS], &mut stream(&words));
                let elbo = vae.elbo(p, &x, &Var::constant(eps));
                (elbo.reconstruction + elbo.kl).sum()
            });
            adam.step_summed(&mut params, sums.halves(), 1.0, 1.0 / batch.len() as f64);
            nats += sums.rest.loss;
            seen += batch.len();
        }
        println!(
            "epoch {epoch}: -ELBO {:.2} nats an image",
            nats / seen as f64
        );
    }

    // Four draws from the prior: the probability of each pixel, side by side.
    let z = normal_tensor([4, LATENTS], &mut stream(&[7]));
    let pixels = vae.logits(&params.constants(), &Var::constant(z)).sigmoid();
    for row in 0..shape.height {
        let line: String = (0..4 * shape.width)
            .map(|column| {
                let (image, column) = (column / shape.width, column % shape.width);
                let p = pixels.value().data()[image * dims + row * shape.width + column];
                char::from(b" .:-=+*#%@"[(p * 9.99) as usize])
            })
            .collect();
        println!("{}", line.trim_end());
    }
    Ok(())
}
