//! How far sets of images are from real ones: images of the same split, and images with noise.
//!
//! ```sh
//! cargo run --release -p genzoo-judge --example distances
//! ```
//! The data are the built-in glyphs. The features are means of 4x4 pixels, 49 an image; what a
//! classifier sees tells more, and `genzoo judge` takes that.

use dataset::{Cache, Dataset, Source, Split};
use grad::kernels::reduce::Pool2d;
use grad::{Tensor, Var};
use judge::{Matrix, Moments, frechet_distance, kernel_distance};
use nn::random::{normal, stream};
use std::error::Error;

const COUNT: usize = 1000;

/// The features of images `[N, H, W, C]` with normal noise of this size.
fn features(images: &[f32], shape: [usize; 4], noise: f64) -> Matrix {
    let mut random = stream(&[5]);
    let noisy = |i: usize| images[i] + (noise * normal(&mut random)) as f32;
    let images = Var::constant(Tensor::from_fn(shape, noisy));
    Matrix::of(images.average_pool(Pool2d::new(shape, [4, 4])).value())
}

fn main() -> Result<(), Box<dyn Error>> {
    let source = Source::parse(Source::GLYPHS)?;
    let data = Dataset::open(&source, &Cache::from_environment()?)?;
    let mut batches = data.split(Split::Train).batches(COUNT, 0, 0);
    let mut next = || batches.next().ok_or("expected more images");
    let shape = data.shape();
    let shape = [COUNT, shape.height, shape.width, shape.channels];

    let real = features(&next()?.images, shape, 0.0);
    let others = next()?.images;
    println!("{:>24}{:>10}{:>22}", "", "Fréchet", "kernel");
    for (name, noise) in [
        ("other real images", 0.0),
        ("with noise 0.2", 0.2),
        ("with noise 0.5", 0.5),
    ] {
        let set = features(&others, shape, noise);
        let frechet = frechet_distance(&Moments::of(&real), &Moments::of(&set));
        let kernel = kernel_distance(&real, &set, 1);
        println!(
            "{name:>24}{frechet:>10.4}{:>12.5} +- {:.5}",
            kernel.value, kernel.half_width
        );
    }
    Ok(())
}
