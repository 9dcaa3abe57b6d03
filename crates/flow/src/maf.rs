//! Masked autoregressive layers on rows of pixels, and their inverse.
//!
//! G. Papamakarios, T. Pavlakou and I. Murray 2017, "Masked Autoregressive Flow for Density
//! Estimation", arXiv:1705.07057: `maf`, whose likelihood is one pass and whose samples are drawn
//! dimension by dimension. D. P. Kingma et al. 2016, "Improving Variational Inference with Inverse
//! Autoregressive Flow", arXiv:1606.04934: `iaf`, whose samples are one pass and whose likelihood
//! is solved dimension by dimension.
//!
//! ```text
//! y -> logit -> layers times: norm, z_d = (x_d - m_d(x_<d)) exp(-s_d(x_<d)), the order reversed
//! ```

use crate::density::FlowModel;
use crate::dequantise;
use crate::layer::{Flow, Inverse};
use crate::masked::Masked;
use crate::norm::{ActNorm, BatchNorm};
use crate::options::{self, CONDITIONAL};
use crate::prior::Prior;
use crate::shape::{Flatten, Permute};
use nn::Params;
use nn::hyper::{Hyper, HyperError, Value};
use nn::model::{Built, Entry, Preset, Recipe, Setup};
use nn::optim::Optimiser;
use nn::schedule::Schedule;

const fn layers(default: usize) -> Hyper {
    Hyper {
        name: "layers",
        meaning: "autoregressive layers; the order of the pixels is reversed after each",
        default: Value::Count(default),
    }
}

const fn hidden(default: &'static [usize]) -> Hyper {
    Hyper {
        name: "hidden",
        meaning: "units of each hidden layer of a masked network",
        default: Value::Counts(default),
    }
}

const NORM: Hyper = Hyper {
    name: "norm",
    meaning: "normalisation before each layer: `act`, set by the first images, or `batch`",
    default: Value::Choice(&["act", "batch"]),
};

pub(crate) const MAF: Entry = Entry::new("maf", "masked autoregressive flow", build_maf)
    .paper("Papamakarios, Pavlakou & Murray 2017, arXiv:1705.07057")
    .hypers(&[
        layers(5),
        hidden(&[1024]),
        NORM,
        options::logit(1e-6),
        dequantise::KIND,
        CONDITIONAL,
    ])
    .recipe(recipe)
    .presets(&[Preset {
        name: "quick",
        about: "half the units and a falling rate; minutes for MNIST",
        settings: "\
epochs = 12
[schedule]
kind = \"warmup-cosine\"
steps = 200
[optimisers.nll]
kind = \"adam\"
lr = 0.001
[hypers]
hidden = [512]
",
    }])
    .accepts(options::levels)
    .small(&[("layers", "2"), ("hidden", "24")]);

pub(crate) const IAF: Entry = Entry::new("iaf", "inverse autoregressive flow", build_iaf)
    .paper("Kingma et al. 2016, arXiv:1606.04934")
    .hypers(&[
        layers(2),
        hidden(&[512]),
        NORM,
        options::logit(1e-6),
        dequantise::KIND,
        CONDITIONAL,
    ])
    .recipe(recipe)
    .accepts(options::levels)
    .small(&[("layers", "2"), ("hidden", "24")]);

/// The most weights that a masked layer is laid out for.
const MOST_WEIGHTS: usize = 1 << 31;

/// Adam at 3e-4 and batches of 100 (the paper: Adam at 1e-4 until 30 epochs bring nothing).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::adam(3e-4))
        .schedule(Schedule::Warmup { steps: 100 })
        .batch_size(100)
        .epochs(50)
        .clip_norm(1000.0)
}

fn build_maf(setup: &Setup) -> Result<Built, HyperError> {
    options::built(maf(setup))
}

fn build_iaf(setup: &Setup) -> Result<Built, HyperError> {
    options::built(iaf(setup))
}

/// The model `maf` and its first parameters.
///
/// # Errors
/// If the hyper-parameters do not go with the images or with each other.
pub fn maf(setup: &Setup) -> Result<(FlowModel, Params<f32>), HyperError> {
    model(setup, false)
}

/// The model `iaf` and its first parameters.
///
/// # Errors
/// If the hyper-parameters do not go with the images or with each other.
pub fn iaf(setup: &Setup) -> Result<(FlowModel, Params<f32>), HyperError> {
    model(setup, true)
}

fn model(setup: &Setup, inverse: bool) -> Result<(FlowModel, Params<f32>), HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let (dims, layers, hidden) = (spec.dims(), hypers.count("layers"), hypers.counts("hidden"));
    let batch_norm = hypers.choice("norm") == "batch";
    let entrance = options::entrance(setup)?;
    let sizes = [&[dims], &hidden[..], &[2 * dims]].concat();
    let product = |io: &[usize]| io[0].saturating_mul(io[1]);
    let weights = sizes.windows(2).map(product).fold(0, usize::saturating_add);
    if weights > MOST_WEIGHTS {
        return Err(hypers.unfit(format!(
            "hidden: expected at most {MOST_WEIGHTS} weights in a layer, found {weights}"
        )));
    }
    // What is solved dimension by dimension keeps one thread busy, so there each half has its own.
    let spread = match (batch_norm, inverse) {
        (true, _) => options::whole,
        (false, true) => options::halves,
        (false, false) => options::products(layers.saturating_mul(weights)),
    };
    // The density of an inverse layer is solved for; hundreds of ascents would take too long.
    let ascends = !inverse;
    options::model(
        setup,
        entrance,
        Prior::Normal,
        spread,
        ascends,
        |b, flow, classes| {
            let mut flow: Flow = flow.then(Flatten([spec.height, spec.width, spec.channels]));
            for i in 0..layers {
                let mut b = b.scope(i);
                match batch_norm {
                    true => flow.push(BatchNorm::new(&mut b.scope("norm"), dims)),
                    false => flow.push(ActNorm::new(&mut b.scope("norm"), dims)),
                }
                let masked = Masked::new(&mut b.scope("made"), dims, &hidden, classes);
                match inverse {
                    true => flow.push(Inverse(masked)),
                    false => flow.push(masked),
                }
                if i + 1 < layers {
                    flow.push(Permute::reversed(dims));
                }
            }
            Ok(flow)
        },
    )
}
