//! `genzoo judge`: samples of a run, or a folder of pictures, beside real images.

mod report;

use crate::finished::Finished;
use crate::judging::{self, Called};
use crate::output::{print, print_json};
use crate::picture::Picture;
use crate::pixels::Pixels;
use crate::{data_source, failure, interrupt};
use anyhow::Context;
use dataset::{Binarize, Dataset, Split};
use grad::Tensor;
use judge::{Drawn, HALVES, Matrix, Seen, Verdict};
use nn::model::ImageSource;
use report::{Measures, Nearest, Report};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use train::{Images, Pool};

/// Samples whose nearest training images are looked for, and training images at once.
const COMPARED: usize = 1000;
const AT_ONCE: usize = 2000;
/// Samples in a row of the picture of neighbours, and how many rows.
const PER_ROW: usize = 16;
const ROWS: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run, or a folder of PNG files.
    path: PathBuf,
    /// Real images: of the run's own data unless told otherwise; for a folder they must be named.
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<String>,
    /// `train`, `valid` or `test`: whose images stand for the data.
    #[arg(long, default_value = "test")]
    split: Split,
    /// How many samples, and as many real images [default: 5000, or half of the split].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    count: Option<u32>,
    /// The last parameters of the run, not the best.
    #[arg(long)]
    last: bool,
    /// Equal seeds give equal samples.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Draw samples with the nearest training image below each into this PNG file.
    #[arg(long, value_name = "FILE")]
    neighbours: Option<PathBuf>,
    /// Threads; they do not change results [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is judged.
