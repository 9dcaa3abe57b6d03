//! The configuration of a run: one struct, one file, one way to lay settings over others.

use crate::error::Error;
use crate::layers::{one_line, overlay, parse};
use crate::start::Start;
use crate::{images, settings};
use dataset::{Binarize, Dataset, Split};
use nn::hyper::Hypers;
use nn::model::{Accepts, Entry, ImageSpec, Recipe};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use toml::Table;

/// Everything a run's bytes depend on, resolved: `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of the engine that began the run.
    pub version: String,
    /// The model's name.
    pub model: String,
    /// What the data are called: a name or an absolute path.
    pub data: String,
    /// [`Dataset::fingerprint`](dataset::Dataset::fingerprint), 16 hexadecimal digits.
    pub data_fingerprint: String,
    /// How grey levels become pixels.
    #[serde(with = "settings::text")]
    pub binarize: Binarize,
    /// Where all randomness begins.
    pub seed: u64,
    /// Images a step.
    pub batch_size: usize,
    /// Passes over the training split. One of this, `steps` and `time` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Training steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Time spent, such as `30m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Largest norm of all gradients together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay of the moving average that is evaluated instead of the parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Epochs between two judgements of samples, for models that are judged by them.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub judge_every: u64,
    /// What the model sees of the data.
    pub image: ImageSpec,
    /// The run that the first parameters come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Start>,
    /// Learning rates that were set anew when the run was resumed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// The model's hyper-parameters.
    pub hypers: Table,
    /// The optimiser of each phase of a step, by the phase's name.
    pub optimisers: BTreeMap<String, Optimiser>,
}

/// A learning rate that was set anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The step after which it holds.
    pub step: u64,
    /// Whose it is: a phase.
    pub phase: String,
    /// The learning rate before the schedule's factor.
    pub lr: f64,
}

fn one() -> u64 {
    1
}

fn is_one(n: &u64) -> bool {
    *n == 1
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After so many passes over the training split.
    Epochs(u64),
    /// After so many steps.
    Steps(u64),
    /// After so long.
    Time(Duration),
}

/// Pixels as they are.
const NONE: Binarize = Binarize::None;
/// The most images of a step.
const MOST_IMAGES: usize = 1 << 20;
/// The most rows or columns of an image.
const MOST_PIXELS: usize = 1 << 14;
/// The keys of which one says when a run is over.
const LIMITS: [&str; 3] = ["epochs", "steps", "time"];

impl Config {
    /// The configuration of a run of `entry` on `data`, which the user calls `name`: the model's
    /// defaults with each layer laid over those before it. A layer is a table of the keys of this
    /// struct, any of them left out, or `lr` for the learning rate of every phase; it comes with
    /// what errors call it.
    ///
    /// The recipe is that of the hyper-parameters and images which the layers set.
    ///
    /// Without a word on binarisation, grey images are binarised dynamically for a model that needs
    /// binary pixels.
    ///
    /// # Errors
    /// If a key is unknown, a value does not fit, a layer names other data (by fingerprint), or
    /// the model needs binary pixels and would not get them.
    pub fn resolve(
        entry: &Entry,
        name: &str,
        data: &Dataset,
        layers: Vec<(Table, &str)>,
    ) -> Result<Config, Error> {
        // The recipe sees hyper-parameters and images, which the layers set, too: these first.
        let mut config = Config::defaults(entry, &entry.defaults(), images::spec(data, NONE));
        let binarize = |hypers: &Hypers| {
            let grey = !data.is_binary() && data.shape().channels == 1;
            let dynamic = (entry.accepts)(hypers) == Accepts::Binary && grey;
            if dynamic { Binarize::Dynamic } else { NONE }
        };
        for (layer, origin) in &layers {
            let keys = layer
                .iter()
                .filter(|(key, _)| ["hypers", "binarize"].contains(&&key[..]));
            let layer: Table = keys
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            config = config.with(layer, origin)?;
        }
        let hypers = config.hypers(entry)?;
        let named = layers
            .iter()
            .any(|(layer, _)| layer.contains_key("binarize"));
        let binarize = if named {
            config.binarize
        } else {
            binarize(&hypers)
        };
        config = Config::defaults(entry, &hypers, images::spec(data, binarize));
        config.binarize = binarize;
        for (layer, origin) in layers {
            config = config.with(layer, origin)?;
        }
        let fingerprint = fingerprint(data);
        let named = &config.data_fingerprint;
        if !named.is_empty() && *named != fingerprint {
            return Err(other_data(name, named, &fingerprint));
        }
        config.version = env!("CARGO_PKG_VERSION").into();
        config.model = entry.name.into();
        config.data = name.into();
        config.data_fingerprint = fingerprint;
        config.image = images::spec(data, config.binarize);
        let wrong = |expected: &str, found: String| Error::Data {
            data: name.into(),
            expected: format!("{expected}, as {} needs", entry.name),
            found,
        };
        let levels = config.image.levels;
        let accepts = (entry.accepts)(&hypers);
        if !accepts.levels(levels) {
            let expected = match accepts {
                Accepts::Binary => "binary pixels",
                _ => "pixels of more than two levels",
            };
            return Err(wrong(expected, format!("pixels of {levels} levels")));
        }
        if entry.needs_labels && config.image.classes.is_none() {
            return Err(wrong("images with labels", "none".into()));
        }
        config.hypers = settings::hypers_to_toml(&config.hypers(entry)?);
        config.recipe(entry)?;
        config.check_data(data)?;
        Ok(config)
    }

