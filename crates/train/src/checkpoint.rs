//! Checkpoints: everything that is needed to go on, as named tensors and a few words.

use crate::config::Config;
use crate::directory::{self, RunDir};
use crate::engine::{AVERAGE, Engine, PARAMS};
use crate::error::Error;
use crate::metrics::Tally;
use grad::Tensor;
use nn::Params;
use nn::model::Figure;
use nn::save::{self, Metadata, ParamsError};
use std::collections::BTreeMap;
use std::path::Path;

/// What the metadata of our files say they are, with the version of the layout.
const CHECKPOINT: &str = "genzoo checkpoint 1";
const BEST: &str = "genzoo parameters 2";

/// What the metadata of either say, and beside it the steps of each phase's optimiser.
const WORDS: [&str; 8] = [
    "format", "config", "step", "epoch", "position", "tally", "score", "value",
];
const STEPS: &str = ".steps";

/// The place of a run in its data, and what it has not yet reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Place {
    /// Epochs done.
    pub(crate) epoch: u64,
    /// Images done of the epoch after those.
    pub(crate) position: u64,
    /// Sums since the last event.
    pub(crate) tally: Tally,
}

/// Writes the checkpoint of a run. The bytes depend on configuration and steps only.
///
/// # Errors
/// If a number is not finite or the file cannot be written; then the old checkpoint is untouched.
pub(crate) fn write(
    dir: &RunDir,
    config: &Config,
    engine: &Engine,
    place: &Place,
) -> Result<(), Error> {
    for (name, tensor) in engine.tensors() {
        check_finite(engine.steps(), &name, tensor)?;
    }
    let mut metadata = Metadata::from([
        ("format".into(), CHECKPOINT.into()),
        ("config".into(), config.to_toml()),
        ("step".into(), engine.steps().to_string()),
        ("epoch".into(), place.epoch.to_string()),
        ("position".into(), place.position.to_string()),
        ("tally".into(), place.tally.encode()),
    ]);
    for (phase, steps) in engine.step_counts() {
        metadata.insert(phase_steps(phase), steps.to_string());
    }
    let bytes = save::write_tensors(engine.tensors(), &metadata);
    directory::write_whole(&dir.checkpoint(), &bytes)
}

fn phase_steps(phase: &str) -> String {
    format!("optimisers.{phase}{STEPS}")
}

/// A checkpoint's tensors and words, checked against its checksum but not yet against a model.
pub(crate) struct Saved<'p> {
    path: &'p Path,
    tensors: BTreeMap<String, Tensor<f32>>,
    metadata: Metadata,
}

impl<'p> Saved<'p> {
    /// Takes apart the bytes of the file at `path`, which should say that it is a `format`.
    pub(crate) fn parse(path: &'p Path, bytes: &[u8], format: &str) -> Result<Saved<'p>, Error> {
        let parsed = save::read_tensors(bytes);
        let (tensors, metadata) = parsed.map_err(|source| Error::Tensors {
            path: path.into(),
            source,
        })?;
        let saved = Saved {
            path,
            tensors: tensors.into_iter().collect(),
            metadata,
        };
        let found = saved.word("format")?;
        if found != format {
            return Err(saved.wrong("format", format, found));
        }
        // A file without a checksum is read unchecked, and one whose word "checksum" was damaged
        // would pass for one: so there must be no word that was not written here.
        let known = |key: &str| WORDS.contains(&key) || key.ends_with(STEPS);
        if let Some(key) = saved.metadata.keys().find(|key| !known(key)) {
            return Err(saved.wrong("metadata", "no other words than those of this format", key));
        }
        Ok(saved)
    }

    fn wrong(&self, key: &'static str, expected: &str, found: &str) -> Error {
        Error::Checkpoint {
            path: self.path.into(),
            key,
            expected: expected.into(),
            found: found.chars().take(80).collect(),
        }
    }

    fn word(&self, key: &'static str) -> Result<&str, Error> {
        let word = self.metadata.get(key).map(String::as_str);
        word.ok_or_else(|| self.wrong(key, "a value", "none"))
    }

    fn number<N: std::str::FromStr>(&self, key: &'static str) -> Result<N, Error> {
        let word = self.word(key)?;
        word.parse().map_err(|_| self.wrong(key, "a number", word))
    }

    fn error(&self, source: ParamsError) -> Error {
        Error::Tensors {
            path: self.path.into(),
            source,
        }
    }

    /// Gives `engine` back its state; tells the place in the data. After an error the engine is of
    /// no use.
    pub(crate) fn restore(mut self, config: &Config, engine: &mut Engine) -> Result<Place, Error> {
        let written =
            Config::from_toml(self.word("config")?, "the configuration in the checkpoint")?;
        if !written.same_run(config) {
            return Err(self.wrong("config", "that of config.toml", "another one"));
        }
        let place = Place {
            epoch: self.number("epoch")?,
            position: self.number("position")?,
            tally: Tally::decode(self.word("tally")?)
                .ok_or_else(|| self.wrong("tally", "sums", self.metadata["tally"].as_str()))?,
        };
        let step = self.number("step")?;
        for (phase, _) in engine.step_counts() {
            let found = self
                .metadata
                .get(&phase_steps(phase))
                .map_or("none", String::as_str);
            if found.parse::<u64>().is_err() {
                return Err(self.wrong("optimisers", "a number of steps for each phase", found));
            }
        }
        let counts = std::mem::take(&mut self.metadata);
        let count = |phase: &str| {
            counts[&phase_steps(phase)]
                .parse()
                .expect("looked at above")
        };
        let restored = engine.restore(step, count, &mut |name| self.tensors.remove(name));
        restored.map_err(|source| self.error(source))?;
        self.nothing_left()?;
        Ok(place)
    }

    /// Takes all values of `params`, whose names begin with `prefix` here.
    fn params(&mut self, prefix: &str, params: &mut Params<f32>) -> Result<(), Error> {
        let taken =
            params.restore_from(&mut |name| self.tensors.remove(&format!("{prefix}{name}")));
        taken.map_err(|source| self.error(source))
    }

    /// Where a checkpoint has the parameters to evaluate: their average, if there is one.
    fn evaluated(&self) -> &'static str {
        let averaged = self.tensors.keys().any(|name| name.starts_with(AVERAGE));
        if averaged { AVERAGE } else { PARAMS }
    }

