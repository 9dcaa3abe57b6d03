//! A small convolutional classifier of digits, on all cores, with the same result on any number of
//! them.
//!
//! ```sh
//! cargo run --release -p genzoo-nn --example classifier [-- DIRECTORY_OF_MNIST]
//! ```
//! Without a directory it learns the built-in glyphs.

use dataset::{Batch, Cache, Dataset, ImageShape, Source, Split};
use grad::{Tensor, Var};
use nn::layers::{Activation, Conv, Linear, MaxPool, Padding, global_average_pool};
use nn::optim::{Optimiser, OptimiserState};
use nn::stats::{Estimate, hits};
use nn::{Bound, Builder, Params, lanes};
use std::error::Error;
use std::ops::Range;

/// Two convolutions, each halved by pooling, the mean of each channel, and a linear layer.
struct Classifier {
    first: Conv,
    second: Conv,
    output: Linear,
}

impl Classifier {
    fn new(b: &mut Builder, channels: usize, classes: usize) -> Classifier {
        let conv = |b: &mut Builder, inputs, outputs| {
            Conv::new(b, inputs, outputs, [3, 3]).padding(Padding::same(3))
        };
        Classifier {
            first: conv(&mut b.scope("first"), channels, 16),
            second: conv(&mut b.scope("second"), 16, 32),
            output: Linear::new(&mut b.scope("output"), 32, classes),
        }
    }

    /// x `[B, H, W, C]` -> logits `[B, classes]`.
    fn logits(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        let half = MaxPool::new([2, 2]);
        let h = half.forward(&self.first.forward_with(p, x, Activation::Relu));
        let h = half.forward(&self.second.forward_with(p, &h, Activation::Relu));
        self.output.forward(p, &global_average_pool(&h))
    }
}

/// The images of a part of a batch, `[B, H, W, C]`.
fn images(batch: &Batch, shape: ImageShape, part: Range<usize>) -> Var<f32> {
    let numbers = &batch.images[part.start * shape.len()..part.end * shape.len()];
    let shape = [part.len(), shape.height, shape.width, shape.channels];
    Var::constant(Tensor::new(shape, numbers))
}

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1);
    let source = Source::parse(name.as_deref().unwrap_or(Source::GLYPHS))?;
    let data = Dataset::open(&source, &Cache::from_environment()?)?;
    let (shape, classes) = (data.shape(), data.classes().ok_or("expected labels")?);

    let mut params = Params::new();
    let mut root = Builder::new(&mut params, 0);
    let net = Classifier::new(&mut root, shape.channels, classes as usize);
    let mut adam = OptimiserState::new(Optimiser::adam(3e-3), &params, params.ids().collect());
    println!("{}: {} parameters", data.name(), params.count());

    for epoch in 0..2 {
        let (mut nats, mut seen) = (0.0, 0);
        for batch in data.split(Split::Train).batches(64, 1, epoch) {
            let labels = batch.labels.as_ref().expect("the data have labels");
            // Lanes of 16 images side by side, each on a tape of its own.
            let sums = lanes::gradients(&params, batch.len(), 16, |_, p, part| {
                let logits = net.logits(p, &images(&batch, shape, part.clone()));
                logits.softmax_cross_entropy(labels[part].into()).sum()
            });
            adam.step_summed(&mut params, sums.halves(), 1.0, 1.0 / batch.len() as f64);
            nats += sums.rest.loss;
            seen += batch.len();
        }
        let p = params.constants();
        let mut right = Vec::new();
        for batch in data.split(Split::Valid).batches(500, 0, 0).in_order() {
            let logits = net.logits(&p, &images(&batch, shape, 0..batch.len()));
            right.extend(hits(logits.value(), &batch.labels.expect("labels")));
        }
        let accuracy = Estimate::of(&right).scaled(100.0);
        println!(
            "epoch {epoch}: {:.3} nats in training; {:.2} % +- {:.2} of {} images right",
            nats / seen as f64,
            accuracy.mean,
            accuracy.standard_error,
            right.len(),
        );
    }
    Ok(())
}
