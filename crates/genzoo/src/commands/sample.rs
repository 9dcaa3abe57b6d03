//! `genzoo sample`: new images from a trained model.

use crate::finished::Finished;
use crate::output::print;
use crate::picture::{Picture, square};
use grad::Tensor;
use nn::Params;
use nn::model::{CompletionRequest, ImageSpec, Model, SampleRequest};
use std::path::PathBuf;
use std::process::ExitCode;
use train::Pool;

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
    /// 1 for the model's own distribution, less for more likely images; for models that draw one
    /// pixel after another.
    #[arg(long, value_name = "T", default_value_t = 1.0, value_parser = super::temperature)]
    temperature: f32,
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
    let run = Finished::open(&args.run)?;
    if run.model().sampler().is_none() {
        return Err(run.cannot("does not make new images"));
    }
    if args.temperature != 1.0 && run.model().completer().is_none() {
        return Err(run.cannot("has no temperature"));
    }
    run.check_class(args.class)?;
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let images = pool.run(|| draw(&args, run.model(), &run.trained.params, &run.config.image));
    let images = images.expect("looked at above");
    let count = args.count as usize;
    Picture::grid(&images, square(count)).save(&args.out)?;
    print(format!(
        "{count} images of {} in {}",
        run.entry.name,
        args.out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn draw(
    args: &Args,
    model: &dyn Model,
    params: &Params<f32>,
    image: &ImageSpec,
) -> Option<Tensor<f32>> {
    let (count, seed, class) = (args.count as usize, args.seed, args.class);
    let bound = params.constants();
    if args.temperature == 1.0 {
        let request = SampleRequest { count, seed, class };
        return Some(model.sampler()?.sample(&bound, &request));
    }
    // Nothing is known: new images.
    let request = CompletionRequest {
        images: Tensor::zeros([count, image.height, image.width, image.channels]),
        known: vec![false; image.dims()],
        seed,
        class,
        temperature: args.temperature,
    };
    Some(model.completer()?.complete(&bound, &request))
}