    /// A model's recipe with these hyper-parameters and images, on data not yet known.
    fn defaults(entry: &Entry, hypers: &Hypers, image: ImageSpec) -> Config {
        let recipe = entry.recipe_for(hypers, image);
        let optimisers = recipe.phases.into_iter();
        Config {
            version: String::new(),
            model: entry.name.into(),
            data: String::new(),
            data_fingerprint: String::new(),
            binarize: Binarize::None,
            seed: 0,
            batch_size: recipe.batch_size,
            epochs: Some(recipe.epochs as u64),
            steps: None,
            time: None,
            clip_norm: recipe.clip_norm.map(settings::decimal),
            ema: recipe.ema.map(settings::decimal),
            judge_every: recipe.judge_every as u64,
            image,
            from: None,
            changes: Vec::new(),
            schedule: recipe.schedule,
            hypers: settings::hypers_to_toml(hypers),
            optimisers: optimisers
                .map(|phase| (phase.name.into(), phase.optimiser))
                .collect(),
        }
    }

    /// Whether these are the data the run began with, and there are some to train on.
    ///
    /// # Errors
    /// If not.
    pub fn check_data(&self, data: &Dataset) -> Result<(), Error> {
        let found = fingerprint(data);
        if found != self.data_fingerprint {
            return Err(other_data(&self.data, &self.data_fingerprint, &found));
        }
        self.check_image(data)?;
        if data.split(Split::Train).is_empty() {
            return Err(Error::Data {
                data: self.data.clone(),
                expected: "images in the train split".into(),
                found: "none".into(),
            });
        }
        Ok(())
    }

    /// Whether the model of this run can see these data.
    ///
    /// # Errors
    /// If images have another shape, or more levels or classes.
    pub fn check_image(&self, data: &Dataset) -> Result<(), Error> {
        let (expected, found) = (self.image, images::spec(data, self.binarize));
        let same = (
            expected.height,
            expected.width,
            expected.channels,
            expected.levels,
        ) == (found.height, found.width, found.channels, found.levels);
        if same && (expected.classes.is_none() || found.classes <= expected.classes) {
            return Ok(());
        }
        let name = |spec: ImageSpec| {
            let ImageSpec {
                height,
                width,
                channels,
                levels,
                classes,
                ..
            } = spec;
            let classes = classes.map_or(String::new(), |n| format!(" of {n} classes"));
            format!("images {height}x{width}x{channels} of {levels} levels{classes}")
        };
        Err(Error::Data {
            data: data.name().into(),
            expected: name(expected),
            found: name(found),
        })
    }

