//! `genzoo sample`: new images from a trained model.

use crate::output::print;
use crate::picture::{Picture, square};
use crate::{failure, registry};
use nn::model::SampleRequest;
use std::path::PathBuf;
use std::process::ExitCode;
use train::{Pool, RunDir, Trained};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run.
    run: PathBuf,
    /// How many images.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    count: u32,
    /// Equal seeds give equal images.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "samples.png")]
    out: PathBuf,
    /// Threads; they do not change the images [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = RunDir::open(&args.run)?;
    let config = train::read_config(&dir)?;
    let entry = registry::find(&config.model)?;
    let trained = Trained::read(&dir, entry, &config)?;
    if trained.model.sampler().is_none() {
        let message = format!("{} does not make new images", entry.name);
        return Err(failure::failed(
            message,
            format!("it can do this: {}", entry.abilities),
        ));
    }
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let count = args.count as usize;
    let request = SampleRequest {
        count,
        seed: args.seed,
        class: None,
    };
    let images = pool.run(|| {
        let sampler = trained.model.sampler()?;
        Some(sampler.sample(&trained.params.constants(), &request))
    });
    let images = images.expect("looked at above");
    Picture::grid(&images, square(count)).save(&args.out)?;
    print(format!(
        "{count} images of {} in {}",
        entry.name,
        args.out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
