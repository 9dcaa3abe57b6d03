//! `genzoo eval`: how likely a trained model finds a split.

use crate::failure;
use crate::finished::Finished;
use crate::output::{print, print_json, table, thousands};
use dataset::Split;
use nn::model::Entry;
use nn::stats::{Estimate, bits_per_dim};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use toml::{Table, Value};
use train::{Config, Images, Pool};

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
    /// Orderings of the pixels that the likelihood averages over, where the model has several
    /// [default: as trained].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=4096))]
    orderings: Option<u32>,
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
    #[serde(flatten)]
    figures: Figures,
    bound: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<OfClass>,
}

/// What is said of some images.
#[derive(Serialize)]
struct Figures {
    nats: f64,
    nats_standard_error: f64,
    bits_per_dim: f64,
}

/// What is said of the images of a class.
#[derive(Serialize)]
struct OfClass {
    class: u32,
    examples: usize,
    #[serde(flatten)]
    figures: Figures,
}

impl Figures {
    fn of(nats: &[f64], dims: usize) -> Figures {
        let estimate = Estimate::of(nats);
        Figures {
            nats: estimate.mean,
            nats_standard_error: estimate.standard_error,
            bits_per_dim: bits_per_dim(estimate.mean, dims),
        }
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::with(&args.run, |entry, config| match args.orderings {
        None => Ok(config),
        Some(orderings) => with_orderings(entry, &config, orderings),
    })?;
    let (entry, config) = (run.entry, &run.config);
    let Some(likelihood) = run.model().likelihood() else {
        return Err(run.cannot("does not tell how likely an image is"));
    };
    let bound = likelihood.is_bound();
    let data = run.data(args.data.as_ref())?;
    let images = Images::evaluation(&data, args.split, config.binarize);
    if images.is_empty() {
        let message = format!("{}: the {} split is empty", data.name(), args.split);
        return Err(failure::failed(message, "--split chooses another"));
    }
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let samples = args.samples as usize;
    let never = AtomicBool::new(false);
    let (model, params) = (run.model(), &run.trained.params);
    let nats = pool.run(|| train::nats(model, params, &images, config.batch_size, samples, &never));
    let nats = nats.expect("the model tells likelihoods and nobody stops it");
    let dims = config.image.dims();
    let figures = Figures::of(&nats, dims);
    let view = data.split(args.split);
    let label = |i| view.label(i);
    let classes = by_class(&nats, dims, label);
    if args.json {
        return print_json(&Report {
            model: entry.name,
            split: args.split.name(),
            examples: images.len(),
            figures,
            bound,
            classes,
        })
        .map(|()| ExitCode::SUCCESS);
    }
    let sign = if bound { "-log p(x) <=" } else { "-log p(x) =" };
    let mut text = format!(
        "{} on {} {} images of {}, binarize {}, parameters of step {}\n\
         {sign} {:.3} +- {:.3} nats an image, {:.4} +- {:.4} bits a dimension",
        entry.name,
        thousands(images.len() as u64),
        args.split,
        data.name(),
        config.binarize,
        run.trained.step,
        figures.nats,
        figures.nats_standard_error,
        figures.bits_per_dim,
        bits_per_dim(figures.nats_standard_error, dims),
    );
    if !classes.is_empty() {
        let head = ["class", "images", "nats", "+-", "bits a dimension"].map(String::from);
        let row = |of: &OfClass| {
            vec![
                of.class.to_string(),
                thousands(of.examples as u64),
                format!("{:.3}", of.figures.nats),
                format!("{:.3}", of.figures.nats_standard_error),
                format!("{:.4}", of.figures.bits_per_dim),
            ]
        };
        let rows: Vec<_> = [head.to_vec()]
            .into_iter()
            .chain(classes.iter().map(row))
            .collect();
        text += &format!("\n\n{}", table(&rows));
    }
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// The figures of each class that occurs, if the images have labels.
fn by_class(nats: &[f64], dims: usize, label: impl Fn(usize) -> Option<u32>) -> Vec<OfClass> {
    let mut of_class = std::collections::BTreeMap::<u32, Vec<f64>>::new();
    for (i, &nats) in nats.iter().enumerate() {
        let Some(class) = label(i) else {
            return Vec::new();
        };
        of_class.entry(class).or_default().push(nats);
    }
    let classes = of_class.into_iter().map(|(class, nats)| OfClass {
        class,
        examples: nats.len(),
        figures: Figures::of(&nats, dims),
    });
    classes.collect()
}

/// The hyper-parameters that say how many orderings a model has.
const ORDERINGS: [&str; 2] = ["orderings", "masks"];

fn with_orderings(entry: &Entry, config: &Config, orderings: u32) -> anyhow::Result<Config> {
    let key = entry
        .hypers
        .iter()
        .find(|hyper| ORDERINGS.contains(&hyper.name));
    let Some(key) = key else {
        let message = format!("--orderings {orderings}: {} has one ordering", entry.name);
        let hint = "orderless-nade and made can average over several";
        return Err(failure::usage(message, hint));
    };
    let value = Value::Integer(orderings.into());
    let hypers = Table::from_iter([(key.name.to_string(), value)]);
    let layer = Table::from_iter([("hypers".to_string(), Value::Table(hypers))]);
    Ok(config.with(layer, "the command line")?)
}
