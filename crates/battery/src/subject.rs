//! What is tested: a model of a table at its smallest, and images for it.

use dataset::{Binarize, Dataset, Examples, ImageShape, Split};
use nn::hyper::{Hypers, Value};
use nn::model::{Batch, Built, DataSummary, Entry, ImageSource, ImageSpec, Scored, Setup};
use nn::params::Params;
use nn::random::{stream, uniform, word};
use std::fmt;
use std::sync::atomic::AtomicBool;
use toml::Table;
use train::{Config, Evaluation, Images, Measured, Pool};

/// Height and width of the images.
const SIDE: usize = 6;
/// How many classes they have.
const CLASSES: usize = 10;
/// Images of the train, valid and test split.
const SPLITS: [usize; 3] = [18, 12, 12];

/// A model at the sizes that its entry gives for tests, and the images it is for.
#[derive(Clone)]
pub struct Subject {
    /// The model's line in its table.
    pub entry: &'static Entry,
    /// What the images look like.
    pub image: ImageSpec,
    /// Whether it is as small as its entry says for tests, and not of its default size.
    pub is_small: bool,
    /// A hyper-parameter that differs from the entry's sizes for tests.
    pub set: Option<(&'static str, &'static str)>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImageSpec {
            height,
            width,
            channels,
            levels,
            ..
        } = self.image;
        write!(f, "{}", self.entry.name)?;
        if let Some((key, value)) = self.set {
            write!(f, " {key}={value}")?;
        }
        write!(f, " on {height}x{width}x{channels} of {levels} levels")
    }
}

/// Every model of the command, and these: on binary images where it takes them, else on grey ones; in colour,
/// if it takes more than two levels; and with each of its switches turned.
///
/// `BATTERY_MODEL=NAME` picks one of them.
pub fn subjects(others: &'static [Entry]) -> Vec<Subject> {
    let only = std::env::var("BATTERY_MODEL").ok();
    let picked = |entry: &&Entry| only.as_ref().is_none_or(|name| name == entry.name);
    let all = genzoo::all_models().chain(others);
    all.filter(picked).flat_map(subjects_of).collect()
}

/// Those of one model.
pub fn subjects_of(entry: &'static Entry) -> Vec<Subject> {
    let accepts = (entry.accepts)(&entry.small_hypers());
    let levels = if accepts.levels(2) { 2 } else { 256 };
    let first = Subject {
        entry,
        image: ImageSpec::new(SIDE, SIDE, 1, levels).with_classes(CLASSES),
        is_small: true,
        set: None,
    };
    let colour = Subject {
        image: first.image.with_channels(3).with_levels(256),
        ..first.clone()
    };
    let switches = entry.hypers.iter().filter_map(|hyper| match hyper.default {
        Value::Flag(_) if first.hypers().flag(hyper.name) => Some((hyper.name, "false")),
        Value::Flag(_) => Some((hyper.name, "true")),
        _ => None,
    });
    let turned = switches.map(|switch| Subject {
        set: Some(switch),
        ..first.clone()
    });
    let mut all: Vec<Subject> = turned.filter(Subject::is_possible).collect();
    if accepts.levels(256) && colour.is_possible() {
        all.push(colour);
    }
    all.insert(0, first);
    all
}

impl Subject {
    /// Its hyper-parameters.
    pub fn hypers(&self) -> Hypers {
        let mut hypers = match self.is_small {
            true => self.entry.small_hypers(),
            false => self.entry.defaults(),
        };
        if let Some((key, value)) = self.set {
            hypers.set(key, value).expect("a switch is on or off");
        }
        hypers
    }

    /// Whether there is such a model: its entry may refuse what does not go together.
    pub fn is_possible(&self) -> bool {
        let hypers = self.hypers();
        let fits = (self.entry.accepts)(&hypers).levels(self.image.levels);
        fits && self.entry.build_for(&hypers, self.image, 0).is_ok()
    }

