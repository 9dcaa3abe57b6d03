//! `genzoo train`: a new run, or more of an old one.

use crate::output::{counted, note, print, read_file, thousands};
use crate::progress::{Display, duration, figure};
use crate::{data_source, failure, gallery, interrupt, judging, registry};
use anyhow::Context;
use clap::builder::RangedU64ValueParser;
use dataset::{Binarize, Dataset, Source, Split};
use nn::model::Entry;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use toml::{Table, Value};
use train::{Config, Outcome, Pool, RunDir, Session};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which model; `genzoo models` lists them. A resumed run knows its own.
    #[arg(required_unless_present_any = ["resume", "config"])]
    model: Option<String>,
    /// `glyphs` (built in), a directory of data files, or the name of an imported data set
    /// [default: glyphs].
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<String>,
    /// How grey levels become pixels: as they are, drawn once, or drawn anew in every epoch
    /// [default: dynamic for models of binary pixels].
    #[arg(long, value_name = "none|static|dynamic")]
    binarize: Option<Binarize>,
    /// Stop after so many passes over the training split.
    #[arg(long, value_name = "N", group = "limit", value_parser = at_least_one())]
    epochs: Option<u64>,
    /// Stop after so many steps.
    #[arg(long, value_name = "N", group = "limit", value_parser = at_least_one())]
    steps: Option<u64>,
    /// Stop after so long: 90s, 30m, 1h30m.
    #[arg(long, value_name = "TIME", group = "limit", value_parser = time)]
    time: Option<String>,
    /// Images a step.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    batch_size: Option<u64>,
    /// Learning rate, for every optimiser of the model.
    #[arg(long, value_name = "X", value_parser = positive)]
    lr: Option<f64>,
    /// Where all randomness begins [default: 0].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// Threads; they do not change results [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
    /// A hyper-parameter; may be given again. `genzoo models MODEL` lists them.
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::key_value)]
    set: Vec<(String, String)>,
    /// Settings that come with the model; `genzoo models MODEL` lists them. --config and flags
    /// beat them.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Settings from a file with the keys of a run's config.toml; flags beat it.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Begin with the parameters of another run, or of a safetensors file, that fit by name and
    /// shape.
    #[arg(long, value_name = "RUN|FILE")]
    from: Option<PathBuf>,
    /// Of those only the ones whose names begin so, as `encoder`.
    #[arg(long, value_name = "NAME", requires = "from")]
    prefix: Option<String>,
    /// Do not judge samples of models that have no score of their own; their last parameters are
    /// kept then.
    #[arg(long)]
    no_judge: bool,
    /// Where the run is put [default: runs/MODEL-DATA-SEED].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this directory. Only its end, the learning rate and the threads may be
    /// set anew.
    #[arg(long, value_name = "DIR", conflicts_with_all =
        ["binarize", "batch_size", "seed", "set", "preset", "config", "out", "from"])]
    resume: Option<PathBuf>,
}

fn at_least_one() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=1 << 40)
}

fn time(text: &str) -> Result<String, String> {
    train::parse_time(text).map(|_| text.into())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|x: &f64| x.is_finite() && *x > 0.0);
    number.ok_or_else(|| "expected a number above 0".into())
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    match &args.resume {
        Some(dir) => {
            let dir = RunDir::open(dir)?;
            let config = train::read_config(&dir)?;
            let entry = registry::find(&config.model)?;
            if let Some(model) = args.model.as_ref().filter(|model| **model != config.model) {
                let message = format!(
                    "{}: a run of {}, not of {model}",
                    dir.path().display(),
                    config.model
                );
                return Err(failure::usage(
                    message,
                    "leave the model out, or begin a new run",
                ));
            }
            let (_, data) = data_source::open(args.data.as_ref().unwrap_or(&config.data))?;
            let mut layer = args.limit();
            layer.extend(args.lr.map(|lr| ("lr".into(), Value::Float(lr))));
            let config = config.with(layer, "the command line")?;
            let stop = interrupt::flag()?;
            let session = Session::resume(dir, entry, config, &data)?;
            go(session, entry, &data, &pool, !args.no_judge, stop)
        }
        None => {
            let (entry, config, data) = resolve(&args)?;
            // Before the first file: a stop from here on leaves a run that can be resumed, or none.
            let stop = interrupt::flag()?;
            let dir = match &args.out {
                Some(path) => RunDir::create(path)?,
                None => {
                    let name = format!("{}-{}-{}", entry.name, file_name(data.name()), config.seed);
                    RunDir::create_unused(Path::new("runs"), &name)?
                }
            };
            let session = Session::begin(dir, entry, config, &data)?;
            go(session, entry, &data, &pool, !args.no_judge, stop)
        }
    }
}

impl Args {
    /// The flag that says when the run is over, as a layer of the configuration.
    fn limit(&self) -> Table {
        let mut table = Table::new();
        let count = |n: u64| Value::Integer(n as i64);
        table.extend(self.epochs.map(|n| ("epochs".into(), count(n))));
        table.extend(self.steps.map(|n| ("steps".into(), count(n))));
        table.extend(
            self.time
                .clone()
                .map(|time| ("time".into(), Value::String(time))),
        );
        table
    }

