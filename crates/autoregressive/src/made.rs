//! Masked autoencoder for distribution estimation.
//!
//! M. Germain, K. Gregor, I. Murray and H. Larochelle 2015, "MADE: Masked Autoencoder for
//! Distribution Estimation", arXiv:1502.03509.
//!
//! ```text
//! p(x) = prod_i p(x_o(i) | x_o(0), .., x_o(i-1))
//! h_l = relu(b_l + (M_l * W_l) h_(l-1)),   h_0 = x
//! logits = c + (M * V) h_L  [+ (M_d * A) x]
//! ```
//!
//! A unit of degree m sees the first m dimensions of the ordering, by way of units of degree at
//! most m; logit i sees units of degree at most i (equations 13 and 14). Degrees run evenly over
//! 1..D-1 in each layer; every mask deals them to the units in another way, and may have another
//! ordering (sections 4.2 and 4.3).
//!
//! Sorted by degree, units make a mask a staircase, and half of the multiply-adds are left out.
//! The first mask's units are sorted as they stand; for another mask the weights are brought into
//! its order on the way in, and their gradients back. No mask is ever written into the weights.

use crate::density::{Autoregressive, Density};
use crate::masked::{masked_linear, permute_columns};
use crate::ordering::{inverse, permutation};
use crate::sequential::Ready;
use grad::kernels::autoregressive::Staircase;
use grad::kernels::gemm::Activation;
use grad::{Element, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::layers::Linear;
use nn::model::{Built, Entry, ImageSpec, Preset, Recipe, Setup, Spread};
use nn::optim::Optimiser;
use nn::random::word;
use nn::schedule::Schedule;
use nn::{Bound, Builder, Params};
use std::sync::Arc;

mod walk;

pub(crate) const ENTRY: Entry = Entry::new("made", "masked autoencoder for distribution estimation", build).paper("Germain et al. 2015, arXiv:1502.03509").hypers(&[
        Hyper {
            name: "hidden",
            meaning: "units of each hidden layer",
            default: Value::Counts(&[8000]),
        },
        Hyper {
            name: "masks",
            meaning: "masks that training cycles through and the likelihood averages over",
            default: Value::Count(1),
        },
        Hyper {
            name: "shuffle",
            meaning: "whether each mask has a random ordering of the pixels, not the raster",
            default: Value::Flag(false),
        },
        Hyper {
            name: "direct",
            meaning: "whether pixels also feed the logits directly",
            default: Value::Flag(false),
        },
    ]).recipe(recipe).presets(&[
        Preset {
            name: "static",
            about: "against overfitting where the images are always the same: a quarter of the units, fewer epochs",
            settings: "\
batch_size = 100
epochs = 30
[schedule]
kind = \"cosine\"
[optimisers.nll]
kind = \"adam-w\"
lr = 0.002
weight_decay = 0.2
[hypers]
hidden = [2000]
direct = true
",
        },
        Preset {
            name: "dynamic",
            about: "for images binarised anew in each epoch: half the units; ten minutes for MNIST",
            settings: "\
batch_size = 100
epochs = 80
[schedule]
kind = \"cosine\"
[optimisers.nll]
kind = \"adam-w\"
lr = 0.003
weight_decay = 0.05
[hypers]
hidden = [4000]
direct = true
",
        },
    ]).binary().small(&[("hidden", "24"), ("masks", "2"), ("shuffle", "true")]);

/// Adam at 1e-3, batches of 64, 85 epochs (the paper: Adagrad at 1e-2, batches of 100).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::adam(1e-3))
        .schedule(Schedule::Constant)
        .batch_size(64)
        .epochs(85)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec, seed) = (setup.hypers, &setup.image, setup.seed);
    let options = Options {
        hidden: hypers.counts("hidden"),
        masks: hypers.count("masks"),
        shuffle: hypers.flag("shuffle"),
        direct: hypers.flag("direct"),
        seed,
    };
    let mut params = Params::new();
    let model = Made::new(&mut Builder::new(&mut params, seed), *spec, &options);
    Ok((Box::new(Density(model)), params))
}

/// The hyper-parameters of [`Made`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// How many masks there are.
    pub masks: usize,
    /// Whether each mask has a random ordering of its own.
    pub shuffle: bool,
    /// Whether there are direct connections from the pixels to the logits.
    pub direct: bool,
    /// What masks and orderings are drawn from.
    pub seed: u64,
}

/// The layers and masks. The values of the parameters live in [`Params`].
pub struct Made {
    spec: ImageSpec,
    /// x -> h_1 -> .. -> logits.
    layers: Vec<Linear>,
    /// x -> logits, without a bias.
    direct: Option<Linear>,
    masks: Vec<Mask>,
}

