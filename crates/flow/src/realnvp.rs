//! Affine couplings on images, at several scales.
//!
//! L. Dinh, J. Sohl-Dickstein and S. Bengio 2017, "Density estimation using Real NVP",
//! arXiv:1605.08803, sections 3.4 to 3.7.
//!
//! ```text
//! y -> logit -> scales times:
//!     squeeze                                    [H, W, C] -> [H/2, W/2, 4 C]
//!     couplings times: norm, coupling            checkerboard, its other half moving in turn
//!     couplings times: norm, coupling            halves of the channels, in turn
//!     half of the channels are done
//! ```
//!
//! The checkerboard of single pixels is, after a squeeze, one half of the channels against the
//! other. The couplings of both masks therefore run behind the squeeze: the networks see no zeros
//! where a mask hides pixels, and cost a quarter.
//!
//! alpha of the logit is 1e-6, as for digits in the paper on MAF, and not 0.05 as here for natural
//! images: it spreads out the noise of a black background, which would else be 50 times narrower
//! than the strokes, and the loss of MNIST falls in a tenth of the steps.

use crate::coupling::{Coupling, Partition, Transform};
use crate::density::FlowModel;
use crate::dequantise;
use crate::layer::Flow;
use crate::multiscale::{self, SCALES};
use crate::net::{ConvSizes, Net};
use crate::norm::{ActNorm, BatchNorm};
use crate::options::{self, CONDITIONAL};
use crate::prior::Prior;
use nn::hyper::{Hyper, HyperError, Value};
use nn::model::{Built, Entry, Preset, Recipe, Setup};
use nn::schedule::Schedule;
use nn::{Builder, Params};

pub(crate) const ENTRY: Entry = Entry::new(
    "realnvp",
    "flow of affine couplings at several scales",
    build,
)
.paper("Dinh, Sohl-Dickstein & Bengio 2017, arXiv:1605.08803")
.hypers(&[
    SCALES,
    Hyper {
        name: "couplings",
        meaning: "coupling layers of each mask at each scale",
        default: Value::Count(3),
    },
    Hyper {
        name: "channels",
        meaning: "channels inside a coupling's network",
        default: Value::Count(32),
    },
    Hyper {
        name: "blocks",
        meaning: "residual blocks of a coupling's network",
        default: Value::Count(1),
    },
    Hyper {
        name: "norm",
        meaning: "normalisation before each coupling: `act`, set by the first images, or `batch`",
        default: Value::Choice(&["act", "batch"]),
    },
    options::logit(1e-6),
    dequantise::KIND,
    CONDITIONAL,
])
.recipe(recipe)
.presets(&[Preset {
    name: "cifar",
    about: "wider networks at three scales, for images of 32 x 32 in colour",
    settings: "\
[hypers]
scales = 3
channels = 64
logit = 0.05
",
}])
.accepts(options::levels)
.small(&[
    ("scales", "1"),
    ("couplings", "1"),
    ("channels", "4"),
    ("blocks", "1"),
]);

/// Muon at 0.01, falling along a cosine, and batches of 32 (the paper: Adam at 1e-3, batches of 64).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", options::muon())
        .schedule(Schedule::WarmupCosine { steps: 200 })
        .batch_size(32)
        .epochs(10)
        .clip_norm(200.0)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    options::built(realnvp(setup))
}

/// The model `realnvp` and its first parameters.
///
/// # Errors
/// If the hyper-parameters do not go with the images or with each other.
pub fn realnvp(setup: &Setup) -> Result<(FlowModel, Params<f32>), HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let scales = multiscale::check(hypers, &spec)?;
    let (couplings, batch_norm) = (hypers.count("couplings"), hypers.choice("norm") == "batch");
    let (channels, blocks) = (hypers.count("channels"), hypers.count("blocks"));
    let spread = if batch_norm {
        options::whole
    } else {
        options::lanes
    };
    let entrance = options::entrance(setup)?;
    options::model(
        setup,
        entrance,
        Prior::Normal,
        spread,
        true,
        |b, flow, classes| {
            let sizes = ConvSizes {
                channels,
                blocks,
                classes,
                context: 0,
            };
            let steps = |b: &mut Builder, flow: &mut Flow, width: usize, _last: bool| {
                let mut add = |name: String, partition: Partition| {
                    let mut b = b.scope(name);
                    match batch_norm {
                        true => flow.push(BatchNorm::new(&mut b.scope("norm"), width)),
                        false => flow.push(ActNorm::new(&mut b.scope("norm"), width)),
                    }
                    let (stay, moving) = (partition.count(false), partition.count(true));
                    let net = Net::convolution(&mut b, stay, 2 * moving, sizes);
                    flow.push(Coupling::new(partition, Transform::Affine, net));
                };
                for (mask, partition) in [
                    ("checkerboard", Partition::checkerboard(width)),
                    ("channel", Partition::halves(width)),
                ] {
                    for i in 0..couplings {
                        let partition = match i % 2 {
                            0 => partition.clone(),
                            _ => partition.clone().swapped(),
                        };
                        add(format!("{mask}{i}"), partition);
                    }
                }
            };
            Ok(multiscale::scales(b, flow, &spec, scales, &steps))
        },
    )
}
