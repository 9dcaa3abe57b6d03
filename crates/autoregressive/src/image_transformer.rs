//! Image Transformer: masked attention over the dimensions of an image, one token for each.
//!
//! N. Parmar, A. Vaswani, J. Uszkoreit, L. Kaiser, N. Shazeer, A. Ku and D. Tran 2018, "Image
//! Transformer", arXiv:1802.05751.
//!
//! ```text
//! p(x) = prod_i p(x_o(i) | x_o(0), .., x_o(i-1))        an order o of all colours of all pixels
//!
//! h_i = value(x_o(i-1)) + place(o(i)) + class           tokens [H W C, channels]
//! layers times:
//!     h = h + attention(norm h),   h = h + conv 1x1 (relu conv 1x1 (norm h))
//! logits_i = linear(norm h_i)
//! ```
//!
//! Attention sees all tokens before and its own, or those near: 1D local, the rest of its block of
//! the sequence and a memory of what came before that (section 3.3, figure 1 left); 2D local, the
//! rest of its rectangle of the image and a flange above and beside it (figure 1 right). With
//! rectangles the order goes through them one after the other, and through the rows of each.

use crate::causal::{
    Attention, Dropped, Masked, Norm, Positions, Residual, Sublayer, Tokens, Values,
};
use crate::density::Density;
use crate::walk::Network;
use grad::kernels::attention::Pattern;
use grad::kernels::gemm::Activation::{Identity, Relu};
use nn::dist::pixels::{self, Pixels};
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::{Built, Entry, ImageSpec, Preset, Recipe, Setup};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Builder, Params};
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry::new(
    "image-transformer",
    "masked self-attention over pixels, full or local",
    build,
)
.paper("Parmar et al. 2018, arXiv:1802.05751")
.hypers(&[
    Hyper {
        name: "channels",
        meaning: "numbers of a token",
        default: Value::Count(64),
    },
    Hyper {
        name: "layers",
        meaning: "layers of attention, each with a perceptron behind it",
        default: Value::Count(8),
    },
    Hyper {
        name: "heads",
        meaning: "heads of a layer of attention; they divide the channels",
        default: Value::Count(2),
    },
    Hyper {
        name: "inner",
        meaning: "hidden units of a perceptron",
        default: Value::Count(256),
    },
    Hyper {
        name: "attention",
        meaning: "whom a token sees: all before it, or the near ones along the sequence or in the image",
        default: Value::Choice(&["full", "local-1d", "local-2d"]),
    },
    Hyper {
        name: "query",
        meaning: "tokens of a block; for attention=local-1d",
        default: Value::Count(256),
    },
    Hyper {
        name: "memory",
        meaning: "tokens before its block that a token sees; for attention=local-1d",
        default: Value::Count(256),
    },
    Hyper {
        name: "block",
        meaning: "rows and columns of a block of pixels; for attention=local-2d",
        default: Value::Counts(&[8, 8]),
    },
    Hyper {
        name: "flange",
        meaning: "how many pixels beyond its block are seen above, and to either side; for attention=local-2d",
        default: Value::Counts(&[8, 8]),
    },
    Hyper {
        name: "norm",
        meaning: "whether layers normalise what they see, or their sum with it",
        default: Value::Choice(&["pre", "post"]),
    },
    Hyper {
        name: "positions",
        meaning: "how a token knows its place",
        default: Value::Choice(&["learned", "sinusoidal"]),
    },
    Hyper {
        name: "values",
        meaning: "how a value enters: a table of all levels of each colour, or the number",
        default: Value::Choice(&["embedded", "real"]),
    },
    Hyper {
        name: "dropout",
        meaning: "share of each layer's output that is dropped in training",
        default: Value::Number(0.0),
    },
    Hyper {
        name: "conditional",
        meaning: "whether the class of an image is added to its tokens",
        default: Value::Flag(false),
    },
    pixels::KIND,
    pixels::COMPONENTS,
])
.recipe(recipe)
.presets(&[
    Preset {
        name: "short",
        about: "Muon along a cosine, small batches; for binarised MNIST in about an hour",
        settings: "\
batch_size = 32
epochs = 8
[schedule]
kind = \"warmup-cosine\"
steps = 200
[optimisers.nll]
kind = \"muon\"
lr = 0.004
weight_decay = 0.02
",
    },
    Preset {
        name: "cifar-10",
        about: "RGB, 2D local attention, a mixture of logistics; a few passes along a cosine",
        settings: "\
batch_size = 8
epochs = 2
[schedule]
kind = \"warmup-cosine\"
steps = 300
[optimisers.nll]
kind = \"muon\"
lr = 0.004
weight_decay = 0.02
[hypers]
channels = 128
layers = 6
heads = 4
inner = 512
attention = \"local-2d\"
values = \"real\"
pixels = \"logistics\"
",
    },
])
.small(&[
    ("channels", "8"),
    ("layers", "2"),
    ("heads", "2"),
    ("inner", "8"),
    ("attention", "local-2d"),
    ("block", "3,4"),
    ("flange", "2,1"),
]);

