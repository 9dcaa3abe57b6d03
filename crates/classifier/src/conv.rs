//! A convolutional network: stages that halve the image, then a fully connected layer.
//!
//! ```text
//! a stage:  3x3 convolution to its channels
//!           residual blocks h + conv(relu(conv(h))), as many as `blocks`
//!           5x5 convolution with stride 2
//! then:     fully connected to `hidden`
//! ```
//!
//! After each convolution batch norm, if `norm` is `batch`, and ReLU. LeCun et al. 1998; residual
//! blocks: He et al. 2016, arXiv:1512.03385; convolutions with a stride instead of pooling:
//! Springenberg et al. 2015, arXiv:1412.6806.

use crate::augment;
use crate::classify::{Classify, Network, classes};
use crate::mlp::{DROPOUT, dropout};
use grad::{Element, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::init::{Init, relu_gain};
use nn::layers::{Activation, BatchNorm, Conv, Linear, Mode, Padding};
use nn::model::{Built, Entry, ImageSpec, Recipe, Setup, Spread};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Bound, Builder, Params};

pub(crate) const ENTRY: Entry = Entry::new(
    "conv-classifier",
    "classifier: strided convolutions, residual blocks and batch norm as options",
    build,
)
.paper("LeCun et al. 1998; He et al. 2016, arXiv:1512.03385")
.hypers(&[
    Hyper {
        name: "channels",
        meaning: "channels of each stage; a stage ends with half the rows and columns",
        default: Value::Counts(&[32, 64]),
    },
    Hyper {
        name: "blocks",
        meaning: "residual blocks of a stage; 0 leaves them out",
        default: Value::Number(0.0),
    },
    Hyper {
        name: "norm",
        meaning: "none, or batch norm after each convolution",
        default: Value::Choice(&["none", "batch"]),
    },
    Hyper {
        name: "hidden",
        meaning: "units of the last hidden layer, the features",
        default: Value::Count(128),
    },
    DROPOUT,
    Hyper {
        name: "shift",
        meaning: "training images are moved by up to 2 pixels, and not further than an eighth of \
                  their size; true or false",
        default: Value::Flag(true),
    },
])
.recipe(recipe)
.labelled()
.small(&[
    ("channels", "4,6"),
    ("blocks", "1"),
    ("norm", "batch"),
    ("hidden", "8"),
]);

fn recipe(_: &Setup) -> Recipe {
    Recipe::new("loss", Optimiser::adam(1e-3))
        .schedule(Schedule::Cosine)
        .batch_size(64)
        .epochs(10)
}

/// The shorter side that an image has at least.
const SMALLEST: usize = 6;

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let classes = classes(setup)?;
    let dropout = dropout(setup)?;
    let blocks = hypers.number("blocks");
    if blocks.fract() != 0.0 || !(0.0..=100.0).contains(&blocks) {
        let reason = format!("blocks: expected a whole number from 0 to 100, found {blocks}");
        return Err(hypers.unfit(reason));
    }
    if spec.height.min(spec.width) < SMALLEST {
        return Err(hypers.unfit(format!(
            "expected images of at least {SMALLEST}x{SMALLEST} pixels, found {}x{}",
            spec.height, spec.width
        )));
    }
    let shape = Shape {
        channels: hypers.counts("channels"),
        blocks: blocks as usize,
        batch_norm: hypers.choice("norm") == "batch",
        hidden: hypers.count("hidden"),
    };
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let network = ConvNet::new(&mut b.scope("body"), spec, &shape);
    let shift = if hypers.flag("shift") { 2 } else { 0 };
    let model = Classify::new(&mut b, network, classes)
        .dropout(dropout)
        .shift(augment::reach(shift, spec.height, spec.width));
    Ok((Box::new(model), params))
}

/// What a network is made of.
pub(crate) struct Shape {
    pub(crate) channels: Vec<usize>,
    pub(crate) blocks: usize,
    pub(crate) batch_norm: bool,
    pub(crate) hidden: usize,
}

/// A convolution with what follows it, but for the ReLU.
struct Unit {
    conv: Conv,
    norm: Option<BatchNorm>,
}

