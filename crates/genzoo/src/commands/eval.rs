//! `genzoo eval`: what a trained model is judged to be on a split.

use crate::failure;
use crate::finished::Finished;
use crate::output::{note, print, print_json, table, thousands};
use dataset::Split;
use nn::hyper::Hyper;
use nn::model::{Better, Entry, Figure, Kind, NATS, Scored};
use nn::stats::{Estimate, bits_per_dim};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use toml::{Table, Value};
use train::{Config, Evaluation, Images, Measured, Pool};

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
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    samples: u32,
    /// Orderings of the pixels that the likelihood averages over, where the model has several
    /// [default: as trained].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=4096))]
    orderings: Option<u32>,
    /// Temperatures of annealed importance sampling, where log Z is estimated by it; more are more
    /// honest, and take longer [default: as the model is configured].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    temperatures: Option<u32>,
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
    /// Of the likelihood, where the model tells one.
    #[serde(flatten)]
    likelihood: Option<Likelihood>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<bool>,
    scores: Vec<Line>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<OfClass>,
}

/// The likelihood of some images.
#[derive(Serialize)]
struct Likelihood {
    nats: f64,
    nats_standard_error: Option<f64>,
    bits_per_dim: f64,
}

/// A figure.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    value: f64,
    standard_error: Option<f64>,
    unit: &'static str,
    kind: &'static str,
    better: &'static str,
}

/// What is said of the images of a class.
#[derive(Serialize)]
struct OfClass {
    class: u32,
    examples: usize,
    #[serde(flatten)]
    likelihood: Option<Likelihood>,
    scores: Vec<Line>,
}

impl Likelihood {
    fn of(figures: &[Figure], dims: usize) -> Option<Likelihood> {
        let figure = figures.iter().find(|figure| figure.info.is_likelihood())?;
        Some(Likelihood {
            nats: figure.value,
            nats_standard_error: finite(figure.standard_error),
            bits_per_dim: bits_per_dim(figure.value, dims),
        })
    }
}

impl Line {
    fn of(figure: &Figure) -> Line {
        Line {
            name: figure.info.name,
            value: figure.value,
            standard_error: finite(figure.standard_error),
            unit: figure.info.unit,
            kind: figure.info.kind.name(),
            better: figure.info.better.name(),
        }
    }
}

