//! What a model offers to those who train, evaluate and sample it without knowing its name.
//!
//! A [`Model`] says what a training step minimises, given what a loss sees of its [`Step`], and
//! hands out what else it can do as traits: the [scores](Score) it is judged by, and the abilities
//! of [`can`]. Engine and command ask for an ability and refuse by name where there is none. An
//! [`Entry`] is a model's line in its crate's table.

pub mod can;
mod data;
mod entry;
mod recipe;
mod score;
mod step;

pub use can::{
    Classes, Classifier, Coder, Completer, CompletionRequest, Encoder, Features, Latent,
    SampleRequest, Sampler, Takes,
};
pub use data::{Batch, DataSummary, ImageSource, ImageSpec};
pub use entry::{Accepts, Built, Entry, Preset, Setup};
pub use recipe::{Phase, Recipe, Spread};
pub use score::{
    Ask, Better, Figure, Kind, NATS, NoPreparation, Prepared, Score, ScoreInfo, Scored, SetAsk,
    SetScore,
};
pub use step::{Loss, Step};

use crate::params::Params;

/// A model as the engine and the command see it.
pub trait Model: Send + Sync {
    /// The loss of one phase of a training step, on one batch or a part of it.
    fn loss(&self, step: &Step) -> Loss;

    /// Whether a phase takes part in step `step` (0-based); a critic runs more often.
    fn is_active(&self, _phase: usize, _step: u64) -> bool {
        true
    }

    /// Changes parameters after a phase's optimiser has: clipped weights, a projection. It must
    /// depend on nothing but its arguments. A phase changes only parameters of its own.
    fn after_update(&self, _phase: usize, _step: u64, _params: &mut Params<f32>) {}

    /// How to spread a batch of `batch_size` over the cores.
    fn spread(&self, batch_size: usize) -> Spread;

    /// How many classes there are, if the model is given the class of each image.
    fn classes(&self) -> Option<usize> {
        None
    }

    /// What the model can be judged by, the most important first: its first figure is the
    /// *primary* score, by which parameters are selected. A model without one keeps its last
    /// parameters.
    fn scores(&self) -> Vec<Scored<'_>> {
        Vec::new()
    }

    /// New images, if the model can make them.
    fn sampler(&self) -> Option<&dyn Sampler> {
        None
    }

    /// A code for each image, if the model has one.
    fn latent(&self) -> Option<&dyn Latent> {
        None
    }

    /// What is missing in images, if the model can draw it given the rest.
    fn completer(&self) -> Option<&dyn Completer> {
        None
    }

    /// The distribution of each dimension given those before it, if the model can tell it.
    fn coder(&self) -> Option<&dyn Coder> {
        None
    }

    /// Numbers that describe an image, for another model to work with.
    fn features(&self) -> Option<&dyn Features> {
        None
    }

    /// The class of an image, if the model can tell it.
    fn classifier(&self) -> Option<&dyn Classifier> {
        None
    }
}

impl dyn Model + '_ {
    /// What the model is judged by first, if by anything.
    pub fn primary(&self) -> Option<ScoreInfo> {
        let scores = self.scores();
        Some(scores.first()?.about()[0])
    }

    /// What the model can do, in the words of the command: derived from what it hands out.
    pub fn abilities(&self) -> Vec<&'static str> {
        let scores = self.scores();
        let told = scores.iter().flat_map(Scored::about).map(|info| {
            match (info.is_likelihood(), info.kind) {
                (true, Kind::Exact) => "exact likelihood",
                (true, Kind::UpperBound) => "bound on the likelihood",
                (true, _) => "estimate of the likelihood",
                _ => info.name,
            }
        });
        let mut list: Vec<&'static str> = Vec::new();
        for ability in told {
            if !list.contains(&ability) {
                list.push(ability);
            }
        }
        let encodes = self
            .latent()
            .is_some_and(|latent| latent.encoder().is_some());
        let has = [
            (self.classifier().is_some(), "classes"),
            (self.sampler().is_some(), "samples"),
            (self.completer().is_some(), "completion"),
            (self.coder().is_some(), "compression"),
            (self.latent().is_some(), "latents"),
            (encodes, "reconstruction"),
            (self.features().is_some(), "features"),
        ];
        list.extend(has.iter().filter(|(has, _)| *has).map(|(_, word)| word));
        list
    }
}