    fn nothing_left(&mut self) -> Result<(), Error> {
        match self.tensors.pop_first() {
            None => Ok(()),
            Some((name, tensor)) => Err(self.error(ParamsError::Surplus {
                name,
                found: *tensor.shape(),
            })),
        }
    }
}

/// Reads the checkpoint of a run into `engine`; tells the place in the data.
///
/// # Errors
/// If there is none, or it is damaged or of another configuration.
pub(crate) fn read(dir: &RunDir, config: &Config, engine: &mut Engine) -> Result<Place, Error> {
    let path = dir.checkpoint();
    let bytes = directory::read(&path)?;
    Saved::parse(&path, &bytes, CHECKPOINT)?.restore(config, engine)
}

/// Writes the parameters that were best so far by this figure of the validation split.
pub(crate) fn write_best(dir: &RunDir, engine: &Engine, figure: &Figure) -> Result<(), Error> {
    for (name, tensor) in engine.evaluated().tensors() {
        check_finite(engine.steps(), &name, tensor)?;
    }
    let metadata = Metadata::from([
        ("format".into(), BEST.into()),
        ("step".into(), engine.steps().to_string()),
        ("score".into(), figure.info.name.into()),
        ("value".into(), figure.value.to_string()),
    ]);
    directory::write_whole(&dir.best(), &engine.evaluated().to_bytes(&metadata))
}

/// The figure of the best parameters so far, if any were written: `score` says by what they must
/// have been chosen.
pub(crate) fn best(dir: &RunDir, score: Option<&str>) -> Result<Option<f64>, Error> {
    let path = dir.best();
    let Some(score) = score.filter(|_| path.exists()) else {
        return Ok(None);
    };
    let bytes = directory::read(&path)?;
    let saved = Saved::parse(&path, &bytes, BEST)?;
    let found = saved.word("score")?;
    if found != score {
        return Err(saved.wrong("score", score, found));
    }
    saved.number("value").map(Some)
}

/// The parameters of a run by name: the best, or else those of the checkpoint.
pub(crate) fn read_tensors(dir: &RunDir) -> Result<Vec<(String, Tensor<f32>)>, Error> {
    let best = dir.best();
    if best.exists() {
        let bytes = directory::read(&best)?;
        return Ok(Saved::parse(&best, &bytes, BEST)?
            .tensors
            .into_iter()
            .collect());
    }
    let path = dir.checkpoint();
    let bytes = directory::read(&path)?;
    let saved = Saved::parse(&path, &bytes, CHECKPOINT)?;
    let prefix = saved.evaluated();
    let tensors = saved.tensors.into_iter();
    let named = tensors.filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.into(), t)));
    Ok(named.collect())
}

/// Reads into `params` what an evaluation of the run should use: the best on the validation split,
/// or else the average or the parameters of the checkpoint. Tells the step they are from.
///
/// # Errors
/// If there is no such file, or it is damaged or holds other tensors.
pub(crate) fn read_evaluated(dir: &RunDir, params: &mut Params<f32>) -> Result<u64, Error> {
    let best = dir.best();
    if best.exists() {
        let bytes = directory::read(&best)?;
        let mut saved = Saved::parse(&best, &bytes, BEST)?;
        saved.params("", params)?;
        saved.nothing_left()?;
        return saved.number("step");
    }
    let path = dir.checkpoint();
    let bytes = directory::read(&path)?;
    let mut saved = Saved::parse(&path, &bytes, CHECKPOINT)?;
    saved.params(saved.evaluated(), params)?;
    saved.number("step")
}

fn check_finite(step: u64, name: &str, tensor: &Tensor<f32>) -> Result<(), Error> {
    match tensor.data().iter().find(|x| !x.is_finite()) {
        None => Ok(()),
        Some(&x) => Err(Error::NotFinite {
            step,
            what: format!("tensor {name:?}"),
            found: f64::from(x),
        }),
    }
}