fn finite(x: f64) -> Option<f64> {
    Some(x).filter(|x| x.is_finite())
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::with(&args.run, |entry, config| {
        let config = match args.orderings {
            None => config,
            Some(orderings) => with_orderings(entry, &config, orderings)?,
        };
        match args.temperatures {
            None => Ok(config),
            Some(temperatures) => with_temperatures(entry, &config, temperatures),
        }
    })?;
    let (entry, config) = (run.entry, &run.config);
    let scores = run.model().scores();
    if scores.is_empty() {
        return Err(run.cannot("has nothing that it is judged by"));
    }
    if args.samples > 1 && !scores.iter().any(is_stochastic) {
        note(format!(
            "--samples {}: {} is exact, so it has no effect",
            args.samples, entry.name
        ));
    }
    let data = run.data(args.data.as_ref())?;
    let images = Images::evaluation(&data, args.split, config.binarize);
    if images.is_empty() {
        let message = format!("{}: the {} split is empty", data.name(), args.split);
        return Err(failure::failed(message, "--split chooses another"));
    }
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let train = Images::evaluation(&data, Split::Train, config.binarize);
    let measured = pool.run(|| {
        let evaluation = Evaluation {
            model: run.model(),
            params: &run.trained.params,
            train: &train,
            split: &images,
            batch_size: config.batch_size,
            samples: args.samples as usize,
            seed: config.seed,
            thorough: true,
        };
        evaluation.run(&run.model().scores(), &AtomicBool::new(false))
    });
    let measured = measured.expect("nobody stops it");
    let dims = config.image.dims();
    let figures: Vec<Figure> = measured.iter().map(|of| of.figure).collect();
    let view = data.split(args.split);
    let classes = by_class(&measured, dims, |i| view.label(i));
    if args.json {
        let of_nats = figures.iter().find(|figure| figure.info.is_likelihood());
        return print_json(&Report {
            model: entry.name,
            split: args.split.name(),
            examples: images.len(),
            likelihood: Likelihood::of(&figures, dims),
            bound: of_nats.map(|figure| figure.info.kind == Kind::UpperBound),
            scores: figures.iter().map(Line::of).collect(),
            classes,
        })
        .map(|()| ExitCode::SUCCESS);
    }
    let mut text = format!(
        "{} on {} {} images of {}, binarize {}, parameters of step {}",
        entry.name,
        thousands(images.len() as u64),
        args.split,
        data.name(),
        config.binarize,
        run.trained.step,
    );
    for figure in &figures {
        text += &format!("\n{}", line(figure, dims));
    }
    if !classes.is_empty() {
        text += &format!("\n\n{}", table(&rows(&classes, &figures)));
    }
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn is_stochastic(score: &Scored) -> bool {
    match score {
        Scored::Images(score) => score.is_stochastic(),
        Scored::Set(_) => false,
    }
}

/// A figure in words.
fn line(figure: &Figure, dims: usize) -> String {
    let Figure {
        info,
        value,
        standard_error,
    } = *figure;
    if !info.is_likelihood() {
        let error = match finite(standard_error) {
            None => String::new(),
            Some(error) => format!(" +- {error:.4}"),
        };
        let name = info.name.replace('_', " ");
        let better = match info.better {
            Better::Neither => String::new(),
            better => format!(", {} is better", better.name()),
        };
        return format!("{name} {value:.4}{error} ({}{better})", info.unit);
    }
    let sign = match info.kind {
        Kind::UpperBound => "<=",
        Kind::Estimate => "~",
        Kind::Exact | Kind::Metric => "=",
    };
    let name = match info.name {
        NATS => String::new(),
        name => format!(" ({})", name.replace('_', " ")),
    };
    format!(
        "-log p(x){name} {sign} {value:.3} +- {standard_error:.3} nats an image, \
         {:.4} +- {:.4} bits a dimension",
        bits_per_dim(value, dims),
        bits_per_dim(standard_error, dims),
    )
}

/// The figures of each class that occurs, if the images have labels.
fn by_class(
    measured: &[Measured],
    dims: usize,
    label: impl Fn(usize) -> Option<u32>,
) -> Vec<OfClass> {
    let columns: Vec<(Figure, &Vec<f64>)> = (measured.iter())
        .filter_map(|of| Some((of.figure, of.values.as_ref()?)))
        .collect();
    let Some((_, first)) = columns.first() else {
        return Vec::new();
    };
    let mut of_class = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for i in 0..first.len() {
        let Some(class) = label(i) else {
            return Vec::new();
        };
        of_class.entry(class).or_default().push(i);
    }
    let classes = of_class.into_iter().map(|(class, images)| {
        let figures: Vec<Figure> = (columns.iter())
            .map(|(figure, values)| {
                let of: Vec<f64> = images.iter().map(|&i| values[i]).collect();
                let estimate = Estimate::of(&of);
                Figure {
                    value: estimate.mean,
                    standard_error: estimate.standard_error,
                    ..*figure
                }
            })
            .collect();
        OfClass {
            class,
            examples: images.len(),
            likelihood: Likelihood::of(&figures, dims),
            scores: figures.iter().map(Line::of).collect(),
        }
    });
    classes.collect()
}

/// A line for each class: its figures, and bits a dimension where there is a likelihood.
fn rows(classes: &[OfClass], figures: &[Figure]) -> Vec<Vec<String>> {
    let told = figures.iter().any(|figure| figure.info.is_likelihood());
    let mut head: Vec<String> = ["class", "images"].map(String::from).to_vec();
    for line in classes.first().iter().flat_map(|of| &of.scores) {
        head.extend([line.name.replace('_', " "), "+-".into()]);
    }
    head.extend(told.then(|| "bits a dimension".into()));
    let row = |of: &OfClass| {
        let mut row = vec![of.class.to_string(), thousands(of.examples as u64)];
        for line in &of.scores {
            row.push(format!("{:.3}", line.value));
            row.push(
                line.standard_error
                    .map_or("?".into(), |error| format!("{error:.3}")),
            );
        }
        row.extend(
            of.likelihood
                .as_ref()
                .map(|of| format!("{:.4}", of.bits_per_dim)),
        );
        row
    };
    [head].into_iter().chain(classes.iter().map(row)).collect()
}

/// The hyper-parameters that say how many orderings a model has, and whether training sees no
/// others: orderless NADE draws one anew for each image.
const ORDERINGS: [(&str, bool); 2] = [("orderings", false), ("masks", true)];

fn with_orderings(entry: &Entry, config: &Config, orderings: u32) -> anyhow::Result<Config> {
    let of = |hyper: &Hyper| ORDERINGS.iter().find(|(name, _)| *name == hyper.name);
    let Some((key, sees_no_others)) = entry.hypers.iter().find_map(of) else {
        let message = format!("--orderings {orderings}: {} has one ordering", entry.name);
        let hint = "orderless-nade and made can average over several";
        return Err(failure::usage(message, hint));
    };
    let trained = config.hypers(entry)?.count(key);
    if *sees_no_others && orderings as usize > trained {
        note(format!(
            "--orderings {orderings}: this {} was trained with {trained}; the others are new to it",
            entry.name
        ));
    }
    with_hyper(config, key, orderings)
}

/// The hyper-parameter that says through how many temperatures log Z is estimated.
const TEMPERATURES: &str = "ais_temperatures";

fn with_temperatures(entry: &Entry, config: &Config, count: u32) -> anyhow::Result<Config> {
    if !entry.hypers.iter().any(|hyper| hyper.name == TEMPERATURES) {
        let name = entry.name;
        let message =
            format!("--temperatures {count}: {name} has no partition function to estimate");
        return Err(failure::usage(
            message,
            "Boltzmann machines have one: rbm, dbn and dbm",
        ));
    }
    with_hyper(config, TEMPERATURES, count)
}

/// The same configuration with one hyper-parameter changed.
fn with_hyper(config: &Config, name: &str, value: u32) -> anyhow::Result<Config> {
    let value = Value::Integer(value.into());
    let hypers = Table::from_iter([(name.to_string(), value)]);
    let layer = Table::from_iter([("hypers".to_string(), Value::Table(hypers))]);
    Ok(config.with(layer, "the command line")?)
}
