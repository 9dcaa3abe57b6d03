//! Activation normalisation, a learned mixture of channels, an affine coupling; again and again.
//!
//! D. P. Kingma and P. Dhariwal 2018, "Glow: Generative Flow with Invertible 1x1 Convolutions",
//! arXiv:1807.03039, section 3.
//!
//! ```text
//! y -> logit -> scales times:
//!     squeeze                                        [H, W, C] -> [H/2, W/2, 4 C]
//!     depth times: act norm, 1x1, affine coupling    its network 3x3, 1x1, 3x3, the last from 0
//!     half of the channels are done, scaled and shifted by a network of the rest
//! ```
//!
//! The paper, whose images are natural ones, has y - 1/2 in place of the logit: logit=0. For alpha
//! see `realnvp`.

use crate::coupling::{Coupling, Partition, Transform};
use crate::density::FlowModel;
use crate::dequantise;
use crate::layer::Flow;
use crate::mix::Mix;
use crate::multiscale::{self, SCALES};
use crate::net::{ConvSizes, Net};
use crate::norm::ActNorm;
use crate::options::{self, CONDITIONAL};
use crate::prior::Prior;
use nn::hyper::{Hyper, HyperError, Value};
use nn::model::{Built, Entry, Preset, Recipe, Setup};
use nn::schedule::Schedule;
use nn::{Builder, Params};

pub(crate) const ENTRY: Entry = Entry::new(
    "glow",
    "flow of 1x1 convolutions and affine couplings",
    build,
)
.paper("Kingma & Dhariwal 2018, arXiv:1807.03039")
.hypers(&[
    SCALES,
    Hyper {
        name: "depth",
        meaning: "steps of each scale",
        default: Value::Count(8),
    },
    Hyper {
        name: "channels",
        meaning: "channels inside a coupling's network",
        default: Value::Count(64),
    },
    options::logit(1e-6),
    dequantise::KIND,
    CONDITIONAL,
])
.recipe(recipe)
.presets(&[Preset {
    name: "cifar",
    about: "three scales of more steps, for images of 32 x 32 in colour",
    settings: "\
[hypers]
scales = 3
depth = 12
channels = 96
logit = 0.0
",
}])
.accepts(options::levels)
.small(&[("scales", "1"), ("depth", "2"), ("channels", "4")]);

/// Muon at 0.01, falling along a cosine, and batches of 32 (the paper: Adamax at 1e-3).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", options::muon())
        .schedule(Schedule::WarmupCosine { steps: 200 })
        .batch_size(32)
        .epochs(10)
        .clip_norm(200.0)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    options::built(glow(setup))
}

/// The model `glow` and its first parameters.
///
/// # Errors
/// If the hyper-parameters do not go with the images or with each other.
pub fn glow(setup: &Setup) -> Result<(FlowModel, Params<f32>), HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let scales = multiscale::check(hypers, &spec)?;
    let (depth, channels) = (hypers.count("depth"), hypers.count("channels"));
    let entrance = options::entrance(setup)?;
    let spread = options::lanes;
    options::model(
        setup,
        entrance,
        Prior::Normal,
        spread,
        true,
        |b, flow, classes| {
            let sizes = ConvSizes {
                channels,
                blocks: 0,
                classes,
                context: 0,
            };
            let coupling = |b: &mut Builder, partition: Partition| {
                let (stay, moving) = (partition.count(false), partition.count(true));
                let net = Net::convolution(b, stay, 2 * moving, sizes);
                Coupling::new(partition, Transform::Affine, net)
            };
            let steps = |b: &mut Builder, flow: &mut Flow, width: usize, last: bool| {
                for i in 0..depth {
                    let mut b = b.scope(i);
                    flow.push(ActNorm::new(&mut b.scope("norm"), width));
                    flow.push(Mix::new(&mut b.scope("mix"), width));
                    flow.push(coupling(&mut b.scope("coupling"), Partition::halves(width)));
                }
                if !last {
                    // What is done is the first half, and the rest says its mean and spread.
                    let halves = Partition::halves(width).swapped();
                    flow.push(coupling(&mut b.scope("done"), halves));
                }
            };
            Ok(multiscale::scales(b, flow, &spec, scales, &steps))
        },
    )
}