    /// This with `layer` laid over it; see [`resolve`](Self::resolve).
    ///
    /// # Errors
    /// If a key is unknown or a value does not fit.
    pub fn with(&self, mut layer: Table, origin: &str) -> Result<Config, Error> {
        let error = |reason: String| Error::Config {
            origin: origin.into(),
            reason,
        };
        let mut table = Table::try_from(self).map_err(|e| error(one_line(&e)))?;
        if layer.keys().any(|key| LIMITS.contains(&&key[..])) {
            table.retain(|key, _| !LIMITS.contains(&key));
        }
        if layer.contains_key("data") && !layer.contains_key("data_fingerprint") {
            table.insert("data_fingerprint".into(), "".into());
        }
        let lr = layer.remove("lr");
        if let (Some(lr), Some(phases)) = (lr, table["optimisers"].as_table_mut()) {
            for optimiser in phases
                .iter_mut()
                .filter_map(|(_, value)| value.as_table_mut())
            {
                optimiser.insert("lr".into(), lr.clone());
            }
        }
        overlay(&mut table, layer);
        let config: Config = table.try_into().map_err(|e| error(one_line(&e)))?;
        config.check().map_err(error)?;
        Ok(config)
    }

    /// Reads what [`to_toml`](Self::to_toml) wrote.
    ///
    /// # Errors
    /// If it is no TOML, a key is missing or unknown, or a value does not fit.
    pub fn from_toml(text: &str, origin: &str) -> Result<Config, Error> {
        let table = parse(text, origin)?;
        let error = |reason: String| Error::Config {
            origin: origin.into(),
            reason,
        };
        let config: Config = table.try_into().map_err(|e| error(one_line(&e)))?;
        config.check().map_err(error)?;
        Ok(config)
    }

