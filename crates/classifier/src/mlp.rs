//! A multilayer perceptron: fully connected layers with ReLU between them.

use crate::augment;
use crate::classify::{Classify, Network, classes};
use grad::{Element, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::init::{Init, relu_gain};
use nn::layers::{Activation, Linear};
use nn::model::{Built, Entry, ImageSpec, Recipe, Setup, Spread};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Bound, Builder, Params};

/// A share of units that training leaves out.
pub(crate) const DROPOUT: Hyper = Hyper {
    name: "dropout",
    meaning: "share of the last hidden layer that a training step leaves out",
    default: Value::Number(0.2),
};

pub(crate) const ENTRY: Entry = Entry::new(
    "mlp-classifier",
    "classifier: a multilayer perceptron",
    build,
)
.paper("Rumelhart, Hinton & Williams 1986; dropout: Srivastava et al. 2014")
.hypers(&[
    Hyper {
        name: "hidden",
        meaning: "units of each hidden layer",
        default: Value::Counts(&[512, 256]),
    },
    DROPOUT,
    Hyper {
        name: "shift",
        meaning: "training images are moved by up to 2 pixels, and not further than an \
                          eighth of their size; true or false",
        default: Value::Flag(false),
    },
])
.recipe(recipe)
.labelled()
.small(&[("hidden", "12,8")]);

fn recipe(_: &Setup) -> Recipe {
    Recipe::new("loss", Optimiser::adam(1e-3))
        .schedule(Schedule::Cosine)
        .epochs(20)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let classes = classes(setup)?;
    let dropout = dropout(setup)?;
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let network = Perceptron::new(&mut b.scope("body"), spec, &hypers.counts("hidden"));
    let shift = if hypers.flag("shift") { 2 } else { 0 };
    let model = Classify::new(&mut b, network, classes)
        .dropout(dropout)
        .shift(augment::reach(shift, spec.height, spec.width));
    Ok((Box::new(model), params))
}

/// The rate, if it is one.
pub(crate) fn dropout(setup: &Setup) -> Result<f64, HyperError> {
    let rate = setup.hypers.number("dropout");
    if (0.0..1.0).contains(&rate) {
        return Ok(rate);
    }
    let reason = format!("dropout: expected a share from 0 to below 1, found {rate}");
    Err(setup.hypers.unfit(reason))
}

/// Fully connected layers.
pub struct Perceptron {
    dims: usize,
    layers: Vec<Linear>,
}

impl Perceptron {
    /// For images of this kind; `hidden` lists the layers from the pixels on.
    ///
    /// # Panics
    /// If there is no layer.
    #[track_caller]
    pub fn new(b: &mut Builder, spec: ImageSpec, hidden: &[usize]) -> Perceptron {
        assert!(!hidden.is_empty(), "perceptron: expected a hidden layer");
        let sizes = [&[spec.dims()], hidden].concat();
        let init = Init::KaimingNormal {
            gain: relu_gain(0.0),
        };
        let layer =
            |(i, io): (usize, &[usize])| Linear::with(&mut b.scope(i), io[0], io[1], init, true);
        Perceptron {
            dims: spec.dims(),
            layers: sizes.windows(2).enumerate().map(layer).collect(),
        }
    }

    /// x: `[B, H, W, C]` in [0, 1] -> `[B, width]`.
    pub fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        let x = x.reshape([x.shape()[0], self.dims]);
        self.layers
            .iter()
            .fold(x, |h, layer| layer.forward_with(p, &h, Activation::Relu))
    }
}

impl Network for Perceptron {
    fn width(&self) -> usize {
        self.layers.last().expect("at least one layer").outputs()
    }

    fn hidden(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        self.forward(p, x)
    }

    fn spread(&self, batch_size: usize) -> Spread {
        Spread::Lanes(batch_size.div_ceil(2).clamp(1, 64))
    }
}
