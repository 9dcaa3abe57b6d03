//! What a model is judged by.
//!
//! A *figure* is one number with a name, a unit, a kind and a direction ([`ScoreInfo`]). A
//! [`Score`] makes one or several figures of each image, which are averaged with their standard
//! errors; a [`SetScore`] makes them of a whole split, such as a distance between samples and
//! data. The first figure of a model's first score is its primary one: progress, selection of the
//! best parameters and `eval` follow it, whatever it is.

use super::{ImageSource, Step};
use crate::params::Params;
use std::any::Any;

/// The unit of a likelihood: nats an image.
pub const NATS: &str = "nats";

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreInfo {
    /// Its name in metrics and reports, in lower case: `nats`, `accuracy`, `squared_error`.
    pub name: &'static str,
    /// Its unit, an image where that makes sense: [`NATS`], `share`, `squared pixels`.
    pub unit: &'static str,
    /// How it relates to what it is called.
    pub kind: Kind,
    /// Which way is better.
    pub better: Better,
}

impl ScoreInfo {
    /// -log p(x) in nats, or what `kind` says of it; lower is better.
    pub const fn nats(kind: Kind) -> ScoreInfo {
        ScoreInfo {
            name: NATS,
            unit: NATS,
            kind,
            better: Better::Lower,
        }
    }

    /// Any other figure.
    pub const fn metric(name: &'static str, unit: &'static str, better: Better) -> ScoreInfo {
        ScoreInfo {
            name,
            unit,
            kind: Kind::Metric,
            better,
        }
    }

    /// Whether it is -log p(x) of images in nats, a bound on it or an estimate of it.
    pub fn is_likelihood(&self) -> bool {
        self.unit == NATS && self.kind != Kind::Metric
    }
}

/// How a figure relates to what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exactly that.
    Exact,
    /// At least that.
    UpperBound,
    /// About that, by a random estimate that may lie on either side.
    Estimate,
    /// A measure of its own.
    Metric,
}

impl Kind {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Exact => "exact",
            Kind::UpperBound => "upper bound",
            Kind::Estimate => "estimate",
            Kind::Metric => "metric",
        }
    }
}

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The lower the better.
    Lower,
    /// The higher the better.
    Higher,
    /// Neither: it tells how another figure came about, as a partition function does.
    Neither,
}

impl Better {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
            Better::Neither => "neither",
        }
    }

    /// Whether `new` is better than `old`. A number that is NaN is better than nothing.
    pub fn is_better(self, new: f64, old: f64) -> bool {
        match self {
            Better::Lower => new < old,
            Better::Higher => new > old,
            Better::Neither => false,
        }
    }
}

/// A figure's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub info: ScoreInfo,
    /// Its value.
    pub value: f64,
    /// Its standard error; NaN where that is not known.
    pub standard_error: f64,
}

/// What a score has made once for the parameters at hand: a partition function, a fitted density.
pub type Prepared = Box<dyn Any + Send + Sync>;

/// What a score has made that needs no preparation.
#[derive(Clone, Copy, Debug)]
pub struct NoPreparation;

/// How a score is asked for.
#[non_exhaustive]
pub struct Ask<'a> {
    /// How often a stochastic score draws for each image.
    pub samples: usize,
    /// What [`Score::prepare`] gave for these parameters.
    pub prepared: &'a Prepared,
}

impl<'a> Ask<'a> {
    /// With so many draws.
    pub fn new(samples: usize, prepared: &'a Prepared) -> Ask<'a> {
        Ask { samples, prepared }
    }

    /// What was prepared.
    ///
    /// # Panics
    /// If the score has prepared something else.
    #[track_caller]
    pub fn prepared<P: 'static>(&self) -> &'a P {
        let found = self.prepared.downcast_ref();
        found.expect("a score is asked with what it has prepared")
    }
}

/// What is at hand where a score prepares itself or judges a set.
#[non_exhaustive]
pub struct SetAsk<'a> {
    /// The parameters.
    pub params: &'a Params<f32>,
    /// The training images, as evaluation sees them.
    pub train: &'a dyn ImageSource,
    /// The images that are judged or judged by: those of the split at hand.
    pub split: &'a dyn ImageSource,
    /// Where all randomness begins.
    pub seed: u64,
    /// Whether the figure is one to be quoted, on which time may be spent, and not one of many
    /// along a training.
    pub thorough: bool,
}

impl<'a> SetAsk<'a> {
    /// With the parameters and images at hand, thoroughly.
    pub fn new(
        params: &'a Params<f32>,
        train: &'a dyn ImageSource,
        split: &'a dyn ImageSource,
        seed: u64,
    ) -> SetAsk<'a> {
        SetAsk {
            params,
            train,
            split,
            seed,
            thorough: true,
        }
    }

    /// The same, thoroughly or not.
    pub fn thorough(self, thorough: bool) -> SetAsk<'a> {
        SetAsk { thorough, ..self }
    }
}

/// Figures of single images.
pub trait Score: Sync {
    /// What the figures are, at least one, in the order of [`of`](Self::of).
    fn about(&self) -> Vec<ScoreInfo>;

    /// Whether more draws an image ([`Ask::samples`]) change anything.
    fn is_stochastic(&self) -> bool {
        false
    }

    /// What is needed once for the parameters, before any image: it may use all threads.
    fn prepare(&self, _ask: &SetAsk) -> Prepared {
        Box::new(NoPreparation)
    }

    /// A column for each figure, a number for each image of the step's batch.
    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>>;

    /// What else [`prepare`](Self::prepare) has found and a reader should know: figures of the
    /// parameters alone, reported after those of the images.
    fn beside(&self, _prepared: &Prepared) -> Vec<Figure> {
        Vec::new()
    }
}

/// Figures of a whole split: samples against data.
pub trait SetScore: Sync {
    /// What the figures are, at least one, in the order of [`of`](Self::of).
    fn about(&self) -> Vec<ScoreInfo>;

    /// The figures. It may use all threads; they must not change the figures.
    fn of(&self, ask: &SetAsk) -> Vec<Figure>;

    /// What the figures say in plain words, where there is something to worry about.
    fn warnings(&self, _figures: &[Figure]) -> Vec<String> {
        Vec::new()
    }
}

/// A score of either form.
#[derive(Clone, Copy)]
pub enum Scored<'a> {
    /// Of each image.
    Images(&'a dyn Score),
    /// Of a whole set.
    Set(&'a dyn SetScore),
}

impl Scored<'_> {
    /// What its figures are.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn about(&self) -> Vec<ScoreInfo> {
        let about = match self {
            Scored::Images(score) => score.about(),
            Scored::Set(score) => score.about(),
        };
        assert!(!about.is_empty(), "a score has at least one figure");
        about
    }
}