/// Adam at 1e-3, warmed up, then along a cosine; batches of 16.
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::adam(1e-3))
        .schedule(Schedule::WarmupCosine { steps: 500 })
        .batch_size(16)
        .epochs(10)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let sizes = Sizes::of(setup.hypers, &setup.image)?;
    let pixels = Pixels::chosen(setup.hypers, &setup.image)?;
    let mut params = Params::new();
    let mut builder = Builder::new(&mut params, setup.seed);
    let model = image_transformer(&mut builder, setup.image, pixels, sizes);
    Ok((Box::new(Density(model)), params))
}

/// Whom a token sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// All before it.
    Full,
    /// Those of its block, and a memory before it.
    Sequence {
        /// Tokens of a block.
        query: usize,
        /// Tokens of the memory.
        memory: usize,
    },
    /// Those of its rectangle, and a flange above and to either side.
    Image {
        /// Rows and columns of a rectangle, in pixels.
        block: [usize; 2],
        /// How far it reaches up and to either side, in pixels.
        flange: [usize; 2],
    },
}

impl Local {
    /// The pattern over the tokens of such images.
    pub fn pattern(&self, spec: &ImageSpec) -> Pattern {
        let colours = spec.channels;
        match *self {
            Local::Full => Pattern::Causal { strict: false },
            Local::Sequence { query, memory } => Pattern::Local { query, memory },
            // A row of tokens has the colours of each pixel side by side.
            Local::Image { block, flange } => Pattern::Local2d {
                size: [spec.height, spec.width * colours],
                query: [block[0], block[1].saturating_mul(colours)],
                flange: [flange[0], flange[1].saturating_mul(colours)],
            },
        }
    }
}

/// What an Image Transformer is like.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Numbers of a token.
    pub channels: usize,
    /// Layers of attention.
    pub layers: usize,
    /// Heads of each.
    pub heads: usize,
    /// Hidden units of a perceptron.
    pub inner: usize,
    /// Whom a token sees.
    pub local: Local,
    /// Whether layers normalise what they see, and not their sum with it.
    pub norm_before: bool,
    /// How a token knows its place.
    pub positions: Positions,
    /// How a value enters.
    pub values: Values,
    /// The share of each layer's output that is dropped in training.
    pub dropout: f64,
    /// How many classes there are, if the model is conditional.
    pub classes: Option<usize>,
}

