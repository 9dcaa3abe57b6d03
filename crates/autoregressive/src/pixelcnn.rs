//! PixelCNN.
//!
//! A. van den Oord, N. Kalchbrenner and K. Kavukcuoglu 2016, "Pixel Recurrent Neural Networks",
//! arXiv:1601.06759, sections 3.4 and 3.5, table 1.
//!
//! ```text
//! p(x) = prod_i p(x_i | x_<i)                 pixels row by row, colours in turn
//!
//! s = conv 7x7, mask A (x)                    s: [H, W, channels], the residual stream
//! blocks times:
//!     s = s + conv 1x1 (relu conv 3x3, mask B (relu conv 1x1 (relu s)))
//! logits = conv 1x1 (relu conv 1x1 (relu s))
//! ```
//!
//! The first layer has no connection around it: that would show each pixel to itself. Inside a
//! block there are half as many channels. What lies beside the image counts as 0, and pixels
//! enter as numbers between -1 and 1 none of which is 0, so that a border is not mistaken for
//! black pixels.
//!
//! Such a stack has a blind spot: of pixels far to the right in the rows above, some reach a
//! pixel through no path (arXiv:1606.05328, figure 1).

use crate::causal::{Centred, Masked, Relu, Residual};
use crate::density::Density;
use crate::walk::Network;
use grad::kernels::gemm::Activation;
use nn::dist::pixels::{self, Pixels};
use nn::hyper::{Hyper, HyperError, Value};
use nn::masks::Causal as Mask;
use nn::model::{Built, Entry, ImageSpec, Preset, Recipe, Setup};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Builder, Params};

pub(crate) const ENTRY: Entry = Entry::new(
    "pixelcnn",
    "masked convolutions over the pixels before",
    build,
)
.paper("van den Oord et al. 2016, arXiv:1601.06759")
.hypers(&[
    Hyper {
        name: "channels",
        meaning: "width of the residual stream; its blocks have half as many inside",
        default: Value::Count(32),
    },
    Hyper {
        name: "blocks",
        meaning: "residual blocks",
        default: Value::Count(15),
    },
    Hyper {
        name: "head",
        meaning: "channels between the last two layers",
        default: Value::Count(32),
    },
    pixels::KIND,
    pixels::COMPONENTS,
])
.recipe(recipe)
.presets(&[
    Preset {
        name: "short",
        about: "64 channels, Muon, small batches along a cosine; an hour and a quarter for MNIST",
        settings: "\
batch_size = 64
epochs = 32
[schedule]
kind = \"warmup-cosine\"
steps = 200
[optimisers.nll]
kind = \"muon\"
lr = 0.004
weight_decay = 0.036
[hypers]
channels = 64
",
    },
    Preset {
        name: "cifar-10",
        about: "RGB with a softmax over 256 levels: few blocks, small batches along a cosine",
        settings: "\
batch_size = 16
epochs = 60
[schedule]
kind = \"cosine\"
[optimisers.nll]
kind = \"adam\"
lr = 0.002
[hypers]
channels = 64
blocks = 5
head = 64
",
    },
])
.small(&[("channels", "8"), ("blocks", "1"), ("head", "6")]);

/// Adam at 1e-3, decaying by 0.999977 a step, and batches of 256 (the paper: RMSProp, batches
/// of 16).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::adam(1e-3))
        .schedule(Schedule::Exponential { decay: 0.999977 })
        .batch_size(256)
        .epochs(50)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec, seed) = (setup.hypers, &setup.image, setup.seed);
    let [channels, blocks, head] = ["channels", "blocks", "head"].map(|name| hypers.count(name));
    if channels / 2 < spec.channels || head < spec.channels {
        return Err(hypers.unfit(format!(
            "expected at least {} channels and a head of {} for pixels of {} colours, found {} and {}",
            2 * spec.channels,
            spec.channels,
            spec.channels,
            channels,
            head
        )));
    }
    let mut params = Params::new();
    let mut builder = Builder::new(&mut params, seed);
    let pixels = Pixels::chosen(hypers, spec)?;
    let model = PixelCnn::new(&mut builder, *spec, pixels, channels, blocks, head);
    Ok((Box::new(Density(model)), params))
}

/// One residual block (figure 5, left): relu, 1x1 to half as many channels, 3x3, 1x1 back.
pub type Block = Residual<(Relu, Masked, Masked, Masked)>;

/// The layers: the first one, blocks, the head. The values of the parameters live in [`Params`].
pub type PixelCnn = Network<(Centred<Masked>, Vec<Block>, (Relu, Masked, Masked))>;

impl PixelCnn {
    /// A model for images of this kind; see the hyper-parameters of the same names.
    ///
    /// # Panics
    /// If there are fewer channels in a layer than colours in a pixel.
    pub fn new(
        b: &mut Builder,
        spec: ImageSpec,
        pixels: Pixels,
        channels: usize,
        blocks: usize,
        head: usize,
    ) -> PixelCnn {
        let (colours, half) = (spec.channels, channels / 2);
        assert!(
            half >= colours && head >= colours,
            "pixelcnn: {channels} channels and a head of {head} for {colours} colours"
        );
        let layer = |b: &mut Builder, name, io, k, mask, activation| {
            Masked::new(&mut b.scope(name), io, [k, k], mask, colours, activation)
        };
        let first = layer(
            b,
            "first",
            [colours, channels],
            7,
            Mask::A,
            Activation::Identity,
        );
        let outputs = colours * pixels.width();
        let head = (
            Relu,
            layer(b, "head.0", [channels, head], 1, Mask::B, Activation::Relu),
            layer(
                b,
                "head.1",
                [head, outputs],
                1,
                Mask::B,
                Activation::Identity,
            ),
        );
        let block = |i: usize| {
            let mut scope = b.scope("blocks");
            let b = &mut scope.scope(i);
            Residual((
                Relu,
                layer(b, "down", [channels, half], 1, Mask::B, Activation::Relu),
                layer(b, "middle", [half, half], 3, Mask::B, Activation::Relu),
                layer(b, "up", [half, channels], 1, Mask::B, Activation::Identity),
            ))
        };
        let blocks = (0..blocks).map(block).collect();
        // So few images a lane that a layer's activations stay in the second-level cache.
        let lanes = if channels > 64 { 1 } else { 2 };
        Network::of(spec, pixels, (Centred::new(&spec, first), blocks, head)).lanes(lanes)
    }
}
