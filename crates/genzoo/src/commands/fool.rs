//! `genzoo fool`: what fools a classifier, and what it looks for.

use crate::failure;
use crate::finished::Finished;
use crate::output::{print, print_json, table, thousands};
use crate::picture::Picture;
use dataset::Split;
use grad::Tensor;
use judge::chart::{Chart, Series};
use judge::fool::{Ascent, Attack, Ball, Goal, answers, saliency, smooth_saliency};
use judge::{HALVES, real};
use nn::Params;
use nn::model::Classifier;
use nn::random::{stream, uniform};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use train::{Images, Pool};

/// Images that pictures show.
const SHOWN: usize = 10;
/// Units of a layer that are drawn.
const UNITS: usize = 16;
/// Draws of the smooth saliency, and the deviation of their noise.
const SMOOTH: (usize, f32) = (16, 0.15);

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
        default_values_t = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])]
    epsilon: Vec<f32>,
    /// Largest Euclidean changes of an image, separated by commas.
    #[arg(long, value_name = "X,X,..", value_delimiter = ',', value_parser = bound,
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

/// A classifier with images to fool it.
struct Scene<'a> {
    classifier: &'a dyn Classifier,
    params: &'a Params<f32>,
    images: Tensor<f32>,
    labels: Vec<u32>,
    classes: usize,
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
        let message = format!("--target {target}: expected a class from 0 to {}", classes - 1);
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
        scene.report(&args, run.entry.name, &out)
    })?;
    if args.json {
        print_json(&report)?;
    } else {
        print(report.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Scene<'_> {
    fn report(&self, args: &Args, model: &'static str, out: &std::path::Path) -> anyhow::Result<Report> {
        let mut attacks = Vec::new();
        for (ball, name, list) in [
            (Ball::Infinity, "l-inf", &args.epsilon),
            (Ball::Euclidean, "l2", &args.euclidean),
        ] {
            for &epsilon in list {
                let go = |steps: u32| self.attacked(args, ball, epsilon, steps);
                attacks.push(Row {
                    ball: name,
                    epsilon,
                    fast: go(1),
                    projected: go(args.steps),
                });
            }
        }
        let report = Report {
            model,
            images: self.labels.len(),
            split: args.split.name(),
            target: args.target,
            accuracy: self.accuracy(&self.images),
            pictures: self.draw(args, &attacks, out)?,
            attacks,
        };
        Ok(report)
    }

    fn accuracy(&self, images: &Tensor<f32>) -> f64 {
        let told = answers(self.classifier, self.params, images, &self.labels);
        let right = told.iter().zip(&self.labels).filter(|(it, label)| it.class == **label);
        right.count() as f64 / self.labels.len() as f64
    }

    /// Images after an attack.
    fn fooled(&self, args: &Args, ball: Ball, epsilon: f32, steps: u32) -> Tensor<f32> {
        let attack = Attack {
            ball,
            epsilon,
            steps: steps as usize,
            targeted: args.target.is_some(),
        };
        let goals = match args.target {
            Some(target) => vec![target; self.labels.len()],
            None => self.labels.clone(),
        };
        attack.run(self.classifier, self.params, &self.images, &goals)
    }

    fn attacked(&self, args: &Args, ball: Ball, epsilon: f32, steps: u32) -> Outcome {
        let images = self.fooled(args, ball, epsilon, steps);
        let reached = args.target.map(|target| {
            let told = answers(self.classifier, self.params, &images, &self.labels);
            let reached = told.iter().filter(|it| it.class == target).count();
            reached as f64 / told.len() as f64
        });
        Outcome {
            accuracy: self.accuracy(&images),
            reached,
        }
    }

    /// Writes all pictures; tells what is on each.
    fn draw(&self, args: &Args, attacks: &[Row], out: &std::path::Path) -> anyhow::Result<Vec<String>> {
        let mut told = Vec::new();
        let mut keep = |name: &str, what: &str, rows: &[Tensor<f32>]| -> anyhow::Result<()> {
            let path = out.join(name);
            stack(rows).save(&path)?;
            told.push(format!("{}  {what}", path.display()));
            Ok(())
        };
        let first = self.of_each_class();
        let pick = |images: &Tensor<f32>| rows(images, &first);
        let largest = args.epsilon.iter().copied().fold(0.0, f32::max);
        let images = pick(&self.images);
        let fooled = pick(&self.fooled(args, Ball::Infinity, largest, args.steps));
        let change = zip(&fooled, &images, |a, b| 0.5 + 0.5 * (a - b) / largest.max(1e-6));
        keep(
            "adversarial.png",
            "images, the same after the largest l-inf change, and the change",
            &[images.clone(), fooled, change],
        )?;
        let labels: Vec<u32> = first.iter().map(|&i| self.labels[i]).collect();
        let sharp = saliency(self.classifier, self.params, &images, &labels);
        let smooth = smooth_saliency(self.classifier, self.params, &images, &labels, SMOOTH);
        keep(
            "saliency.png",
            "images, which pixels their class depends on, and the same averaged over noise",
            &[images.clone(), wide(&sharp, &images), wide(&smooth, &images)],
        )?;
        let classes: Vec<Tensor<f32>> = self.ways(args).into_iter().map(|(_, x)| x).collect();
        keep(
            "classes.png",
            "a class in each column; rows: from noise, from images, then from noise with jitter, \
             blur, total variation, Fourier parameters, and jitter with Fourier parameters",
            &classes,
        )?;
        for (layer, units) in self.units(args).into_iter().enumerate() {
            let what = format!("what units of hidden layer {layer} answer to most");
            keep(&format!("units-{layer}.png"), &what, &[units])?;
        }
        for (ball, what) in [("l-inf", "largest change of a pixel"), ("l2", "Euclidean change")] {
            let of = |name: &str, outcome: fn(&Row) -> &Outcome| Series {
                name: name.into(),
                points: (attacks.iter().filter(|row| row.ball == ball))
                    .map(|row| (f64::from(row.epsilon), 100.0 * outcome(row).accuracy))
                    .collect(),
                joined: true,
            };
            let chart = Chart {
                title: "Accuracy under attack",
                x: what,
                y: "%",
                series: vec![of("one step", |row| &row.fast), of("many steps", |row| &row.projected)],
            };
            let path = out.join(format!("accuracy-{ball}.svg"));
            train::write_whole(&path, chart.svg().as_bytes())?;
            told.push(format!("{}  accuracy against epsilon", path.display()));
        }
        Ok(told)
    }

    /// The first image of each of the first classes.
    fn of_each_class(&self) -> Vec<usize> {
        let classes = 0..self.classes.min(SHOWN) as u32;
        let first = classes.filter_map(|class| self.labels.iter().position(|&it| it == class));
        first.collect()
    }

    /// Images of the classes, climbed to in several ways.
    fn ways(&self, args: &Args) -> Vec<(&'static str, Tensor<f32>)> {
        let goals: Vec<Goal> = (0..self.classes.min(SHOWN)).map(Goal::Class).collect();
        let noise = self.noise(goals.len(), args.seed);
        let start: Vec<usize> = (0..goals.len()).map(|i| (i + 1) % self.labels.len()).collect();
        let images = rows(&self.images, &start);
        let plain = Ascent {
            steps: args.ascent_steps as usize,
            ..Ascent::PLAIN
        };
        let jitter = Ascent { jitter: 2, ..plain };
        let fourier = Ascent {
            fourier: true,
            size: 0.01,
            ..plain
        };
        let ways = [
            ("noise", plain, &noise),
            ("images", plain, &images),
            ("jitter", jitter, &noise),
            ("blur", Ascent { blur: 0.6, ..plain }, &noise),
            ("variation", Ascent { variation: 30.0, ..jitter }, &noise),
            ("fourier", fourier, &noise),
            ("fourier and jitter", Ascent { jitter: 2, ..fourier }, &noise),
        ];
        let climb = |(name, ascent, start): (&'static str, Ascent, &Tensor<f32>)| {
            (name, ascent.climb(self.classifier, self.params, start, &goals, args.seed))
        };
        ways.into_iter().map(climb).collect()
    }

    /// For each hidden layer that the classifier shows, what its first units answer to.
    fn units(&self, args: &Args) -> Vec<Tensor<f32>> {
        let p = self.params.constants();
        let one = grad::Var::constant(rows(&self.images, &[0]));
        let layers = self.classifier.layers(&p, &one);
        let ascent = Ascent {
            steps: args.ascent_steps as usize,
            jitter: 1,
            fourier: true,
            size: 0.01,
            ..Ascent::PLAIN
        };
        let of = |(layer, answer): (usize, &grad::Var<f32>)| {
            let units = answer.shape().last_extent().min(UNITS);
            let goals: Vec<Goal> = (0..units).map(|channel| Goal::Unit { layer, channel }).collect();
            let noise = self.noise(units, args.seed);
            ascent.climb(self.classifier, self.params, &noise, &goals, args.seed)
        };
        layers.iter().enumerate().map(of).collect()
    }

    /// Grey with a little noise.
    fn noise(&self, count: usize, seed: u64) -> Tensor<f32> {
        let mut shape = self.images.shape().to_vec();
        shape[0] = count;
        let mut random = stream(&[seed, count as u64]);
        Tensor::from_fn(&shape[..], |_| 0.4 + 0.2 * uniform(&mut random) as f32)
    }
}

/// These rows of a tensor.
fn rows(images: &Tensor<f32>, list: &[usize]) -> Tensor<f32> {
    let dims = images.len() / images.shape()[0];
    let pixels: Vec<f32> = (list.iter())
        .flat_map(|&i| &images.data()[i * dims..(i + 1) * dims])
        .copied()
        .collect();
    let mut shape = images.shape().to_vec();
    shape[0] = list.len();
    Tensor::new(&shape[..], &pixels)
}

fn zip(a: &Tensor<f32>, b: &Tensor<f32>, f: impl Fn(f32, f32) -> f32) -> Tensor<f32> {
    Tensor::from_fn(*a.shape(), |i| f(a.data()[i], b.data()[i]))
}

/// One channel repeated as often as `like` has channels.
fn wide(map: &Tensor<f32>, like: &Tensor<f32>) -> Tensor<f32> {
    let channels = like.shape().last_extent();
    Tensor::from_fn(*like.shape(), |i| map.data()[i / channels])
}

/// A picture with a tensor of images in each row.
fn stack(list: &[Tensor<f32>]) -> Picture {
    let columns = list[0].shape()[0];
    let pixels: Vec<f32> = list.iter().flat_map(|images| images.data()).copied().collect();
    let mut shape = list[0].shape().to_vec();
    shape[0] = columns * list.len();
    Picture::grid(&Tensor::new(&shape[..], &pixels), columns)
}

impl Report {
    fn text(&self) -> String {
        let percent = |share: f64| format!("{:.1}%", 100.0 * share);
        let mut head: Vec<String> =
            ["distance", "epsilon", "one step", "many steps"].map(String::from).to_vec();
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
        let rows: Vec<Vec<String>> =
            [head].into_iter().chain(self.attacks.iter().map(row)).collect();
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