impl Sizes {
    fn of(hypers: &Hypers, spec: &ImageSpec) -> Result<Sizes, HyperError> {
        let pair = |name: &str| {
            let counts = hypers.counts(name);
            <[usize; 2]>::try_from(&counts[..]).map_err(|_| {
                hypers.unfit(format!(
                    "{name}: expected two counts, rows and columns, found {}",
                    counts.len()
                ))
            })
        };
        let sizes = Sizes {
            channels: hypers.count("channels"),
            layers: hypers.count("layers"),
            heads: hypers.count("heads"),
            inner: hypers.count("inner"),
            local: match hypers.choice("attention") {
                "local-1d" => Local::Sequence {
                    query: hypers.count("query"),
                    memory: hypers.count("memory"),
                },
                "local-2d" => Local::Image {
                    block: pair("block")?,
                    flange: pair("flange")?,
                },
                _ => Local::Full,
            },
            norm_before: hypers.choice("norm") == "pre",
            positions: match hypers.choice("positions") {
                "sinusoidal" => Positions::Sinusoidal,
                _ => Positions::Learned,
            },
            values: match hypers.choice("values") {
                "real" => Values::Real,
                _ => Values::Embedded,
            },
            dropout: hypers.number("dropout"),
            classes: match (hypers.flag("conditional"), spec.classes) {
                (false, _) => None,
                (true, Some(classes)) => Some(classes),
                (true, None) => {
                    return Err(
                        hypers.unfit("conditional needs images with labels; these have none")
                    );
                }
            },
        };
        if !sizes.channels.is_multiple_of(sizes.heads) {
            return Err(hypers.unfit(format!(
                "expected channels that the heads divide, found {} channels and {} heads",
                sizes.channels, sizes.heads
            )));
        }
        if !(0.0..1.0).contains(&sizes.dropout) {
            return Err(hypers.unfit(format!(
                "dropout: expected a rate of at least 0 and less than 1, found {}",
                sizes.dropout
            )));
        }
        Ok(sizes)
    }
}

/// A layer: attention, then a perceptron.
pub type Layer = (
    Sublayer<Dropped<Attention>>,
    Sublayer<Dropped<(Masked, Masked)>>,
);

/// The network: tokens, layers, the last normalisation, the parameters of each distribution.
pub type ImageTransformer = Network<(Tokens, Vec<Layer>, Vec<Norm>, Masked)>;

/// An Image Transformer for images of this kind.
///
/// # Panics
/// If the heads do not divide the channels, or the rate of dropout is not in [0, 1).
pub fn image_transformer(
    b: &mut Builder,
    spec: ImageSpec,
    pixels: Pixels,
    sizes: Sizes,
) -> ImageTransformer {
    let (channels, length) = (sizes.channels, spec.dims());
    let pattern = sizes.local.pattern(&spec);
    let order: Arc<[u32]> = (pattern.turns(length).iter())
        .map(|turn| turn.position as u32)
        .collect();
    let kinds = (sizes.values, sizes.positions);
    let tokens = Tokens::new(
        &mut b.scope("tokens"),
        &spec,
        &order,
        channels,
        kinds,
        sizes.classes,
    );
    let layers = (0..sizes.layers).map(|i| {
        let mut scope = b.scope("layers");
        let mut b = scope.scope(i);
        let attention = Attention::new(
            &mut b.scope("attention"),
            channels,
            sizes.heads,
            pattern,
            length,
        );
        let mut linear = |name, io, activation| {
            Masked::pointwise(&mut b.scope("perceptron").scope(name), io, activation)
        };
        let perceptron = (
            linear("0", [channels, sizes.inner], Relu),
            linear("1", [sizes.inner, channels], Identity),
        );
        let name = |part: &str| format!("layers.{i}.{part}");
        (
            sublayer(
                &mut b.scope("attention"),
                &sizes,
                attention,
                &name("attention"),
            ),
            sublayer(
                &mut b.scope("perceptron"),
                &sizes,
                perceptron,
                &name("perceptron"),
            ),
        )
    });
    let layers = layers.collect();
    let norm = (sizes.norm_before).then(|| Norm::new(&mut b.scope("norm"), channels));
    let out = Masked::pointwise(&mut b.scope("out"), [channels, pixels.width()], Identity);
    let layers = (tokens, layers, norm.into_iter().collect(), out);
    Network::of(spec, pixels, layers)
        .classes(sizes.classes)
        .order(order)
        .together(TOGETHER)
}

/// Images that walk together: keys and values of more do not stay in the cache.
const TOGETHER: usize = 4;

fn sublayer<L>(b: &mut Builder, sizes: &Sizes, layer: L, name: &str) -> Sublayer<Dropped<L>> {
    let norm = Norm::new(&mut b.scope("norm"), sizes.channels);
    let layer = Dropped::new(layer, sizes.dropout, name);
    match sizes.norm_before {
        true => Sublayer::Before(Residual((norm, layer))),
        false => Sublayer::Behind((Residual(layer), norm)),
    }
}