/// One ordering with one way of dealing degrees.
struct Mask {
    /// For each layer of units, the pixels first and the logits last: which unit comes where
    /// when they are sorted by degree; `None` if they are as they stand.
    sorted: Vec<Option<Arc<[u32]>>>,
    /// What each layer's weights look like between sorted units.
    stairs: Vec<Arc<Staircase>>,
    /// The same between pixels and logits.
    direct: Arc<Staircase>,
}

impl Made {
    /// A model for images of this kind.
    pub fn new(b: &mut Builder, spec: ImageSpec, options: &Options) -> Made {
        let dims = spec.dims();
        let sizes = [&[dims], &options.hidden[..], &[dims]].concat();
        let mut layers = b.scope("layers");
        let layers = (sizes.windows(2).enumerate())
            .map(|(i, io)| Linear::new(&mut layers.scope(i), io[0], io[1]))
            .collect();
        let direct = options.direct.then(|| {
            let init = nn::init::Init::ZEROS;
            Linear::with(&mut b.scope("direct"), dims, dims, init, false)
        });
        Made {
            masks: (0..options.masks)
                .map(|which| Mask::new(&sizes, which, options))
                .collect(),
            spec,
            layers,
            direct,
        }
    }
}

impl Mask {
    fn new(sizes: &[usize], which: usize, options: &Options) -> Mask {
        let dims = sizes[0];
        let last = sizes.len() - 1;
        // The degrees of the sorted units.
        let degrees = |layer: usize| -> Vec<usize> {
            if layer == 0 || layer == last {
                (1..=dims).collect()
            } else {
                let units = sizes[layer];
                (0..units).map(|k| 1 + k * (dims - 1) / units).collect()
            }
        };
        let deal = |layer: usize| -> Option<Arc<[u32]>> {
            let pixels = layer == 0 || layer == last;
            let dealt = if pixels { options.shuffle } else { which > 0 };
            dealt.then(|| {
                // Pixels and logits go by the same ordering.
                let layer = if pixels { 0 } else { layer };
                let words = [options.seed, word("mask"), which as u64, layer as u64];
                permutation(sizes[layer], &words)
            })
        };
        Mask {
            sorted: (0..=last).map(deal).collect(),
            stairs: (0..last)
                .map(|l| Staircase::by_degree(&degrees(l), &degrees(l + 1), l + 1 == last))
                .map(Arc::new)
                .collect(),
            direct: Arc::new(Staircase::by_degree(&degrees(0), &degrees(last), true)),
        }
    }

    /// w, rows and columns sorted as layers `from` and `to` are.
    fn sort<T: Element>(&self, w: &Var<T>, from: usize, to: usize) -> Var<T> {
        let w = match &self.sorted[from] {
            Some(rows) => w.gather_rows(rows.clone()),
            None => w.clone(),
        };
        permute_columns(&w, self.sorted[to].as_ref())
    }
}

impl Autoregressive for Made {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn orderings(&self) -> usize {
        self.masks.len()
    }

    fn dimension(&self, ordering: usize, i: usize) -> usize {
        (self.masks[ordering].sorted[0].as_ref()).map_or(i, |order| order[i] as usize)
    }

    fn logits<T: Element>(&self, p: &Bound<T>, x: &Var<T>, ordering: usize) -> Var<T> {
        let mask = &self.masks[ordering];
        let x = x.reshape([x.shape()[0], self.spec.dims()]);
        let x = permute_columns(&x, mask.sorted[0].as_ref());
        let last = self.layers.len() - 1;
        let mut h = x.clone();
        for (l, layer) in self.layers.iter().enumerate() {
            let weight = mask.sort(&p[layer.weight()], l, l + 1);
            let bias = layer.bias().map(|bias| {
                let row = p[bias].reshape([1, layer.outputs()]);
                permute_columns(&row, mask.sorted[l + 1].as_ref()).reshape([layer.outputs()])
            });
            let activation = if l < last {
                Activation::Relu
            } else {
                Activation::Identity
            };
            h = masked_linear(&mask.stairs[l], &h, &weight, bias.as_ref(), activation);
        }
        if let Some(direct) = &self.direct {
            let weight = mask.sort(&p[direct.weight()], 0, last + 1);
            h = h + masked_linear(&mask.direct, &x, &weight, None, Activation::Identity);
        }
        permute_columns(&h, mask.sorted[0].as_deref().map(inverse).as_ref())
    }

    fn ready<'a>(&'a self, p: &Bound<f32>, ordering: usize) -> Box<dyn Ready + 'a> {
        Box::new(walk::Weights::new(self, p, ordering))
    }

    /// Where a gradient is as large as that of 8000 hidden units, no lane gets one of its own.
    fn spread(&self, batch_size: usize) -> Spread {
        let connections: usize = (self.layers.iter()).map(|l| l.inputs() * l.outputs()).sum();
        if connections > 2 << 20 {
            Spread::IntraOp
        } else {
            Spread::Lanes(batch_size.div_ceil(2).max(1))
        }
    }
}
