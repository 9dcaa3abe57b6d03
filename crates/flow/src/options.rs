//! What the tables of several flows have in common.

use crate::density::FlowModel;
use crate::dequantise::Dequantise;
use crate::layer::Flow;
use crate::logit::{Logit, Shift};
use crate::prior::Prior;
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::{Accepts, Built, Model, Setup, Spread};
use nn::optim::Optimiser;
use nn::{Builder, Params};

/// Whether a flow is told the class of an image.
pub(crate) const CONDITIONAL: Hyper = Hyper {
    name: "conditional",
    meaning: "whether the class of an image enters every network",
    default: Value::Flag(false),
};

/// How far a logit stays from the ends of the unit interval.
pub(crate) const fn logit(default: f64) -> Hyper {
    Hyper {
        name: "logit",
        meaning: "alpha of the logit transform of alpha + (1 - 2 alpha) y; 0 for none",
        default: Value::Number(default),
    }
}

/// Training images whose activations set the first values of normalisations.
pub(crate) const SEEN: usize = 512;

/// Any flow is a density over real numbers, which binary pixels do not fill.
pub(crate) fn levels(_: &Hypers) -> Accepts {
    Accepts::Levels
}

/// The classes a model is told, if it is to be told any.
pub(crate) fn classes(setup: &Setup) -> Result<Option<usize>, HyperError> {
    match (setup.hypers.flag(CONDITIONAL.name), setup.image.classes) {
        (false, _) => Ok(None),
        (true, Some(classes)) => Ok(Some(classes)),
        (true, None) => {
            let reason = "conditional needs images with labels; these have none";
            Err(setup.hypers.unfit(reason))
        }
    }
}

/// The first layers: a logit, or a shift of [0, 1] to around 0 if alpha is 0.
pub(crate) fn entrance(setup: &Setup) -> Result<Flow, HyperError> {
    let alpha = setup.hypers.number("logit");
    match alpha {
        0.0 => Ok(Flow::new().then(Shift(-0.5))),
        alpha if alpha > 0.0 && alpha < 0.5 => Ok(Flow::new().then(Logit::new(alpha))),
        alpha => {
            let reason = format!("logit: expected a number from 0 to below 0.5, found {alpha}");
            Err(setup.hypers.unfit(reason))
        }
    }
}

/// A model from its layers: `layers` adds them to the entrance.
pub(crate) fn model(
    setup: &Setup,
    entrance: Flow,
    prior: Prior,
    spread: fn(usize) -> Spread,
    ascends: bool,
    layers: impl FnOnce(&mut Builder, Flow, Option<usize>) -> Result<Flow, HyperError>,
) -> Result<(FlowModel, Params<f32>), HyperError> {
    let classes = classes(setup)?;
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let dequantise = Dequantise::chosen(setup.hypers, &mut b, &setup.image)?;
    let model = FlowModel {
        spec: setup.image,
        dequantise,
        flow: layers(&mut b.scope("flow"), entrance, classes)?,
        prior,
        classes,
        spread,
        ascends,
    };
    // A builder that lacks the memory for a model makes empty tensors, and its caller refuses it.
    let whole = params.iter().all(|param| !param.value.is_empty());
    if let Some(batch) = setup.data.first(SEEN).filter(|_| whole) {
        model.begin(&mut params, &batch);
    }
    Ok((model, params))
}

/// The same, as a table's constructor gives it.
pub(crate) fn built(
    made: Result<(FlowModel, Params<f32>), HyperError>,
) -> Result<Built, HyperError> {
    made.map(|(model, params)| (Box::new(model) as Box<dyn Model>, params))
}

/// How flows of images are trained: the gradient of a convolution made orthogonal.
pub(crate) fn muon() -> Optimiser {
    Optimiser::muon(0.01)
        .with("momentum", 0.9)
        .with("weight_decay", 0.01)
}

/// Small micro-batches, so that the maps of a lane stay in the cache.
pub(crate) fn lanes(batch_size: usize) -> Spread {
    Spread::Lanes(batch_size.div_ceil(2).clamp(1, 8))
}

/// How models of matrix products with so many weights are spread: where a gradient is as large as
/// that of the papers' networks, no lane gets one of its own.
pub(crate) fn products(weights: usize) -> fn(usize) -> Spread {
    match weights > 6 << 20 {
        true => whole,
        false => halves,
    }
}

/// Two micro-batches, where layers are matrix products.
pub(crate) fn halves(batch_size: usize) -> Spread {
    Spread::Lanes(batch_size.div_ceil(2).max(1))
}

/// The whole batch at once.
pub(crate) fn whole(_: usize) -> Spread {
    Spread::IntraOp
}