    /// All flags as a layer of the configuration.
    fn layer(&self) -> Table {
        let mut table = self.limit();
        table.extend(
            self.data
                .clone()
                .map(|data| ("data".into(), Value::String(data))),
        );
        let binarize = self.binarize.map(|mode| Value::String(mode.to_string()));
        table.extend(binarize.map(|mode| ("binarize".into(), mode)));
        let batch_size = self.batch_size.map(|n| Value::Integer(n as i64));
        table.extend(batch_size.map(|n| ("batch_size".into(), n)));
        table.extend(self.seed.map(|seed| ("seed".into(), Value::Integer(seed))));
        table.extend(self.lr.map(|lr| ("lr".into(), Value::Float(lr))));
        let set = self
            .set
            .iter()
            .map(|(key, value)| (key.clone(), Value::String(value.clone())));
        table.insert("hypers".into(), Value::Table(set.collect()));
        if let Some(path) = &self.from {
            let path = path.canonicalize().unwrap_or(path.clone());
            let mut from = Table::new();
            from.insert("run".into(), Value::String(path.to_string_lossy().into()));
            let prefix = self.prefix.clone().map(Value::String);
            from.extend(prefix.map(|prefix| ("prefix".into(), prefix)));
            table.insert("from".into(), Value::Table(from));
        }
        table
    }
}

/// Which model on which data with which settings: flags before file before recipe.
fn resolve(args: &Args) -> anyhow::Result<(&'static Entry, Config, Dataset)> {
    let origin = args.config.as_ref().map(|path| path.display().to_string());
    let file = match &args.config {
        None => Table::new(),
        Some(path) => {
            let place = || format!("{}: expected text", path.display());
            let text = String::from_utf8(read_file(path)?).with_context(place)?;
            train::parse(&text, &path.display().to_string())?
        }
    };
    let named = |key: &str| file.get(key).and_then(Value::as_str).map(String::from);
    let Some(model) = args.model.clone().or_else(|| named("model")) else {
        let message = "expected a model, on the command line or in the file of --config";
        return Err(failure::usage(message, "`genzoo models` lists them"));
    };
    let entry = registry::find(&model)?;
    let mut hypers = entry.defaults();
    for (key, value) in &args.set {
        hypers.set(key, value).map_err(failure::hyper_usage)?;
    }
    let data = args.data.clone().or_else(|| named("data"));
    let (name, data) = data_source::open(data.as_deref().unwrap_or(Source::GLYPHS))?;
    let preset = match &args.preset {
        None => Table::new(),
        Some(name) => train::parse(registry::preset(entry, name)?.settings, name)?,
    };
    let layers = vec![
        (preset, args.preset.as_deref().unwrap_or_default()),
        (file, origin.as_deref().unwrap_or_default()),
        (args.layer(), "the command line"),
    ];
    let config = Config::resolve(entry, &name, &data, layers)?;
    Ok((entry, config, data))
}

/// Only characters that are safe in a file's name.
fn file_name(name: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().take(64).map(safe).collect()
}

/// Trains, and tells where everything is.
fn go(
    mut session: Session,
    entry: &Entry,
    data: &Dataset,
    pool: &Pool,
    judge: bool,
    stop: &AtomicBool,
) -> anyhow::Result<ExitCode> {
    let place = session.dir().path().display().to_string();
    let begun = Instant::now();
    note(headline(&session, entry, data, pool));
    if let Some(taken) = session.taken() {
        note(taken);
    }
    for warning in session.warnings() {
        note(warning);
    }
    if judge {
        session = judging::judged(session, entry, data, pool, stop)?;
    }
    let mut display = Display::new(session.done());
    if session.done() >= 1.0 {
        note("this run is at its end; --epochs, --steps or --time make it longer");
    }
    let outcome = session.run(pool, &mut display, stop);
    display.finish();
    match outcome? {
        Outcome::Stopped => {
            note(format!(
                "stopped at step {}; everything is in {place}",
                session.engine().steps()
            ));
            note(format!(
                "resume with: {} train --resume {}",
                program(),
                quoted(&place)
            ));
            Ok(ExitCode::from(interrupt::CODE))
        }
        Outcome::Finished => {
            let steps = session.engine().steps();
            let mut text = format!(
                "run      {place} ({steps} steps, {})",
                duration(begun.elapsed().as_secs_f64())
            );
            if let Some((info, value)) = session.best() {
                text += &format!(
                    "\nvalid    {} {}; these parameters are kept as the best",
                    info.name,
                    figure(value)
                );
                // Samples may have become worse again, and much: both are told.
                if let Some(last) = session.last().filter(|_| !info.is_likelihood()) {
                    text += &format!(" (the last: {})", figure(last));
                }
            }
            text += &pool.run(|| gallery::draw(&session, entry, data))?;
            print(text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn headline(session: &Session, entry: &Entry, data: &Dataset, pool: &Pool) -> String {
    let config = session.config();
    let mut text = format!(
        "{}: {} parameters on {} ({} images, binarize {}), {} a step, {}, {}",
        entry.name,
        thousands(session.engine().params().count() as u64),
        data.name(),
        thousands(data.split(Split::Train).len() as u64),
        config.binarize,
        config.batch_size,
        counted(pool.threads(), "thread"),
        kernels::Isa::current(),
    );
    match session.engine().spread() {
        nn::model::Spread::Lanes(size) => text += &format!(", lanes of {size}"),
        nn::model::Spread::IntraOp => text += ", no lanes",
    }
    if session.engine().steps() > 0 {
        text += &format!("; going on from step {}", session.engine().steps());
    }
    text
}

/// This program, as it was called.
fn program() -> String {
    quoted(&std::env::args().next().unwrap_or("genzoo".into()))
}

/// A word of a shell's command line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
