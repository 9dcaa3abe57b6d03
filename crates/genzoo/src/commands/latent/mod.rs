//! `genzoo latent`: what a model's code is like, as pictures and arrays.

mod arithmetic;
mod arrays;
mod dimensions;
mod interpolate;
mod manifold;
mod reconstruct;
mod scatter;
pub(crate) mod space;
mod traverse;

use crate::failure;
use crate::finished::Finished;
use crate::output::print;
use space::Space;
use std::path::PathBuf;
use std::process::ExitCode;
use train::Pool;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run.
    run: PathBuf,
    #[command(subcommand)]
    what: What,
    /// Other data than the run's own, of the same shape.
    #[arg(long, value_name = "NAME|DIR", global = true)]
    data: Option<String>,
    /// The class that images are made of, for a conditional model [default: 0].
    #[arg(long, value_name = "C", global = true)]
    class: Option<u32>,
    /// Threads; they do not change results [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads(), global = true)]
    threads: Option<u64>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Two dimensions of the code as a map: percentiles of the prior through the decoder.
    Manifold(manifold::Args),
    /// Each dimension over its range, the most active first.
    Traverse(traverse::Args),
    /// From one image to another, along a line and along an arc.
    Interpolate(interpolate::Args),
    /// Sums and differences of the mean codes of classes or of images.
    Arithmetic(arithmetic::Args),
    /// Write codes and labels of a split as .npy files.
    Encode(arrays::EncodeArgs),
    /// Draw the images of the codes in a .npy file.
    Decode(arrays::DecodeArgs),
    /// Codes as points in the plane, coloured by class.
    Scatter(scatter::Args),
    /// Images, and below each what comes back from its code.
    Reconstruct(reconstruct::Args),
    /// How much each dimension tells: divergence from N(0, 1), spread, active or not.
    Dimensions(dimensions::Args),
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    if run.model().latent().is_none() {
        return Err(run.cannot("has no code"));
    }
    run.check_class(args.class)?;
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    // In the pool, but the messages of errors are made of plain text, so nothing is lost.
    let text = pool.run(|| -> anyhow::Result<String> {
        let space = Space::new(&run, args.class, args.data.as_ref())?;
        match &args.what {
            What::Manifold(args) => manifold::draw(&space, args),
            What::Traverse(args) => traverse::draw(&space, args),
            What::Interpolate(args) => interpolate::draw(&space, args),
            What::Arithmetic(args) => arithmetic::draw(&space, args),
            What::Encode(args) => arrays::encode(&space, args),
            What::Decode(args) => arrays::decode(&space, args),
            What::Scatter(args) => scatter::draw(&space, args),
            What::Reconstruct(args) => reconstruct::draw(&space, args),
            What::Dimensions(args) => dimensions::draw(&space, args),
        }
    })?;
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// An error of the command line.
fn wrong(message: impl std::fmt::Display, hint: &str) -> anyhow::Error {
    failure::usage(message, hint)
}
