//! `genzoo complete`: what is missing in images, drawn by a trained model.

use crate::failure;
use crate::finished::{Finished, From};
use crate::output::print_about;
use crate::picture::Picture;
use crate::pixels::Pixels;
use grad::Tensor;
use nn::model::CompletionRequest;
use std::path::PathBuf;
use std::process::ExitCode;
use train::Pool;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run.
    run: PathBuf,
    /// PNG files of the size that the model has learned; pixels become the nearest level.
    #[arg(value_name = "IMAGE.png", conflicts_with = "from")]
    images: Vec<PathBuf>,
    /// Images of the run's data instead [default: test:0..8].
    #[arg(long, value_name = "SPLIT:A..B")]
    from: Option<From>,
    /// Other data than the run's own, of the same shape.
    #[arg(long, value_name = "NAME|DIR", conflicts_with = "images")]
    data: Option<String>,
    /// The upper rows that are given [default: half of them].
    #[arg(long, value_name = "N", conflicts_with = "mask")]
    rows: Option<usize>,
    /// A picture of the size of an image: what is light in it is given.
    #[arg(long, value_name = "MASK.png")]
    mask: Option<PathBuf>,
    /// Completions of each image.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=4096))]
    count: u32,
    /// The class, for a conditional model [default: the classes in turn].
    #[arg(long, value_name = "C")]
    class: Option<u32>,
    /// 1 for the model's own distribution, less for more likely images.
    #[arg(long, value_name = "T", default_value_t = 1.0, value_parser = super::temperature)]
    temperature: f32,
    /// Equal seeds give equal images.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    seed: u64,
    /// The PNG file to write: a row for each image, with the image, what is given, completions.
    #[arg(long, value_name = "FILE", default_value = "completions.png")]
    out: PathBuf,
    /// Threads; they do not change the images [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
}

/// The most images that are drawn at once.
const MOST: usize = 1 << 16;
/// What is not given, in the picture.
const UNKNOWN: f32 = 0.4;

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    if run.model().completer().is_none() {
        return Err(run.cannot("does not complete images"));
    }
    run.check_class(args.class)?;
    let known = known(&args, &run)?;
    let originals = originals(&args, &run)?;
    let each = args.count as usize;
    let count = originals.shape()[0];
    if count * each > MOST {
        let message = format!("{count} images times {each}: expected at most {MOST} completions");
        return Err(failure::usage(message, "--count and --from say how many"));
    }
    let dims = known.len();
    let shape = originals.shape().with(0, count * each);
    let images = Tensor::from_fn(shape, |i| {
        originals.data()[i / (each * dims) * dims + i % dims]
    });
    let request = CompletionRequest::new(images, known.clone(), args.seed)
        .classes(args.class)
        .temperature(args.temperature);
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let drawn = pool.run(|| {
        let completer = run.model().completer()?;
        Some(completer.complete(&run.trained.params.constants(), &request))
    });
    let drawn = drawn.expect("looked at above");
    run.check_finite(&drawn)?;

    let per_row = each + 2;
    let mut cells = Vec::with_capacity(count * per_row * dims);
    for (image, drawn) in originals
        .data()
        .chunks(dims)
        .zip(drawn.data().chunks(each * dims))
    {
        cells.extend(image);
        let given = image.iter().zip(&known);
        cells.extend(given.map(|(&x, &known)| if known { x } else { UNKNOWN }));
        cells.extend(drawn);
    }
    let cells = Tensor::new(shape.with(0, count * per_row), &cells);
    Picture::grid(&cells, per_row).save(&args.out)?;
    let share = known.iter().filter(|&&known| known).count() as f64 / dims as f64;
    print_about(
        &args.out,
        format!(
            "{each} completions of each of {count} images in {}: the image, the {:.0}% that are given, completions",
            args.out.display(),
            100.0 * share
        ),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Which dimensions are given.
fn known(args: &Args, run: &Finished) -> anyhow::Result<Vec<bool>> {
    let spec = run.config.image;
    let row = spec.width * spec.channels;
    if let Some(path) = &args.mask {
        let grey = spec.with_channels(1);
        let mask = Pixels::open(path, &grey)?;
        let flags = mask.data.iter().map(|&x| x >= 128);
        return Ok(flags.flat_map(|flag| vec![flag; spec.channels]).collect());
    }
    let rows = args.rows.unwrap_or(spec.height / 2);
    if rows > spec.height {
        let message = format!("--rows {rows}: the images have {} rows", spec.height);
        return Err(failure::usage(message, ""));
    }
    Ok((0..spec.dims()).map(|d| d < rows * row).collect())
}

/// The images to complete, [N, H, W, C].
fn originals(args: &Args, run: &Finished) -> anyhow::Result<Tensor<f32>> {
    let spec = run.config.image;
    if args.images.is_empty() {
        let data = run.data(args.data.as_ref())?;
        let test = dataset::Split::Test;
        let most = data.split(test).len().min(8) as u32;
        let from = args.from.clone().unwrap_or(From {
            split: test,
            range: Some(0..most),
        });
        let (images, indices) = run.images(&data, &from)?;
        return Ok(images.batch(&indices).images);
    }
    let mut pixels = Vec::new();
    for path in &args.images {
        pixels.extend(Pixels::open(path, &spec)?.quantised(spec.levels));
    }
    let shape = [args.images.len(), spec.height, spec.width, spec.channels];
    Ok(Tensor::new(shape, &pixels))
}