impl Unit {
    fn new(
        b: &mut Builder,
        [from, to]: [usize; 2],
        kernel: usize,
        stride: usize,
        norm: bool,
    ) -> Unit {
        let init = Init::KaimingNormal {
            gain: relu_gain(0.0),
        };
        let conv = Conv::with(&mut b.scope("conv"), from, to, [kernel; 2], init, !norm)
            .stride([stride; 2])
            .padding(Padding::uniform(kernel / 2));
        let norm = norm.then(|| BatchNorm::new(&mut b.scope("norm"), to));
        Unit { conv, norm }
    }

    /// x: `[B, H, W, from]` -> `[B, H / stride, W / stride, to]`, rounded up.
    fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>, relu: bool) -> Var<T> {
        let Some(norm) = &self.norm else {
            let activation = if relu {
                Activation::Relu
            } else {
                Activation::Identity
            };
            return self.conv.forward_with(p, x, activation);
        };
        let h = self.conv.forward(p, x);
        // A single number has no variance: then the running statistics serve.
        let mode = match h.shape().elements() / self.conv.outputs() {
            1 => Mode::Evaluate,
            _ => p.mode(),
        };
        let h = norm.forward(p, &h, mode);
        if relu { h.relu() } else { h }
    }
}

/// One size of the image.
struct Stage {
    first: Unit,
    blocks: Vec<[Unit; 2]>,
    down: Unit,
}

/// Convolutions, then a fully connected layer.
pub struct ConvNet {
    stages: Vec<Stage>,
    last: Linear,
    batch_norm: bool,
}

impl ConvNet {
    /// For images of this kind.
    pub(crate) fn new(b: &mut Builder, spec: ImageSpec, shape: &Shape) -> ConvNet {
        let (mut from, mut size) = (spec.channels, [spec.height, spec.width]);
        let mut stages = Vec::new();
        for (i, &to) in shape.channels.iter().enumerate() {
            let mut b = b.scope(i);
            let norm = shape.batch_norm;
            let mut block = |n: usize| {
                let mut b = b.scope("blocks");
                let mut b = b.scope(n);
                [0, 1].map(|k| Unit::new(&mut b.scope(k), [to, to], 3, 1, norm))
            };
            let blocks = (0..shape.blocks).map(&mut block).collect();
            stages.push(Stage {
                first: Unit::new(&mut b.scope("first"), [from, to], 3, 1, norm),
                blocks,
                down: Unit::new(&mut b.scope("down"), [to, to], 5, 2, norm),
            });
            from = to;
            size = size.map(|n| n.div_ceil(2));
        }
        let init = Init::KaimingNormal {
            gain: relu_gain(0.0),
        };
        let last = &mut b.scope("last");
        ConvNet {
            stages,
            last: Linear::with(last, size[0] * size[1] * from, shape.hidden, init, true),
            batch_norm: shape.batch_norm,
        }
    }

    /// x: `[B, H, W, C]` in [0, 1] -> `[B, hidden]`.
    pub fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        self.forward_through(p, x, |_| {})
    }

    /// The same, and shows `see` what each layer of whole images answers, `[B, H, W, C]`.
    fn forward_through<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        mut see: impl FnMut(&Var<T>),
    ) -> Var<T> {
        let mut h = x.clone();
        for stage in &self.stages {
            h = stage.first.forward(p, &h, true);
            see(&h);
            for [inner, outer] in &stage.blocks {
                let change = outer.forward(p, &inner.forward(p, &h, true), false);
                h = (h + change).relu();
                see(&h);
            }
            h = stage.down.forward(p, &h, true);
            see(&h);
        }
        let flat = h.reshape([h.shape()[0], self.last.inputs()]);
        self.last.forward_with(p, &flat, Activation::Relu)
    }
}

impl Network for ConvNet {
    fn width(&self) -> usize {
        self.last.outputs()
    }

    fn hidden(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        self.forward(p, x)
    }

    fn layers(&self, p: &Bound<f32>, x: &Var<f32>) -> Vec<Var<f32>> {
        let mut seen = Vec::new();
        let last = self.forward_through(p, x, |h| seen.push(h.clone()));
        seen.push(last);
        seen
    }

    fn spread(&self, batch_size: usize) -> Spread {
        match self.batch_norm {
            true => Spread::IntraOp,
            false => Spread::Lanes(batch_size.div_ceil(8).clamp(1, 16)),
        }
    }
}
