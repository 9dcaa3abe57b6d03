//! `genzoo eval`: how likely a trained model finds a split.

use crate::output::{print, print_json, thousands};
use crate::{data_source, failure, registry};
use dataset::Split;
use nn::stats::{Estimate, bits_per_dim};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use train::{Images, Pool, RunDir, Trained};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run.
    run: PathBuf,
    /// Other data than the run's own, of the same shape.
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<String>,
    /// `train`, `valid` or `test`.
    #[arg(long, default_value = "test")]
    split: Split,
    /// Draws an image, where the model is stochastic; more give a tighter bound.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Threads; they do not change results [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    split: &'a str,
    examples: usize,
    nats: f64,
    nats_standard_error: f64,
    bits_per_dim: f64,
    bound: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = RunDir::open(&args.run)?;
    let config = train::read_config(&dir)?;
    let entry = registry::find(&config.model)?;
    let trained = Trained::read(&dir, entry, &config)?;
    let Some(likelihood) = trained.model.likelihood() else {
        let message = format!("{} does not tell how likely an image is", entry.name);
        return Err(failure::failed(
            message,
            format!("it can do this: {}", entry.abilities),
        ));
    };
    let bound = likelihood.is_bound();
    let (_, data) = data_source::open(args.data.as_ref().unwrap_or(&config.data))?;
    match args.data {
        Some(_) => config.check_image(&data)?,
        None => config.check_data(&data)?,
    }
    let images = Images::evaluation(&data, args.split, config.binarize);
    if images.is_empty() {
        let message = format!("{}: the {} split is empty", data.name(), args.split);
        return Err(failure::failed(message, "--split chooses another"));
    }
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let samples = args.samples as usize;
    let never = AtomicBool::new(false);
    let (model, params) = (&*trained.model, &trained.params);
    let nats = pool.run(|| train::nats(model, params, &images, config.batch_size, samples, &never));
    let estimate = Estimate::of(&nats.expect("the model tells likelihoods and nobody stops it"));
    let bits = Estimate {
        mean: bits_per_dim(estimate.mean, config.image.dims()),
        standard_error: bits_per_dim(estimate.standard_error, config.image.dims()),
    };
    if args.json {
        print_json(&Report {
            model: entry.name,
            split: args.split.name(),
            examples: images.len(),
            nats: estimate.mean,
            nats_standard_error: estimate.standard_error,
            bits_per_dim: bits.mean,
            bound,
        })?;
    } else {
        let sign = if bound { "-log p(x) <=" } else { "-log p(x) =" };
        print(format!(
            "{} on {} {} images of {}, binarize {}, parameters of step {}\n\
             {sign} {:.3} +- {:.3} nats an image, {:.4} +- {:.4} bits a dimension",
            entry.name,
            thousands(images.len() as u64),
            args.split,
            data.name(),
            config.binarize,
            trained.step,
            estimate.mean,
            estimate.standard_error,
            bits.mean,
            bits.standard_error,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
