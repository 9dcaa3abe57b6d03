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

use crate::conv_cache::{Place, Rows, Step};
use crate::conv_masked::{MaskedConv, centring};
use crate::density::{Autoregressive, Density};
use crate::sequential::{Conditionals, Walk};
use grad::kernels::gemm::Activation::{Identity, Relu};
use grad::kernels::{Unary, elementwise};
use grad::{Element, Var};
use nn::dist::pixels::{self, Pixels};
use nn::hyper::{Hyper, HyperError, Value};
use nn::masks::Causal;
use nn::model::{Built, Entry, ImageSpec, Preset, Recipe, Setup, Spread};
use nn::optim::Optimiser;
use nn::random::Stream;
use nn::schedule::Schedule;
use nn::{Bound, Builder, Params};

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

/// The layers. The values of the parameters live in [`Params`].
pub struct PixelCnn {
    spec: ImageSpec,
    pixels: Pixels,
    first: MaskedConv,
    blocks: Vec<Block>,
    /// To `head` channels, and to the parameters of the pixels' distributions.
    head: [MaskedConv; 2],
}

/// One residual block (figure 5, left).
struct Block {
    /// 1x1, to half as many channels.
    down: MaskedConv,
    /// 3x3.
    middle: MaskedConv,
    /// 1x1, back.
    up: MaskedConv,
}

impl Block {
    fn new(b: &mut Builder, channels: usize, colours: usize) -> Block {
        let half = channels / 2;
        let mut layer =
            |name, io, k| MaskedConv::new(&mut b.scope(name), io, [k, k], Causal::B, colours);
        Block {
            down: layer("down", [channels, half], 1),
            middle: layer("middle", [half, half], 3),
            up: layer("up", [half, channels], 1),
        }
    }

    /// s: [B, H, W, channels] -> the same.
    fn forward<T: Element>(&self, p: &Bound<T>, s: &Var<T>) -> Var<T> {
        let h = self.down.forward(p, &s.relu(), Relu);
        let h = self.middle.forward(p, &h, Relu);
        self.up.forward_plus(p, &h, s)
    }
}

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
        let colours = spec.channels;
        assert!(
            channels / 2 >= colours && head >= colours,
            "pixelcnn: {channels} channels and a head of {head} for {colours} colours"
        );
        let mut layer =
            |name, io, k, causal| MaskedConv::new(&mut b.scope(name), io, [k, k], causal, colours);
        PixelCnn {
            first: layer("first", [colours, channels], 7, Causal::A),
            head: [
                layer("head.0", [channels, head], 1, Causal::B),
                layer("head.1", [head, colours * pixels.width()], 1, Causal::B),
            ],
            blocks: (0..blocks)
                .map(|i| Block::new(&mut b.scope("blocks").scope(i), channels, colours))
                .collect(),
            spec,
            pixels,
        }
    }
}

impl Autoregressive for PixelCnn {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn pixels(&self) -> Pixels {
        self.pixels
    }

    fn logits<T: Element>(&self, p: &Bound<T>, x: &Var<T>, _ordering: usize) -> Var<T> {
        let (scale, shift) = centring(&self.spec);
        let s = self.first.forward(p, &x.affine(scale, shift), Identity);
        let s = self.blocks.iter().fold(s, |s, block| block.forward(p, &s));
        let h = self.head[0].forward(p, &s.relu(), Relu);
        let logits = self.head[1].forward(p, &h, Identity);
        let batch = logits.shape()[0];
        logits.reshape([batch, logits.shape().elements() / batch.max(1)])
    }

    fn conditionals<'a>(&'a self, p: &Bound<f32>, _: usize) -> Box<dyn Conditionals + 'a> {
        let step = |layer| Step::new(layer, p);
        Box::new(Steps {
            spec: self.spec,
            pixels: self.pixels,
            first: step(&self.first),
            blocks: (self.blocks.iter())
                .map(|block| [&block.down, &block.middle, &block.up].map(step))
                .collect(),
            head: [step(&self.head[0]), step(&self.head[1])],
        })
    }

    /// So few images a lane that a layer's activations stay in the second-level cache.
    fn spread(&self, _batch_size: usize) -> Spread {
        Spread::Lanes(if self.first.geometry().out_channels > 64 {
            1
        } else {
            2
        })
    }
}

/// The layers with their parameters, for single pixels.
struct Steps {
    spec: ImageSpec,
    pixels: Pixels,
    first: Step,
    /// Down, middle, up.
    blocks: Vec<[Step; 3]>,
    head: [Step; 2],
}

impl Conditionals for Steps {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn begin(&self, count: usize, _classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        let numbers = |step: &Step| vec![0.0; count * step.outputs()];
        let width = self.spec.width;
        Box::new(Columns {
            of: self,
            place: Place::new(self.spec, count),
            x: Rows::new(self.first.reach(), count, width),
            first: numbers(&self.first),
            blocks: (self.blocks.iter())
                .map(|[down, middle, up]| Column {
                    down: numbers(down),
                    rows: Rows::new(middle.reach(), count, width),
                    middle: numbers(middle),
                    up: numbers(up),
                })
                .collect(),
            stream: numbers(&self.first),
            relu: numbers(&self.first),
            head: numbers(&self.head[0]),
            logits: numbers(&self.head[1]),
        })
    }

    fn draw(&self, parameters: &[f32], temperature: f32, stream: &mut Stream) -> f32 {
        self.pixels.draw(parameters, temperature, stream)
    }
}

/// The column of the pixel at hand in each layer, and the rows that it is computed from. All
/// are [count, channels of the layer]; what an earlier colour has left there stays for the next.
struct Columns<'a> {
    of: &'a Steps,
    place: Place,
    x: Rows,
    first: Vec<f32>,
    blocks: Vec<Column>,
    stream: Vec<f32>,
    relu: Vec<f32>,
    head: Vec<f32>,
    logits: Vec<f32>,
}

/// One block's part of that.
struct Column {
    down: Vec<f32>,
    rows: Rows,
    middle: Vec<f32>,
    up: Vec<f32>,
}

impl Walk for Columns<'_> {
    fn conditional(&mut self) -> &[f32] {
        let (at, colour) = (self.place.pixel(), self.place.colour());
        let Steps {
            first,
            blocks,
            head,
            ..
        } = self.of;
        let (s, relu) = (&mut self.stream[..], &mut self.relu[..]);
        first.run(colour, self.x.window(at), &mut self.first, Identity);
        s.copy_from_slice(&self.first);
        for ([down, middle, up], column) in blocks.iter().zip(&mut self.blocks) {
            elementwise::unary(Unary::Relu, s, relu);
            down.run(colour, relu, &mut column.down, Relu);
            column.rows.put(at, &column.down);
            middle.run(colour, column.rows.window(at), &mut column.middle, Relu);
            up.run(colour, &column.middle, &mut column.up, Identity);
            elementwise::add_assign(s, &column.up);
        }
        elementwise::unary(Unary::Relu, s, relu);
        head[0].run(colour, relu, &mut self.head, Relu);
        head[1].run(colour, &self.head, &mut self.logits, Identity);
        self.place.parameters(&self.logits)
    }

    fn fix(&mut self, values: &[f32]) {
        let at = self.place.pixel();
        self.x.put(at, self.place.fix(values));
    }
}
