//! `genzoo bench`: whole training steps on synthetic images.

use crate::output::{counted, print, print_json, thousands};
use crate::{failure, registry};
use nn::model::{Accepts, ImageSpec};
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use train::{Engine, Pace, Pool, Synthetic, Tally};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which model; `genzoo models` lists them.
    model: String,
    /// Images a step [default: the recipe's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    batch_size: Option<u64>,
    /// Threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
    /// How long to measure, after a warm-up.
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// A hyper-parameter; may be given again. `genzoo models MODEL` lists them.
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::key_value)]
    set: Vec<(String, String)>,
    /// Height, width and colours of the images.
    #[arg(long, value_name = "HxW[xC]", default_value = "28x28", value_parser = super::image)]
    image: [usize; 3],
    /// Values a pixel can take [default: 2, or 256 for models of grey levels and for RGB].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=256))]
    levels: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|x: &f64| *x > 0.0 && *x <= 86400.0);
    number.ok_or_else(|| "expected seconds above 0, at most 86400".into())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    image: [usize; 3],
    levels: usize,
    batch_size: usize,
    threads: usize,
    images_per_second: f64,
    ms_per_step: f64,
    peak_rss_mb: Option<f64>,
    peak_gflops: f64,
}

/// Classes of the synthetic images, which come in turn.
const CLASSES: usize = 10;
/// Steps before measuring: memory is allocated, clocks settle.
const WARM_UP: usize = 3;
/// The fewest steps to take a median of.
const FEWEST: usize = 5;

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let entry = registry::find(&args.model)?;
    let mut hypers = entry.defaults();
    for (key, value) in &args.set {
        hypers.set(key, value).map_err(failure::hyper_usage)?;
    }
    let [height, width, channels] = args.image;
    let accepts = (entry.accepts)(&hypers);
    let levels = match args.levels {
        Some(levels) => levels as usize,
        None if accepts == Accepts::Levels || accepts == Accepts::Any && channels > 1 => 256,
        None => 2,
    };
    if !accepts.levels(levels) {
        let message = format!(
            "--levels {levels}: the pixels of {} are {}",
            entry.name,
            accepts.name()
        );
        return Err(failure::usage(message, ""));
    }
    let spec = ImageSpec::new(height, width, channels, levels).with_classes(CLASSES);
    let mut recipe = entry.recipe_for(&hypers, spec);
    recipe.batch_size = args.batch_size.map_or(recipe.batch_size, |n| n as usize);
    let size = recipe.batch_size;
    let input = Synthetic::new(spec, size);
    let (model, params) = entry
        .build_for(&hypers, spec, 0)
        .map_err(failure::hyper_usage)?;
    let mut engine = Engine::new(model, params, recipe);
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let threads = pool.threads();

    let budget = Duration::from_secs_f64(args.seconds);
    let measured = pool.run(|| -> Result<_, train::Error> {
        let part = |range| input.batch(range);
        let mut tally = Tally::default();
        let mut step = || {
            let begun = Instant::now();
            engine.step(size, &part, Pace::STEADY, &mut tally)?;
            Ok::<_, train::Error>(begun.elapsed())
        };
        for _ in 0..WARM_UP {
            step()?;
        }
        let begun = Instant::now();
        let mut times = Vec::new();
        while times.len() < FEWEST || begun.elapsed() < budget {
            times.push(step()?);
        }
        let (counted, operations) = kernels::flops::count(step);
        counted?;
        Ok((times, operations))
    });
    let (mut times, operations) = measured?;
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64();
    let rss = peak_rss_mb();
    let peak = kernels::peak::fma_gflops(threads);
    let rate = size as f64 / median;
    if args.json {
        print_json(&Report {
            model: entry.name,
            image: args.image,
            levels,
            batch_size: size,
            threads,
            images_per_second: rate,
            ms_per_step: 1e3 * median,
            peak_rss_mb: rss,
            peak_gflops: peak,
        })?;
    } else {
        let gflops = operations as f64 / median / 1e9;
        print(format!(
            "{}: {size} images of {height}x{width}x{channels} a step, {}, {}, median of {} steps\n\
             {} images/s, {:.3} ms a step\n\
             {gflops:.1} GFLOP/s in products and convolutions, {:.0}% of the {peak:.0} that {} can do\n\
             peak memory {}",
            entry.name,
            counted(threads, "thread"),
            kernels::Isa::current(),
            times.len(),
            thousands(rate as u64),
            1e3 * median,
            100.0 * gflops / peak,
            counted(threads, "thread"),
            rss.map_or("unknown on this system".into(), |mb| format!("{mb:.0} MB")),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The most memory this process has held so far, in megabytes, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
