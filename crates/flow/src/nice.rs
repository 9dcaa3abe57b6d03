//! Additive couplings on rows of pixels.
//!
//! L. Dinh, D. Krueger and Y. Bengio 2015, "NICE: Non-linear Independent Components Estimation",
//! arXiv:1410.8516, section 5.1.
//!
//! ```text
//! y in [0, 1]^D -> even dimensions, odd dimensions
//! couplings times: one half += m(other half)              m: hidden layers of ReLUs, volumes stay
//! z = exp(S) (y + shift),   p(z) logistic                 the only change of volumes
//! ```
//!
//! The diagonal S begins so that some training images have the spread of the prior, and not at 0:
//! at a learning rate of 1e-3 the paper's S needs thousands of steps for the border of MNIST
//! alone, whose pixels span 1/256. For the same reason there is a shift.

use crate::coupling::{Coupling, Partition, Transform};
use crate::density::FlowModel;
use crate::dequantise;
use crate::layer::Flow;
use crate::net::Net;
use crate::norm::{ActNorm, Fit};
use crate::options::{self, CONDITIONAL};
use crate::prior::Prior;
use crate::shape::{Flatten, Permute};
use nn::Params;
use nn::hyper::{Hyper, HyperError, Value};
use nn::model::{Built, Entry, Preset, Recipe, Setup};
use nn::optim::Optimiser;
use nn::schedule::Schedule;

pub(crate) const ENTRY: Entry =
    Entry::new("nice", "flow of additive couplings, logistic prior", build)
        .paper("Dinh, Krueger & Bengio 2015, arXiv:1410.8516")
        .hypers(&[
            Hyper {
                name: "couplings",
                meaning: "coupling layers; they move one half of the pixels and the other in turn",
                default: Value::Count(4),
            },
            Hyper {
                name: "hidden",
                meaning: "units of each hidden layer of a coupling's network",
                default: Value::Counts(&[1000, 1000, 1000, 1000, 1000]),
            },
            dequantise::KIND,
            CONDITIONAL,
        ])
        .recipe(recipe)
        .presets(&[Preset {
            name: "quick",
            about: "three hidden layers of half the size, small batches, a larger rate that falls",
            settings: "\
batch_size = 128
epochs = 10
[schedule]
kind = \"warmup-cosine\"
steps = 200
[optimisers.nll]
kind = \"adam\"
lr = 0.003
[hypers]
hidden = [500, 500, 500]
",
        }])
        .accepts(options::levels)
        .small(&[("couplings", "2"), ("hidden", "12,8")]);

/// Adam at 1e-3, batches of 1024, 150 epochs.
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::adam(1e-3))
        .schedule(Schedule::Warmup { steps: 100 })
        .batch_size(1024)
        .epochs(150)
        .clip_norm(1000.0)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    options::built(nice(setup))
}

/// The model `nice` and its first parameters.
///
/// # Errors
/// If the hyper-parameters do not go with the images or with each other.
pub fn nice(setup: &Setup) -> Result<(FlowModel, Params<f32>), HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let dims = spec.dims();
    let couplings = hypers.count("couplings");
    if dims < 2 {
        return Err(hypers.unfit("expected images of at least 2 dimensions, found 1"));
    }
    let hidden = hypers.counts("hidden");
    let entrance = Flow::new()
        .then(Flatten([spec.height, spec.width, spec.channels]))
        .then(Permute::even_odd(dims));
    let sizes = [&[dims / 2], &hidden[..], &[dims / 2]].concat();
    let product = |io: &[usize]| io[0].saturating_mul(io[1]);
    let weights = sizes.windows(2).map(product).fold(0, usize::saturating_add);
    let spread = options::products(weights.saturating_mul(couplings));
    options::model(
        setup,
        entrance,
        Prior::Logistic,
        spread,
        true,
        |b, mut flow, classes| {
            for i in 0..couplings {
                let halves = Partition::halves(dims);
                let halves = if i % 2 == 0 { halves } else { halves.swapped() };
                let (stay, moving) = (halves.count(false), halves.count(true));
                let net = Net::perceptron(&mut b.scope(i), stay, &hidden, moving, classes);
                flow.push(Coupling::new(halves, Transform::Additive, net));
            }
            let diagonal = ActNorm::fitted(&mut b.scope("diagonal"), dims, Fit::Logistic);
            Ok(flow.then(diagonal))
        },
    )
}
