//! `genzoo sample`: new images from a trained model.

use crate::failure;
use crate::finished::Finished;
use crate::output::print_about;
use crate::picture::{Picture, square};
use crate::suggest::did_you_mean;
use dataset::Split;
use nn::model::{SampleRequest, Takes};
use std::path::PathBuf;
use std::process::ExitCode;
use train::{Images, Pool};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run.
    run: PathBuf,
    /// How many images.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    count: u32,
    /// The class, for a conditional model [default: the classes in turn].
    #[arg(long, value_name = "C")]
    class: Option<u32>,
    /// 1 for the model's own distribution, less for more likely images; where the model has one.
    #[arg(long, value_name = "T", default_value_t = 1.0, value_parser = super::temperature)]
    temperature: f32,
    /// Steps of the chain, for models that run one [default: the model's own].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    steps: Option<u32>,
    /// Show the chains of a model that runs some: a row of so many images for each of --count, with
    /// --steps steps between two of them [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    frames: Option<u32>,
    /// Draw numbers of the code anew that are beyond this, for models that draw one.
    #[arg(long, value_name = "X", value_parser = super::above_zero)]
    truncation: Option<f32>,
    /// One of the model's samplers, where it has several [default: the first].
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// Equal seeds give equal images.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    seed: u64,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "samples.png")]
    out: PathBuf,
    /// Threads; they do not change the images [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    let Some(sampler) = run.model().sampler() else {
        return Err(run.cannot("does not make new images"));
    };
    run.check_class(args.class)?;
    let request = request(&args, &run, sampler.takes())?;
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    if let Some(frames) = args.frames {
        return show_chains(&args, &run, &request, frames as usize, &pool);
    }
    let is_fitted = |name: &String| sampler.takes().fitted.contains(&&name[..]);
    let data = match args.sampler.as_ref().filter(|name| is_fitted(name)) {
        None => None,
        Some(_) => Some(run.data(None)?),
    };
    let images = pool.run(|| {
        let sampler = run.model().sampler().expect("looked at above");
        let bound = run.trained.params.constants();
        match &data {
            None => sampler.sample(&bound, &request),
            Some(data) => {
                let train = Images::evaluation(data, Split::Train, run.config.binarize);
                sampler.sample_fitted(&bound, &request, &train)
            }
        }
    });
    run.check_finite(&images)?;
    let count = request.count;
    Picture::grid(&images, square(count)).save(&args.out)?;
    print_about(
        &args.out,
        format!(
            "{count} images of {} in {}",
            run.entry.name,
            args.out.display()
        ),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The most images of chains that are drawn.
const MOST: usize = 1 << 16;

/// A row for each chain.
fn show_chains(
    args: &Args,
    run: &Finished,
    request: &SampleRequest,
    frames: usize,
    pool: &Pool,
) -> anyhow::Result<ExitCode> {
    if run.model().chain().is_none() {
        return Err(run.cannot("runs no chain that could be shown"));
    }
    let count = request.count;
    if count * frames > MOST {
        let message = format!("{count} chains of {frames} frames: expected at most {MOST} images");
        return Err(failure::usage(message, "--count and --frames say how many"));
    }
    let images = pool.run(|| {
        let chain = run.model().chain().expect("looked at above");
        chain.frames(&run.trained.params.constants(), request, frames)
    });
    Picture::grid(&images, frames).save(&args.out)?;
    let place = args.out.display();
    let text = format!(
        "{count} chains of {} in {place}, {frames} images a row",
        run.entry.name
    );
    print_about(&args.out, text)?;
    Ok(ExitCode::SUCCESS)
}

/// What to draw, if the model takes each option that was given.
fn request(args: &Args, run: &Finished, takes: Takes) -> anyhow::Result<SampleRequest> {
    let mut request = SampleRequest::new(args.count as usize, args.seed)
        .classes(args.class)
        .temperature(args.temperature);
    request.steps = args.steps.map(|n| n as usize);
    request.truncation = args.truncation;
    request.sampler.clone_from(&args.sampler);
    if args.temperature != 1.0 && !takes.temperature {
        return Err(run.cannot("has no temperature"));
    }
    if args.steps.is_some() && takes.steps.is_none() {
        return Err(run.cannot("runs no chain, so it has no number of steps"));
    }
    if args.truncation.is_some() && !takes.truncation {
        return Err(run.cannot("has no truncation"));
    }
    if let Some(name) = &args.sampler
        && !takes.samplers.contains(&&name[..])
        && !takes.fitted.contains(&&name[..])
    {
        let names = [takes.samplers, takes.fitted].concat();
        let known = match names[..] {
            [] => "one sampler only, without a name".into(),
            _ => names.join(", "),
        };
        let message = format!("--sampler {name:?}: {} has {known}", run.entry.name);
        let near = did_you_mean(name, names);
        return Err(failure::usage(message, near.unwrap_or_default()));
    }
    Ok(request)
}
