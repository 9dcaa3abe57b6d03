#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod commands;
mod data_source;
mod draw;
mod failure;
mod finished;
mod gallery;
mod interrupt;
mod judging;
mod npy;
mod output;
mod picture;
mod pixels;
mod progress;
mod registry;
mod suggest;

use clap::{Parser, Subcommand};
#[cfg(feature = "explore")]
use commands::explore;
use commands::{
    bench, complete, compress, data, eval, finetune, fool, import, inspect, judge, latent, models,
    sample, train,
};
use std::process::ExitCode;

pub use registry::models as all_models;

/// Train deep generative models on CPUs.
#[derive(Parser)]
#[command(
    name = "genzoo",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(
    after_help = "First steps: `genzoo train vae` trains on built-in images and tells \
    where the samples are."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the models, or describe one.
    Models(models::Args),
    /// Train a model, or go on training one.
    Train(train::Args),
    /// Judge a trained model on a split: likelihood, accuracy, or whatever it is judged by.
    Eval(eval::Args),
    /// Draw images from a trained model into a PNG file.
    Sample(sample::Args),
    /// Judge samples of a run, or a folder of pictures, beside real images.
    Judge(judge::Args),
    /// Find what fools a classifier and what it looks for.
    Fool(fool::Args),
    /// Look into the code of a trained model: maps, traversals, interpolations, arrays.
    Latent(latent::Args),
    #[cfg(feature = "explore")]
    /// Open a page on this machine to play with a trained model in a browser.
    Explore(explore::Args),
    /// Put a classifier on a trained encoder, and compare it with one that begins at random.
    Finetune(finetune::Args),
    /// Draw what is missing in images into a PNG file.
    Complete(complete::Args),
    /// Compress images without loss, with a trained model's probabilities.
    ///
    /// A model whose likelihood averages over several orderings of the pixels codes by the first
    /// of them. The file is then as long as that ordering alone promises, which
    /// `eval --orderings 1` tells, and says by which of how many it was coded.
    Compress(compress::Args),
    /// Give back the files that `compress` was given.
    Decompress(compress::BackArgs),
    /// Make a run of parameters that were trained elsewhere.
    Import(import::Args),
    /// List, import or inspect data sets.
    Data(data::Args),
    /// Look into a trained model: receptive fields, attention, filters, as a PNG file.
    Inspect(inspect::Args),
    /// Measure whole training steps on synthetic images.
    Bench(bench::Args),
}

/// The command: reads the command line of this process, does what it says with the models of this
/// workspace and those of `models`, and tells the exit code.
///
/// A program of one's own is then the whole command with one's own models:
///
/// ```no_run
/// use nn::model::Entry;
/// use std::process::ExitCode;
///
/// const MODELS: &[Entry] = &[/* one's own */];
///
/// fn main() -> ExitCode {
///     genzoo::run(MODELS)
/// }
/// ```
pub fn run(models: &'static [nn::model::Entry]) -> ExitCode {
    registry::add(models);
    // Clap prints its own errors, with the near word, and exits 2.
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    // Kernels would panic about it at their first call.
    kernels::Isa::from_env()
        .map_err(|error| failure::usage(error, "without KERNELS_ISA the fastest one is chosen"))?;
    match cli.command {
        Command::Models(args) => models::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Sample(args) => sample::run(args),
        Command::Judge(args) => judge::run(args),
        Command::Fool(args) => fool::run(args),
        Command::Latent(args) => latent::run(args),
        #[cfg(feature = "explore")]
        Command::Explore(args) => explore::run(args),
        Command::Finetune(args) => finetune::run(args),
        Command::Complete(args) => complete::run(args),
        Command::Compress(args) => compress::run(args),
        Command::Decompress(args) => compress::back(args),
        Command::Import(args) => import::run(args),
        Command::Data(args) => data::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Bench(args) => bench::run(args),
    }
}
