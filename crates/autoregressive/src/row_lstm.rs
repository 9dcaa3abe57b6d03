//! PixelRNN with Row LSTMs.
//!
//! A. van den Oord, N. Kalchbrenner and K. Kavukcuoglu 2016, "Pixel Recurrent Neural Networks",
//! arXiv:1601.06759, section 3.1.
//!
//! The state of a pixel comes from the pixel above it, and its gates see three states of the row
//! above: a layer sees a triangle, and all layers together a wider one, but not all pixels before.
//! The network around the layers is in `pixel_rnn`, the layer in `causal::row_lstm`.

use crate::density::Density;
use crate::pixel_rnn::{self, HYPERS, SMALL, recipe, sizes};
use nn::hyper::HyperError;
use nn::model::{Built, Entry, Preset, Setup};
use nn::{Builder, Params};

pub(crate) const ENTRY: Entry = Entry::new(
    "row-lstm",
    "PixelRNN: LSTMs from row to row, each pixel sees a triangle above it",
    build,
)
.paper("van den Oord et al. 2016, arXiv:1601.06759")
.hypers(HYPERS)
.recipe(recipe)
.presets(&[Preset {
    name: "short",
    about: "Muon along a cosine, wider states; for binarised MNIST in under an hour",
    settings: "\
batch_size = 32
epochs = 16
[schedule]
kind = \"warmup-cosine\"
steps = 200
[optimisers.nll]
kind = \"muon\"
lr = 0.006
weight_decay = 0.05
[hypers]
hidden = 32
",
}])
.small(SMALL);

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (sizes, pixels) = sizes(setup.hypers, &setup.image)?;
    let mut params = Params::new();
    let mut builder = Builder::new(&mut params, setup.seed);
    let model = pixel_rnn::row_lstm(&mut builder, setup.image, pixels, sizes);
    Ok((Box::new(Density(model)), params))
}
