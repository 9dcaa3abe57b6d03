//! `genzoo fool`: what fools a classifier, and what it looks for.

mod scene;

use crate::failure;
use crate::finished::Finished;
use crate::output::{print, print_json, table, thousands};
use dataset::Split;
use judge::fool::Ball;
use judge::{HALVES, real};
use scene::Scene;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use train::{Images, Pool};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run of a classifier.
    run: PathBuf,
    /// Other data than the run's own, of the same shape.
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<String>,
    /// `train`, `valid` or `test`: whose images are attacked.
    #[arg(long, default_value = "test")]
    split: Split,
    /// How many images are attacked.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    count: u32,
    /// Largest changes of a pixel, separated by commas.
    #[arg(long, value_name = "X,X,..", value_delimiter = ',', value_parser = bound,
        allow_negative_numbers = true,
        default_values_t = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])]
    epsilon: Vec<f32>,
    /// Largest Euclidean changes of an image, separated by commas.
    #[arg(long, value_name = "X,X,..", value_delimiter = ',', value_parser = bound,
        allow_negative_numbers = true,
        default_values_t = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0])]
    euclidean: Vec<f32>,
    /// Steps of projected gradient descent.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    steps: u32,
    /// Make images be taken for this class, instead of for any but their own.
    #[arg(long, value_name = "C")]
    target: Option<u32>,
    /// Steps of gradient ascent for images of classes and units.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    ascent_steps: u32,
    /// Where noise and jitter begin.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where tables and pictures are put [default: `fool` in the run's directory].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads; they do not change results [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn bound(text: &str) -> Result<f32, String> {
    let number = text.trim().parse().ok();
    let number = number.filter(|x: &f32| x.is_finite() && *x >= 0.0);
    number.ok_or_else(|| "expected numbers of at least 0".into())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    model: &'static str,
    images: usize,
    split: &'static str,
    target: Option<u32>,
    accuracy: f64,
    attacks: Vec<Row>,
    pictures: Vec<String>,
}

/// How an attack went.
#[derive(Serialize)]
struct Row {
    ball: &'static str,
    epsilon: f32,
    /// One step.
    fast: Outcome,
    /// Many steps.
    projected: Outcome,
}

/// What became of the images.
#[derive(Serialize)]
struct Outcome {
    /// The share that is still told right.
    accuracy: f64,
    /// The share that is taken for the target, where there is one.
    reached: Option<f64>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    if run.model().classifier().is_none() {
        return Err(run.cannot("does not tell classes, so it cannot be fooled"));
    }
    let Some(classes) = run.config.image.classes else {
        return Err(run.cannot("knows no classes"));
    };
    if let Some(target) = args.target.filter(|&target| target as usize >= classes) {
        let message = format!(
            "--target {target}: expected a class from 0 to {}",
            classes - 1
        );
        return Err(failure::usage(message, ""));
    }
    let data = run.data(args.data.as_ref())?;
    let split = Images::evaluation(&data, args.split, run.config.binarize);
    if split.is_empty() || data.classes().is_none() {
        let message = format!("{}: no labelled images in {}", data.name(), args.split);
        return Err(failure::failed(message, "--split and --data choose others"));
    }
    let drawn = real(&split, 0, args.count as usize, HALVES);
    let labels = drawn.classes.map_or_else(Vec::new, |list| list.to_vec());
    let out = args.out.clone().unwrap_or_else(|| args.run.join("fool"));
    std::fs::create_dir_all(&out)?;
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let images = drawn.images;
    let report = pool.run(|| {
        let scene = Scene {
            classifier: run.model().classifier().expect("looked at above"),
            params: &run.trained.params,
            images,
            labels,
            classes,
        };
        report(&args, run.entry.name, &scene, &out)
    })?;
    if args.json {
        print_json(&report)?;
    } else {
        print(report.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Attacks at each epsilon, then the pictures.
fn report(args: &Args, model: &'static str, scene: &Scene, out: &Path) -> anyhow::Result<Report> {
    let mut attacks = Vec::new();
    for (ball, name, list) in [
        (Ball::Infinity, "l-inf", &args.epsilon),
        (Ball::Euclidean, "l2", &args.euclidean),
    ] {
        for &epsilon in list {
            let go = |steps: u32| scene.attacked(args, ball, epsilon, steps);
            attacks.push(Row {
                ball: name,
                epsilon,
                fast: go(1),
                projected: go(args.steps),
            });
        }
    }
    Ok(Report {
        model,
        images: scene.labels.len(),
        split: args.split.name(),
        target: args.target,
        accuracy: scene.accuracy(&scene.images),
        pictures: scene.draw(args, &attacks, out)?,
        attacks,
    })
}

impl Report {
    fn text(&self) -> String {
        let percent = |share: f64| format!("{:.1}%", 100.0 * share);
        let mut head: Vec<String> = ["distance", "epsilon", "one step", "many steps"]
            .map(String::from)
            .to_vec();
        if let Some(target) = self.target {
            head.push(format!("taken for {target}, one step"));
            head.push("many steps".into());
        }
        let row = |row: &Row| {
            let outcomes = [&row.fast, &row.projected];
            let mut line = vec![row.ball.into(), format!("{}", row.epsilon)];
            line.extend(outcomes.iter().map(|of| percent(of.accuracy)));
            line.extend(outcomes.iter().filter_map(|of| of.reached).map(percent));
            line
        };
        let rows: Vec<Vec<String>> = [head]
            .into_iter()
            .chain(self.attacks.iter().map(row))
            .collect();
        format!(
            "{}: {} of {} {} images told right; what is left of that under attack:\n\n{}\n\n{}",
            self.model,
            percent(self.accuracy),
            thousands(self.images as u64),
            self.split,
            table(&rows),
            self.pictures.join("\n"),
        )
    }
}
