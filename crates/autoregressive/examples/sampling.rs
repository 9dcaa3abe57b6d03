//! How long 64 images of binary MNIST's size take, drawn dimension after dimension with what earlier
//! ones left behind, and with all logits computed anew for each dimension.
//!
//! ```sh
//! cargo run --release -p genzoo-autoregressive --example sampling [-- MODEL [KEY=VALUE ..]]
//! ```
//! Weights are those of an untrained model: they do not matter for the time. The slow way is not run
//! to its end: one pass over 64 images is timed and counted once for each of the 784 dimensions.

use autoregressive::MODELS;
use grad::{Tape, Tensor};
use nn::Params;
use nn::model::{Ask, Batch, Entry, ImageSpec, Model, NoPreparation, SampleRequest, Scored, Step};
use rayon::prelude::*;
use std::error::Error;
use std::time::{Duration, Instant};

const SPEC: ImageSpec = ImageSpec::new(28, 28, 1, 2);
const COUNT: usize = 64;
/// Images of one pass on one thread.
const LANE: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let only = args.next();
    let set: Vec<String> = args.collect();
    println!(
        "{:16}{:>12}{:>14}{:>9}",
        "model", "seconds", "naive", "ratio"
    );
    for entry in MODELS {
        if only.as_ref().is_none_or(|only| only == entry.name) {
            measure(entry, &set)?;
        }
    }
    Ok(())
}

fn measure(entry: &Entry, set: &[String]) -> Result<(), Box<dyn Error>> {
    let mut hypers = entry.defaults();
    for pair in set {
        let (key, value) = pair.split_once('=').ok_or("expected KEY=VALUE")?;
        hypers.set(key, value)?;
    }
    let (model, params) = entry.build_for(&hypers, SPEC, 0)?;
    let sampler = model.sampler().ok_or("the model draws no images")?;
    let request = SampleRequest::new(COUNT, 0);
    let fast = fastest(3, || {
        std::hint::black_box(sampler.sample(&params.constants(), &request));
    });
    let pass = fastest(2, || pass(&*model, &params));
    let naive = pass.as_secs_f64() * SPEC.dims() as f64;
    let ratio = naive / fast.as_secs_f64();
    println!(
        "{:16}{:>12.3}{naive:>14.1}{ratio:>9.0}",
        entry.name,
        fast.as_secs_f64()
    );
    Ok(())
}

/// All logits of all images, once.
fn pass(model: &dyn Model, params: &Params<f32>) {
    (0..COUNT / LANE).into_par_iter().for_each(|lane| {
        let images = Tensor::from_fn([LANE, 28, 28, 1], |i| f32::from((i + lane) % 5 == 0));
        let batch = Batch::new(images, [lane as u64; LANE]);
        grad::kernels::parallel::serial(|| {
            let (tape, p) = (Tape::new(), params.constants());
            let (step, prepared) = (Step::new(&tape, &p, &batch), Box::new(NoPreparation) as _);
            for score in model.scores() {
                if let Scored::Images(score) = score {
                    std::hint::black_box(score.of(&step, &Ask::new(1, &prepared)));
                }
            }
        });
    });
}

fn fastest(times: usize, mut work: impl FnMut()) -> Duration {
    let once = |_| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    (0..times).map(once).min().unwrap_or_default()
}