enum Subject {
    Run(Box<Finished>),
    Folder(Vec<PathBuf>),
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let subject = Subject::open(&args)?;
    let (name, data) = subject.data(&args)?;
    let binarize = subject.binarize();
    let split = Images::evaluation(&data, args.split, binarize);
    let count = subject.count(&args, &split)?;
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let called = judging::witness(&data, &name, binarize, &pool, interrupt::flag()?)?;
    let report = pool.run(|| {
        let drawn = subject.draw(&split, count, args.seed)?;
        judged(
            &args,
            &subject.name(),
            &called,
            &data,
            (&split, binarize),
            drawn,
        )
    })?;
    if args.json {
        print_json(&report)?;
    } else {
        print(report.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Subject {
    fn open(args: &Args) -> anyhow::Result<Subject> {
        if args.path.is_dir() && !args.path.join("config.toml").exists() {
            return Ok(Subject::Folder(pictures(&args.path)?));
        }
        let run = Finished::open(&args.path)?;
        let run = if args.last {
            run.last(&args.path)?
        } else {
            run
        };
        if run.model().sampler().is_none() {
            return Err(run.cannot("does not make new images"));
        }
        Ok(Subject::Run(Box::new(run)))
    }

    fn data(&self, args: &Args) -> anyhow::Result<(String, Dataset)> {
        match self {
            Subject::Run(run) => {
                let name = args.data.clone().unwrap_or(run.config.data.clone());
                Ok((name, run.data(args.data.as_ref())?))
            }
            Subject::Folder(_) => {
                let Some(name) = &args.data else {
                    let message = format!("{}: a folder, not a run", args.path.display());
                    return Err(failure::usage(message, "--data names the real images"));
                };
                data_source::open(name)
            }
        }
    }

    fn binarize(&self) -> Binarize {
        match self {
            Subject::Run(run) => run.config.binarize,
            Subject::Folder(_) => Binarize::None,
        }
    }

    fn name(&self) -> String {
        match self {
            Subject::Run(run) => {
                format!("samples of {} at step {}", run.entry.name, run.trained.step)
            }
            Subject::Folder(_) => "pictures".into(),
        }
    }

    /// How many images of either kind: samples, real ones, and real ones for the floor.
    fn count(&self, args: &Args, split: &Images) -> anyhow::Result<usize> {
        let half = split.len() / 2;
        let wanted = args.count.map_or(half.min(5000), |n| n as usize);
        let wanted = match self {
            Subject::Run(_) => wanted,
            Subject::Folder(files) => wanted.min(files.len()),
        };
        let found = wanted.min(half);
        if found < judge::LEAST {
            let message = format!(
                "expected at least {} images to judge and twice as many real ones, found {} and {}",
                judge::LEAST,
                wanted,
                split.len()
            );
            return Err(failure::failed(
                message,
                "--split and --count choose others",
            ));
        }
        if found < wanted && args.count.is_some() {
            eprintln!(
                "--count {wanted}: half of the split has {half} images, so {found} are judged"
            );
        }
        Ok(found)
    }

    fn draw(&self, split: &Images, count: usize, seed: u64) -> anyhow::Result<Drawn> {
        match self {
            Subject::Run(run) => {
                let p = run.trained.params.constants();
                Ok(judge::draw(run.model(), &p, &run.config.image, count, seed))
            }
            Subject::Folder(files) => {
                let spec = split.spec();
                let mut pixels = Vec::with_capacity(count * spec.dims());
                for file in &files[..count] {
                    pixels.extend(Pixels::open(file, &spec)?.quantised(256));
                }
                Ok(Drawn {
                    images: Tensor::new(spec.shape(count), &pixels),
                    classes: None,
                })
            }
        }
    }
}

/// The PNG files of a folder, by name.
fn pictures(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).with_context(|| format!("{}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|it| it.eq_ignore_ascii_case("png"))
        {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let message = format!(
            "{}: neither a run nor a folder of PNG files",
            path.display()
        );
        return Err(failure::failed(message, "a run has a config.toml"));
    }
    Ok(files)
}

/// Everything that is said of the images.
fn judged(
    args: &Args,
    subject: &str,
    called: &Called,
    data: &Dataset,
    (split, binarize): (&Images, Binarize),
    drawn: Drawn,
) -> anyhow::Result<Report> {
    let count = drawn.images.shape()[0];
    let reference = judge::real(split, 0, count, HALVES);
    let other = judge::real(split, count, count, HALVES);
    let look = |images: &Tensor<f32>| called.witness.look(images);
    let (samples, real) = (look(&drawn.images), look(&reference.images));
    let floor = look(&other.images);
    let right = |seen: &Seen, drawn: &Drawn| {
        let classes = drawn.classes.as_ref()?;
        Some(judge::asked(&seen.classes, classes))
    };
    let verdict = Verdict::of(&samples, &real, called.classes);
    let of_floor = Verdict::of(&floor, &real, called.classes);
    let compared = count.min(COMPARED);
    let training = Images::evaluation(data, Split::Train, binarize);
    let nearest = |images: &Tensor<f32>| nearest_training(images, compared, &training);
    let (near, near_real) = (nearest(&drawn.images), nearest(&other.images));
    if let Some(path) = &args.neighbours {
        draw_neighbours(&drawn.images, &near, &training).save(path)?;
    }
    let dims = split.spec().dims() as f64;
    let mean = |list: &[(u32, f64)]| {
        let sum: f64 = list
            .iter()
            .map(|(_, distance)| distance / dims.sqrt())
            .sum();
        sum / list.len().max(1) as f64
    };
    Ok(Report {
        subject: subject.into(),
        judge: called.name.clone(),
        judge_accuracy: right(&floor, &other),
        data: data.name().into(),
        split: args.split.name(),
        images: count,
        asked_class: right(&samples, &drawn),
        class_shares: verdict.shares.clone(),
        class_shares_of_real: judge::shares(&real.classes, called.classes),
        samples: Measures::of(&verdict),
        real: Measures::of(&of_floor),
        nearest_training_image: Nearest {
            of_samples: mean(&near),
            of_real: mean(&near_real),
        },
    })
}

/// For each of the first images the nearest training image and how far it is, by pixels.
fn nearest_training(images: &Tensor<f32>, count: usize, training: &Images) -> Vec<(u32, f64)> {
    let rows: Vec<usize> = (0..count).collect();
    let images = Matrix::of(images).pick(&rows);
    let mut best = vec![(0, f64::INFINITY); count];
    for first in (0..training.len()).step_by(AT_ONCE) {
        let last = (first + AT_ONCE).min(training.len());
        let indices: Vec<u32> = (first as u32..last as u32).collect();
        let others = Matrix::of(&training.batch(&indices).images);
        for (best, (at, distance)) in best.iter_mut().zip(judge::nearest(&images, &others)) {
            if distance < best.1 {
                *best = (indices[at], distance);
            }
        }
    }
    best
}

/// Rows of samples with the rows of their nearest training images below.
fn draw_neighbours(images: &Tensor<f32>, near: &[(u32, f64)], training: &Images) -> Picture {
    let dims = images.len() / images.shape()[0];
    let mut pixels = Vec::new();
    let shown = near.len().min(PER_ROW * ROWS) / PER_ROW * PER_ROW;
    for row in (0..shown).step_by(PER_ROW) {
        pixels.extend(&images.data()[row * dims..(row + PER_ROW) * dims]);
        let indices: Vec<u32> = near[row..row + PER_ROW].iter().map(|(at, _)| *at).collect();
        pixels.extend(training.batch(&indices).images.data());
    }
    let mut shape = images.shape().to_vec();
    shape[0] = 2 * shown;
    Picture::grid(&Tensor::new(&shape[..], &pixels), PER_ROW)
}
