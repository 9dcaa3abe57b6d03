//! PixelRNN with Diagonal BiLSTMs.
//!
//! A. van den Oord, N. Kalchbrenner and K. Kavukcuoglu 2016, "Pixel Recurrent Neural Networks",
//! arXiv:1601.06759, section 3.2.
//!
//! States go along the diagonals from both upper corners, so a single layer sees every pixel
//! before. The network around the layers is in `pixel_rnn`, the layer in
//! `causal::diagonal_bilstm`.

use crate::density::Density;
use crate::pixel_rnn::{self, HYPERS, SMALL, recipe, sizes};
use nn::hyper::HyperError;
use nn::model::{Built, Entry, Preset, Setup};
use nn::{Builder, Params};

pub(crate) const ENTRY: Entry = Entry::new(
    "diagonal-bilstm",
    "PixelRNN: LSTMs along the diagonals from both sides, each pixel sees all before it",
    build,
)
.paper("van den Oord et al. 2016, arXiv:1601.06759")
.hypers(HYPERS)
.recipe(recipe)
.presets(&[Preset {
    name: "short",
    about: "Muon along a cosine, small batches; for binarised MNIST in under an hour",
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
",
}])
.small(SMALL);

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (sizes, pixels) = sizes(setup.hypers, &setup.image)?;
    let mut params = Params::new();
    let mut builder = Builder::new(&mut params, setup.seed);
    let model = pixel_rnn::diagonal_bilstm(&mut builder, setup.image, pixels, sizes);
    Ok((Box::new(Density(model)), params))
}