    /// As the text of `config.toml`.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(self).expect("a configuration is valid TOML");
        format!("# The resolved configuration of this run, written by genzoo.\n{text}")
    }

    /// When the run is over.
    pub fn limit(&self) -> Limit {
        match (self.epochs, self.steps, &self.time) {
            (Some(epochs), ..) => Limit::Epochs(epochs),
            (_, Some(steps), _) => Limit::Steps(steps),
            (.., Some(time)) => {
                Limit::Time(settings::parse_time(time).expect("`check` has parsed it"))
            }
            _ => unreachable!("`check` has found one"),
        }
    }

    /// The same but for when it is over and for learning rates: a run may go on longer than it was
    /// meant to, or more carefully after it diverged.
    pub fn same_run(&self, other: &Config) -> bool {
        self.of_run() == other.of_run()
    }

    /// What stays the same as long as a run lives.
    fn of_run(&self) -> Config {
        let mut config = Config {
            epochs: None,
            steps: None,
            time: None,
            changes: Vec::new(),
            ..self.clone()
        };
        for optimiser in config.optimisers.values_mut() {
            *optimiser = optimiser.clone().with_lr(1.0);
        }
        config
    }

    /// 16 hexadecimal digits that tell this run from others.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:016x}", nn::random::word(&self.of_run().to_toml()))
    }

    /// The same with each learning rate noted that `before`, the configuration of the checkpoint
    /// at `step`, has otherwise.
    pub(crate) fn changed_since(mut self, before: &Config, step: u64) -> Config {
        self.changes.clone_from(&before.changes);
        for (phase, optimiser) in &self.optimisers {
            let lr = optimiser.lr();
            if before
                .optimisers
                .get(phase)
                .is_some_and(|old| old.lr() != lr)
            {
                self.changes.push(Change {
                    step,
                    phase: phase.clone(),
                    lr,
                });
            }
        }
        self
    }

    /// The recipe of `entry` with these settings in place of its own.
    ///
    /// # Errors
    /// If a phase of the recipe is missing here, or one is here that it does not have.
    pub fn recipe(&self, entry: &Entry) -> Result<Recipe, Error> {
        let mut recipe = entry.recipe_for(&self.hypers(entry)?, self.image);
        let names: Vec<_> = recipe.phases.iter().map(|phase| phase.name).collect();
        for phase in &mut recipe.phases {
            let Some(optimiser) = self.optimisers.get(phase.name) else {
                return Err(self.phase_error(&names));
            };
            phase.optimiser = optimiser.clone();
        }
        if self.optimisers.len() != names.len() {
            return Err(self.phase_error(&names));
        }
        recipe.schedule = self.schedule;
        recipe.batch_size = self.batch_size;
        recipe.clip_norm = self.clip_norm.map(|x| x as f32);
        recipe.ema = self.ema.map(|x| x as f32);
        recipe.judge_every = self.judge_every as usize;
        Ok(recipe)
    }

    /// The hyper-parameters of `entry` as set here.
    ///
    /// # Errors
    /// If one is unknown or its value does not fit.
    pub fn hypers(&self, entry: &Entry) -> Result<Hypers, Error> {
        let mut hypers = entry.defaults();
        for (name, value) in &self.hypers {
            hypers.set(name, &settings::hyper_to_text(value))?;
        }
        Ok(hypers)
    }

    fn phase_error(&self, expected: &[&str]) -> Error {
        let found: Vec<_> = self.optimisers.keys().map(String::as_str).collect();
        Error::Config {
            origin: "optimisers".into(),
            reason: format!(
                "expected {} of {}, found {}",
                expected.join(", "),
                self.model,
                if found.is_empty() {
                    "none".into()
                } else {
                    found.join(", ")
                }
            ),
        }
    }

    fn check(&self) -> Result<(), String> {
        let set = [
            self.epochs.is_some(),
            self.steps.is_some(),
            self.time.is_some(),
        ];
        if set.iter().filter(|&&set| set).count() != 1 {
            return Err("expected one of epochs, steps, time".into());
        }
        if self.epochs == Some(0) || self.steps == Some(0) {
            return Err("expected at least 1 epoch or step, found 0".into());
        }
        if let Some(time) = &self.time {
            settings::parse_time(time).map_err(|reason| format!("time: {reason}"))?;
        }
        if self.judge_every == 0 {
            return Err("judge_every: expected at least 1 epoch, found 0".into());
        }
        if !(1..=MOST_IMAGES).contains(&self.batch_size) {
            let found = self.batch_size;
            return Err(format!(
                "batch_size: expected 1 to {MOST_IMAGES}, found {found}"
            ));
        }
        let ImageSpec {
            height,
            width,
            channels,
            levels,
            ..
        } = self.image;
        let sizes = [height, width]
            .iter()
            .all(|n| (1..=MOST_PIXELS).contains(n));
        if !sizes || ![1, 3].contains(&channels) || !(2..=256).contains(&levels) {
            return Err(format!(
                "image: expected 1 to {MOST_PIXELS} rows and columns, 1 or 3 channels and 2 to 256 \
                 levels, found {height}x{width}x{channels} of {levels} levels"
            ));
        }
        if let Some(norm) = self
            .clip_norm
            .filter(|&norm| !(norm.is_finite() && norm as f32 >= f32::MIN_POSITIVE))
        {
            return Err(format!(
                "clip_norm: expected a number of at least {:e}, found {norm}",
                f32::MIN_POSITIVE
            ));
        }
        // As the engine has it: a decay that is 1 as f32 never moves, a norm that is 0 divides by it.
        if let Some(decay) = self
            .ema
            .filter(|&decay| !(0.0..1.0).contains(&(decay as f32)))
        {
            return Err(format!(
                "ema: expected a decay from 0 to below 1 in single precision, found {decay}"
            ));
        }
        settings::check_schedule(&self.schedule).map_err(|reason| format!("schedule: {reason}"))?;
        for (name, optimiser) in &self.optimisers {
            (optimiser.check()).map_err(|reason| format!("{name}: {reason}"))?;
        }
        Ok(())
    }
}

/// A dataset's fingerprint as it is written.
fn fingerprint(data: &Dataset) -> String {
    format!("{:016x}", data.fingerprint())
}

fn other_data(name: &str, expected: &str, found: &str) -> Error {
    Error::Data {
        data: name.into(),
        expected: format!("the data the run began with ({expected})"),
        found: format!("other data ({found})"),
    }
}
