//! `genzoo import`: a run of parameters that were trained elsewhere.

use crate::output::print;
use crate::{data_source, failure, registry};
use dataset::{Binarize, Source};
use std::path::PathBuf;
use std::process::ExitCode;
use toml::{Table, Value};
use train::{Config, RunDir, Session};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which model; `genzoo models` lists them.
    model: String,
    /// A safetensors file with a tensor for each parameter, under its name and of its shape.
    file: PathBuf,
    /// The data it was trained on: `glyphs` (built in), a directory of data files, or the name of an
    /// imported data set.
    #[arg(long, value_name = "NAME|DIR", default_value = Source::GLYPHS)]
    data: String,
    /// How grey levels become pixels: as they are, drawn once, or drawn anew in every epoch
    /// [default: dynamic for models of binary pixels].
    #[arg(long, value_name = "none|static|dynamic")]
    binarize: Option<Binarize>,
    /// A hyper-parameter; may be given again. `genzoo models MODEL` lists them.
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::key_value)]
    set: Vec<(String, String)>,
    /// The directory of the run.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let entry = registry::find(&args.model)?;
    let mut hypers = entry.defaults();
    for (key, value) in &args.set {
        hypers.set(key, value).map_err(failure::hyper_usage)?;
    }
    let (name, data) = data_source::open(&args.data)?;
    let set = (args.set.iter()).map(|(key, value)| (key.clone(), Value::String(value.clone())));
    let path = args.file.canonicalize().unwrap_or(args.file.clone());
    let from = [(
        "run".to_string(),
        Value::String(path.to_string_lossy().into()),
    )];
    let mut layer = Table::from_iter([
        ("hypers".to_string(), Value::Table(set.collect())),
        ("from".to_string(), Value::Table(Table::from_iter(from))),
    ]);
    let binarize = args.binarize.map(|mode| Value::String(mode.to_string()));
    layer.extend(binarize.map(|mode| ("binarize".into(), mode)));
    let config = Config::resolve(entry, &name, &data, vec![(layer, "the command line")])?;
    // Nothing is written before everything fits.
    let (_, mut params) = entry.build_for(&hypers, config.image, config.seed)?;
    let taken = train::take(&mut params, train::read_file(&args.file)?, "");
    if !taken.is_whole() {
        let place = args.file.display();
        return Err(failure::failed(
            format!(
                "{place}: expected the parameters of {}, found {taken}",
                entry.name
            ),
            "`--set` says how large the model is",
        ));
    }
    let session = Session::begin(RunDir::create(&args.out)?, entry, config, &data)?;
    print(format!(
        "{}: {taken}; `genzoo eval {0}` judges it",
        session.dir().path().display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
