//! Gated PixelCNN.
//!
//! A. van den Oord, N. Kalchbrenner, O. Vinyals, L. Espeholt, A. Graves and K. Kavukcuoglu 2016,
//! "Conditional Image Generation with PixelCNN Decoders", arXiv:1606.05328, sections 2.1 to 2.4,
//! figure 2.
//!
//! ```text
//! v = h = x                                          two stacks of [H, W, channels]
//! layers times:
//!     t = conv n x n over rows up to this one (v)    vertical: [H, W, 2 channels]
//!     u = conv 1 x n, masked (h) + conv 1 x 1 (t)    horizontal, linked before the gate
//!     v = gate(t + V c),   o = gate(u + W c)         gate(a, b) = tanh(a) sigmoid(b)
//!     s = s + conv 1x1 (o),   h = h + conv 1x1 (o)
//! logits = conv 1x1 (relu conv 1x1 (relu s))
//! ```
//!
//! The vertical stack's first layer sees the rows above alone, so row i of every vertical map
//! knows rows before i and none of row i: it may be linked to row i of the horizontal stack, which
//! knows the pixels to the left. Together they see all pixels before: there is no blind spot.
//! n x n is 1 x n, then m x 1, for fewer multiplications with the same reach. The first layer (n
//! = 7; the others have 3) has mask A and no connection around it, which would show each pixel to
//! itself. V c and W c are there for conditional models: c is a class, one vector of each gate.
//! What follows nothing is left out: the last layer has neither v nor h.

mod steps;

use crate::causal::{self, Centred, Masked, Pass, Relu};
use crate::conv_gate::gate;
use crate::conv_masked::MaskedConv;
use crate::density::Density;
use crate::walk::Network;
use grad::kernels::conv::{Padding, Taps};
use grad::kernels::gemm::Activation::{self, Identity};
use grad::{Element, Var};
use nn::dist::pixels::{self, Pixels};
use nn::hyper::{Hyper, HyperError, Value};
use nn::init::Init;
use nn::layers::{Conv, Embedding};
use nn::masks::Causal;
use nn::model::{Built, Entry, ImageSpec, Preset, Recipe, Setup};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Bound, Builder, Params};
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry::new(
    "gated-pixelcnn",
    "two stacks of gated masked convolutions, without a blind spot",
    build,
)
.paper("van den Oord et al. 2016, arXiv:1606.05328")
.hypers(&[
    Hyper {
        name: "channels",
        meaning: "width of both stacks; gates have twice as many",
        default: Value::Count(128),
    },
    Hyper {
        name: "layers",
        meaning: "gated layers, the first one with its 7x7 kernel included",
        default: Value::Count(10),
    },
    Hyper {
        name: "head",
        meaning: "channels between the last two layers",
        default: Value::Count(32),
    },
    Hyper {
        name: "conditional",
        meaning: "whether the class of an image enters every gate",
        default: Value::Flag(false),
    },
    pixels::KIND,
    pixels::COMPONENTS,
])
.recipe(recipe)
.presets(&[Preset {
    name: "short",
    about: "more layers, narrow ones, and small batches; an hour for MNIST",
    settings: "\
batch_size = 32
epochs = 20
[schedule]
kind = \"warmup-cosine\"
steps = 200
[optimisers.nll]
kind = \"muon\"
lr = 0.006
weight_decay = 0.1
[hypers]
channels = 32
layers = 12
",
}])
.small(&[("channels", "6"), ("layers", "2"), ("head", "6")]);

/// Adam at 1e-3, decaying by 0.9999 a step, and batches of 128.
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::adam(1e-3))
        .schedule(Schedule::Exponential { decay: 0.9999 })
        .batch_size(128)
        .epochs(50)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec, seed) = (setup.hypers, &setup.image, setup.seed);
    let sizes = Sizes {
        channels: hypers.count("channels"),
        layers: hypers.count("layers"),
        head: hypers.count("head"),
        classes: match (hypers.flag("conditional"), spec.classes) {
            (false, _) => None,
            (true, Some(classes)) => Some(classes),
            (true, None) => {
                return Err(hypers.unfit("conditional needs images with labels; these have none"));
            }
        },
    };
    if sizes.channels < spec.channels || sizes.head < spec.channels {
        return Err(hypers.unfit(format!(
            "expected at least {} channels and a head of {} for pixels of so many colours, found {} and {}",
            spec.channels, spec.channels, sizes.channels, sizes.head
        )));
    }
    let mut params = Params::new();
    let pixels = Pixels::chosen(hypers, spec)?;
    let model = GatedPixelCnn::new(&mut Builder::new(&mut params, seed), *spec, pixels, sizes);
    Ok((Box::new(Density(model)), params))
}

/// How large a model is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Width of both stacks.
    pub channels: usize,
    /// Gated layers.
    pub layers: usize,
    /// Channels between the last two layers.
    pub head: usize,
    /// How many classes there are, if the model is conditional.
    pub classes: Option<usize>,
}

/// The gated layers of both stacks, up to the sum of what they skip ahead: a causal layer.
pub struct Gated {
    size: [usize; 2],
    channels: usize,
    layers: Vec<Layer>,
}

/// The network: the gated layers and the head. The values of the parameters live in [`Params`].
pub type GatedPixelCnn = Network<(Centred<Gated>, (Relu, Masked, Masked))>;

