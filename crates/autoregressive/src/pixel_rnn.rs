//! What the two forms of PixelRNN share: everything but the recurrent layer.
//!
//! A. van den Oord, N. Kalchbrenner and K. Kavukcuoglu 2016, "Pixel Recurrent Neural Networks",
//! arXiv:1601.06759, sections 3.1 to 3.4, table 1.
//!
//! ```text
//! p(x) = prod_i p(x_i | x_<i)                 pixels row by row, colours in turn
//!
//! s = conv 7x7, mask A (x)                    s: [H, W, 2 hidden], the residual stream
//! layers times:
//!     s = s + conv 1x1 (LSTM (s))             the LSTM: [H, W, hidden]
//! logits = conv 1x1 (relu conv 1x1 (relu s))
//! ```
//!
//! As in PixelCNN there is no connection around the first layer.

use crate::causal::{Causal, Centred, DiagonalBiLstm, Masked, Relu, Residual, RowLstm, Widened};
use crate::walk::Network;
use grad::kernels::gemm::Activation;
use nn::Builder;
use nn::dist::pixels::{self, Pixels};
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::masks::Causal as Mask;
use nn::model::{ImageSpec, Recipe, Setup};
use nn::optim::Optimiser;

/// How large a PixelRNN is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Numbers of a state; the residual stream has twice as many.
    pub hidden: usize,
    /// Recurrent layers.
    pub layers: usize,
    /// Channels between the last two layers.
    pub head: usize,
}

pub(crate) const HYPERS: &[Hyper] = &[
    Hyper {
        name: "hidden",
        meaning: "numbers of a state; the residual stream has twice as many",
        default: Value::Count(16),
    },
    Hyper {
        name: "layers",
        meaning: "recurrent layers",
        default: Value::Count(7),
    },
    Hyper {
        name: "head",
        meaning: "channels between the last two layers",
        default: Value::Count(32),
    },
    pixels::KIND,
    pixels::COMPONENTS,
];

/// Sizes for a test.
pub(crate) const SMALL: &[(&str, &str)] = &[("hidden", "4"), ("layers", "2"), ("head", "4")];

/// RMSProp at 1e-3, batches of 16, as in the paper.
pub(crate) fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::rms_prop(1e-3))
        .batch_size(16)
        .epochs(30)
}

/// What the hyper-parameters say, for images of this kind.
pub(crate) fn sizes(hypers: &Hypers, spec: &ImageSpec) -> Result<(Sizes, Pixels), HyperError> {
    let sizes = Sizes {
        hidden: hypers.count("hidden"),
        layers: hypers.count("layers"),
        head: hypers.count("head"),
    };
    if sizes.hidden < spec.channels || sizes.head < spec.channels {
        return Err(hypers.unfit(format!(
            "expected a hidden of at least {} and a head of {} for pixels of so many colours, \
             found {} and {}",
            spec.channels, spec.channels, sizes.hidden, sizes.head
        )));
    }
    Ok((sizes, Pixels::chosen(hypers, spec)?))
}

/// The layers of a PixelRNN whose recurrent ones are `L`.
pub type Layers<L> = (Masked, Vec<Residual<(L, Masked)>>, (Relu, Masked, Masked));

/// PixelRNN with Row LSTMs.
pub type RowLstmNetwork = Network<Centred<Layers<RowLstm>>>;

/// PixelRNN with Diagonal BiLSTMs. What comes from the right begins behind the last column, or the
/// last pixel of the row above would be seen by few.
pub type DiagonalBiLstmNetwork = Network<Centred<Widened<Layers<DiagonalBiLstm>>>>;

/// A PixelRNN of Row LSTMs.
///
/// # Panics
/// If there are fewer channels in a layer than colours in a pixel.
pub fn row_lstm(b: &mut Builder, spec: ImageSpec, pixels: Pixels, sizes: Sizes) -> RowLstmNetwork {
    let layers = layers(b, &spec, pixels, sizes, RowLstm::new);
    Network::of(spec, pixels, Centred::new(&spec, layers)).lanes(LANES)
}

/// A PixelRNN of Diagonal BiLSTMs.
///
/// # Panics
/// If there are fewer channels in a layer than colours in a pixel.
pub fn diagonal_bilstm(
    b: &mut Builder,
    spec: ImageSpec,
    pixels: Pixels,
    sizes: Sizes,
) -> DiagonalBiLstmNetwork {
    let layers = layers(b, &spec, pixels, sizes, DiagonalBiLstm::new);
    Network::of(spec, pixels, Centred::new(&spec, Widened(layers))).lanes(LANES)
}

/// `layer` makes a recurrent layer of (inputs, hidden, colours).
fn layers<L: Causal>(
    b: &mut Builder,
    spec: &ImageSpec,
    pixels: Pixels,
    sizes: Sizes,
    layer: fn(&mut Builder, usize, usize, usize) -> L,
) -> Layers<L> {
    let Sizes {
        hidden,
        layers,
        head,
    } = sizes;
    let colours = spec.channels;
    assert!(
        hidden >= colours && head >= colours,
        "pixel rnn: {sizes:?} for {colours} colours"
    );
    let stream = 2 * hidden;
    let masked = |b: &mut Builder, name: &str, io, k, mask, activation| {
        Masked::new(&mut b.scope(name), io, [k, k], mask, colours, activation)
    };
    let (identity, relu) = (Activation::Identity, Activation::Relu);
    let first = masked(b, "first", [colours, stream], 7, Mask::A, identity);
    let outputs = colours * pixels.width();
    let head = (
        Relu,
        masked(b, "head.0", [stream, head], 1, Mask::B, relu),
        masked(b, "head.1", [head, outputs], 1, Mask::B, identity),
    );
    let residual = |i: usize| {
        let mut scope = b.scope("layers");
        let mut scope = scope.scope(i);
        let recurrent = layer(&mut scope.scope("lstm"), stream, hidden, colours);
        let up = masked(&mut scope, "up", [hidden, stream], 1, Mask::B, identity);
        Residual((recurrent, up))
    };
    let residuals = (0..layers).map(residual).collect();
    (first, residuals, head)
}

/// Images of a micro-batch: what a layer leaves for the backward pass stays in the cache.
const LANES: usize = 1;