    /// The model with its first parameters, for images that are at hand.
    pub fn build_on(&self, data: &Dataset, seed: u64) -> Built {
        let images = Images::evaluation(data, Split::Train, Binarize::None);
        let (hypers, summary) = (self.hypers(), DataSummary::of(&images));
        let built = (self.entry.build)(&Setup::new(&hypers, self.image, &summary, seed));
        built.unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// The model with its first parameters, for images that are not.
    pub fn build(&self, seed: u64) -> Built {
        let built = self.entry.build_for(&self.hypers(), self.image, seed);
        built.unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// The model with parameters far from where they began, as after training: every unit does
    /// something.
    pub fn shaken(&self, seed: u64) -> Built {
        let (model, mut params) = self.build_on(&self.data(), seed);
        shake(&mut params, 0.3, seed);
        (model, params)
    }

    /// Labelled images, some in each split.
    pub fn data(&self) -> Dataset {
        self.data_of(SPLITS)
    }

    /// Labelled images, so many in each split. Those of a class are alike.
    pub fn data_of(&self, counts: [usize; 3]) -> Dataset {
        let dims = self.image.dims();
        let mut of_class = stream(&[word("classes")]);
        let marks: Vec<bool> = (0..CLASSES * dims)
            .map(|_| uniform(&mut of_class) < 0.4)
            .collect();
        let split = |split: usize| {
            let mut noise = stream(&[word("images"), split as u64]);
            let mut pixel = |i: usize| {
                let class = i / dims % CLASSES;
                let mark = marks[class * dims + i % dims] != (uniform(&mut noise) < 0.08);
                let level = if mark { 0.55 } else { 0.05 } + 0.4 * uniform(&mut noise);
                match self.image.is_binary() {
                    true => u8::from(mark),
                    false => (level * self.image.levels as f64) as u8,
                }
            };
            (0..counts[split] * dims)
                .map(&mut pixel)
                .collect::<Vec<u8>>()
        };
        let labels = |split: usize| (0..counts[split]).map(|i| (i % CLASSES) as u8).collect();
        self.dataset([0, 1, 2].map(split), [0, 1, 2].map(labels))
    }

    /// These levels, and the class of each image, as a data set.
    pub fn dataset(&self, levels: [Vec<u8>; 3], labels: [Vec<u8>; 3]) -> Dataset {
        let shape = ImageShape {
            height: self.image.height,
            width: self.image.width,
            channels: self.image.channels,
        };
        let splits = [0, 1, 2].map(|k| Examples {
            pixels: &levels[k],
            labels: Some(&labels[k]),
        });
        let data = Dataset::in_memory("battery", shape, self.image.levels as u32, splits);
        data.unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// A run's configuration with these settings, as TOML.
    pub fn config(&self, data: &Dataset, settings: &str) -> Config {
        let mut layer: Table = settings.parse().expect("settings of a test");
        let sizes = self.entry.small.iter().chain(&self.set);
        let hypers = sizes.map(|(key, value)| (key.to_string(), toml::Value::from(*value)));
        layer.insert("hypers".into(), toml::Value::Table(hypers.collect()));
        layer.insert("binarize".into(), "none".into());
        let config = Config::resolve(self.entry, "battery", data, vec![(layer, "a test")]);
        config.unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// What the model is judged to be on the test split of `data`.
    pub fn judge(&self, built: &Built, data: &Dataset, scores: &[Scored]) -> Vec<Measured> {
        self.judge_by(1, built, data, scores)
    }

    /// The same with so many draws an image, where a score is stochastic.
    pub fn judge_by(
        &self,
        samples: usize,
        built: &Built,
        data: &Dataset,
        scores: &[Scored],
    ) -> Vec<Measured> {
        let evaluation = Evaluation {
            model: &*built.0,
            params: &built.1,
            train: &Images::evaluation(data, Split::Train, Binarize::None),
            split: &Images::evaluation(data, Split::Test, Binarize::None),
            batch_size: 5,
            samples,
            seed: 0,
            thorough: true,
        };
        let measured = evaluation.run(scores, &AtomicBool::new(false));
        measured.expect("nobody stops it")
    }

    /// The first `count` test images.
    pub fn batch(&self, data: &Dataset, count: usize) -> Batch {
        let images = Images::evaluation(data, Split::Test, Binarize::None);
        ImageSource::batch(&images, &(0..count as u32).collect::<Vec<_>>())
    }
}

/// Adds noise of both signs, uniform and at most `size`, to all trained parameters.
pub(crate) fn shake(params: &mut Params<f32>, size: f64, seed: u64) {
    for param in params.iter_mut().filter(|param| param.trainable) {
        let mut noise = stream(&[seed, word("shake"), word(&param.name)]);
        let mut moved = |&x: &f32| x + (size * (2.0 * uniform(&mut noise) - 1.0)) as f32;
        let values: Vec<f32> = param.value.data().iter().map(&mut moved).collect();
        param.value.make_mut().copy_from_slice(&values);
    }
}

/// Runs `work` on so many threads.
pub(crate) fn on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    Pool::new(Some(threads)).expect("threads").run(work)
}