/// One gated layer (figure 2).
struct Layer {
    /// 1 x n, and m x 1 to the halves of a gate: rows above, from the second layer on also this.
    wide: Conv,
    tall: Conv,
    /// 1x1 from the vertical to the horizontal stack.
    link: Conv,
    /// 1 x n, masked.
    across: MaskedConv,
    /// 1x1 towards the logits.
    skip: MaskedConv,
    /// 1x1 back to the horizontal stack.
    residual: Option<MaskedConv>,
    /// Tables of 2 channels a class, for the horizontal and the vertical gate.
    class: [Option<Embedding>; 2],
}

impl Layer {
    fn new(b: &mut Builder, spec: &ImageSpec, sizes: &Sizes, index: usize) -> Layer {
        let (p, colours) = (sizes.channels, spec.channels);
        let (is_first, is_last) = (index == 0, index + 1 == sizes.layers);
        let (inputs, n) = if is_first { (colours, 7) } else { (p, 3) };
        let (beside, above) = (n / 2, n / 2);
        let wide = Conv::new(&mut b.scope("wide"), inputs, p, [1, n]);
        let wide = wide.padding(Padding {
            left: beside,
            right: beside,
            ..Padding::NONE
        });
        let tall = Conv::new(&mut b.scope("tall"), p, 2 * p, [above + 1, 1]);
        let tall = tall
            .padding(Padding {
                top: above,
                ..Padding::NONE
            })
            .taps(Taps::from_fn(above + 1, 1, |r, _| !is_first || r < above));
        let causal = if is_first { Causal::A } else { Causal::B };
        let small = |b: &mut Builder, name| {
            MaskedConv::new(&mut b.scope(name), [p, p], [1, 1], Causal::B, colours)
        };
        let mut table = |name, used: bool| {
            let classes = sizes.classes.filter(|_| used)?;
            let init = Init::Normal {
                mean: 0.0,
                std: 0.01,
            };
            Some(Embedding::with(&mut b.scope(name), classes, 2 * p, init))
        };
        Layer {
            class: [table("class.across", true), table("class.down", !is_last)],
            wide,
            tall,
            link: Conv::new(&mut b.scope("link"), 2 * p, 2 * p, [1, 1]),
            across: MaskedConv::in_parts(
                &mut b.scope("across"),
                [inputs, 2 * p],
                [1, n],
                causal,
                colours,
                2,
            ),
            skip: small(b, "skip"),
            residual: (!is_last).then(|| small(b, "residual")),
        }
    }

    /// x plus the class's vector: x [B, H, W, 2 channels].
    fn with_class<T: Element>(
        &self,
        stack: usize,
        p: &Bound<T>,
        x: Var<T>,
        labels: Option<&Arc<[u32]>>,
    ) -> Var<T> {
        let Some(table) = &self.class[stack] else {
            return x;
        };
        let labels = labels.expect("a conditional model needs the classes of the images");
        let vectors = table.forward(p, labels.clone());
        let [count, width] = vectors.shape()[..] else {
            unreachable!("rows of a table have two axes");
        };
        x + vectors.reshape([count, 1, 1, width])
    }
}

impl GatedPixelCnn {
    /// A model for images of this kind.
    ///
    /// # Panics
    /// If there are no layers, or fewer channels in one than colours in a pixel.
    pub fn new(b: &mut Builder, spec: ImageSpec, pixels: Pixels, sizes: Sizes) -> GatedPixelCnn {
        let Sizes {
            channels,
            layers,
            head,
            ..
        } = sizes;
        let colours = spec.channels;
        assert!(
            layers > 0 && channels >= colours && head >= colours,
            "gated pixelcnn: {sizes:?} for {colours} colours"
        );
        let outputs = colours * pixels.width();
        let mut last = |name, io, activation| {
            Masked::new(
                &mut b.scope(name),
                io,
                [1, 1],
                Causal::B,
                colours,
                activation,
            )
        };
        let head = (
            Relu,
            last("head.0", [channels, head], Activation::Relu),
            last("head.1", [head, outputs], Identity),
        );
        let gated = Gated {
            size: [spec.height, spec.width],
            channels,
            layers: (0..layers)
                .map(|i| Layer::new(&mut b.scope("layers").scope(i), &spec, &sizes, i))
                .collect(),
        };
        // What one image leaves for the backward pass is larger than the cache already; of wide
        // layers two share the transforms of the weights' gradients.
        let lanes = if channels > 64 { 2 } else { 1 };
        Network::of(spec, pixels, (Centred::new(&spec, gated), head))
            .classes(sizes.classes)
            .lanes(lanes)
    }
}

impl causal::Causal for Gated {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        let (p, labels) = (pass.p, pass.labels);
        let (mut v, mut h, mut s) = (x.clone(), x.clone(), None);
        for (i, layer) in self.layers.iter().enumerate() {
            let t = layer.tall.forward(p, &layer.wide.forward(p, &v));
            let u = (layer.across).forward_plus(p, &h, &layer.link.forward(p, &t));
            let o = gate(&layer.with_class(0, p, u, labels));
            s = Some(match s {
                None => layer.skip.forward(p, &o, Identity),
                Some(s) => layer.skip.forward_plus(p, &o, &s),
            });
            if let Some(residual) = &layer.residual {
                v = gate(&layer.with_class(1, p, t, labels));
                h = match i {
                    0 => residual.forward(p, &o, Identity),
                    _ => residual.forward_plus(p, &o, &h),
                };
            }
        }
        s.expect("there is a layer")
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn causal::Steps> {
        Box::new(steps::GatedSteps::new(self, p))
    }
}
