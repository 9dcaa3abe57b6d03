//! Orderless NADE: one network for the conditionals of every ordering.
//!
//! B. Uria, I. Murray and H. Larochelle 2014, "A Deep and Tractable Density Estimator",
//! arXiv:1310.1757.
//!
//! ```text
//! m: which pixels are known
//! h_1 = relu(b_1 + (x * m) W + m M),   h_l = relu(b_l + h_(l-1) W_l)
//! logit_d = c_d + <v_d, h_L>                     p(x_d | the known pixels)
//! ```
//!
//! Training draws for each image an ordering and how many of its pixels, n of D, are known. The
//! sum of -log p over the unknown ones, times D / (D - n), is then an unbiased estimate of
//! -log p(x) for a random ordering (equation 7). The likelihood is that of the equal mixture of
//! some fixed orderings (section 5).

use crate::density::{Autoregressive, Density};
use crate::ordering::permutation;
use crate::sequential::{Ready, Walk};
use grad::kernels::elementwise::{add_assign, axpy};
use grad::kernels::gemm::Activation;
use grad::{Element, Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::init::Init;
use nn::layers::Linear;
use nn::model::{Batch, Built, Entry, ImageSpec, Preset, Recipe, Setup, Spread};
use nn::optim::Optimiser;
use nn::random::{uniform, word};
use nn::schedule::Schedule;
use nn::{Bound, Builder, ParamId, Params};
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry::new(
    "orderless-nade",
    "one network for the conditionals of every ordering of the pixels",
    build,
)
.paper("Uria, Murray & Larochelle 2014, arXiv:1310.1757")
.hypers(&[
    Hyper {
        name: "hidden",
        meaning: "units of each hidden layer",
        default: Value::Counts(&[500, 500]),
    },
    Hyper {
        name: "orderings",
        meaning: "random orderings that the likelihood averages over; each costs a pass",
        default: Value::Count(1),
    },
])
.recipe(recipe)
.presets(&[Preset {
    name: "short",
    about: "fewer epochs, for two cores",
    settings: "\
batch_size = 100
epochs = 60
[schedule]
kind = \"cosine\"
[optimisers.nll]
kind = \"adam-w\"
lr = 0.001
weight_decay = 0.01
",
}])
.binary()
.small(&[("hidden", "8,8"), ("orderings", "2")]);

/// Adam at 1e-3 along a cosine, batches of 100, 200 epochs (the paper: stochastic gradients with
/// momentum, a learning rate that falls to 0, batches of 100 and 1000 epochs of 1000 of them).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::adam(1e-3))
        .schedule(Schedule::Cosine)
        .batch_size(100)
        .epochs(200)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec, seed) = (setup.hypers, &setup.image, setup.seed);
    let (hidden, orderings) = (hypers.counts("hidden"), hypers.count("orderings"));
    let mut params = Params::new();
    let mut builder = Builder::new(&mut params, seed);
    let model = OrderlessNade::new(&mut builder, *spec, &hidden, orderings, seed);
    Ok((Box::new(Density(model)), params))
}

/// The layers and orderings. The values of the parameters live in [`Params`].
pub struct OrderlessNade {
    spec: ImageSpec,
    orders: Vec<Arc<[u32]>>,
    /// W: `[D, H]`.
    pixels: ParamId,
    /// M: `[D, H]`.
    known: ParamId,
    /// b_1: `[H]`.
    begin: ParamId,
    /// h_1 -> h_2 -> ..
    layers: Vec<Linear>,
    /// v: `[D, H]`.
    out: ParamId,
    /// c: `[D]`.
    bias: ParamId,
}

impl OrderlessNade {
    /// A model for images of this kind, with random orderings that follow from the seed.
    ///
    /// # Panics
    /// Without a hidden layer.
    pub fn new(
        b: &mut Builder,
        spec: ImageSpec,
        hidden: &[usize],
        orderings: usize,
        seed: u64,
    ) -> OrderlessNade {
        let (Some(&first), Some(&last)) = (hidden.first(), hidden.last()) else {
            panic!("orderless nade: there is no hidden layer");
        };
        let dims = spec.dims();
        let within = |n: usize| {
            let bound = (n as f64).sqrt().recip();
            Init::Uniform {
                low: -bound,
                high: bound,
            }
        };
        let order = |i| permutation(dims, &[seed, word("ordering"), i as u64]);
        let mut weight =
            |name, shape, n| b.param(name, shape, |s, stream| within(n).draw(s, stream));
        let pixels = weight("pixels", [dims, first], 2 * dims);
        let known = weight("known", [dims, first], 2 * dims);
        let out = weight("out", [dims, last], last);
        OrderlessNade {
            spec,
            orders: (0..orderings).map(order).collect(),
            pixels,
            known,
            begin: b.param("begin", [first], |s, stream| Init::ZEROS.draw(s, stream)),
            layers: (hidden.windows(2).enumerate())
                .map(|(i, io)| Linear::new(&mut b.scope("layers").scope(i), io[0], io[1]))
                .collect(),
            out,
            bias: b.param("bias", [dims], |s, stream| Init::ZEROS.draw(s, stream)),
        }
    }

    /// h_L, `[B, H]`, from the sums into the first hidden layer.
    fn hidden<T: Element>(&self, p: &Bound<T>, sums: &Var<T>) -> Var<T> {
        (self.layers.iter()).fold(sums.relu(), |h, layer| {
            layer.forward_with(p, &h, Activation::Relu)
        })
    }

    /// The logits of all pixels given those that m, `[B, D]` in {0, 1}, marks: `[B, D]`.
    pub fn logits_given<T: Element>(&self, p: &Bound<T>, x: &Var<T>, m: &Var<T>) -> Var<T> {
        let sums = (x * m).matmul(&p[self.pixels]) + m.matmul(&p[self.known]) + &p[self.begin];
        let h = self.hidden(p, &sums);
        h.matmul_with(&p[self.out], false, true) + &p[self.bias]
    }
}

impl Autoregressive for OrderlessNade {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn orderings(&self) -> usize {
        self.orders.len()
    }

    fn dimension(&self, ordering: usize, i: usize) -> usize {
        self.orders[ordering][i] as usize
    }

    /// Pixel by pixel; the sums into the first layer are carried along.
    fn logits<T: Element>(&self, p: &Bound<T>, x: &Var<T>, ordering: usize) -> Var<T> {
        let (rows, dims) = (x.shape()[0], self.spec.dims());
        let x = x.reshape([rows, dims]);
        let begin = &p[self.begin];
        let mut sums = begin.broadcast_to([rows, begin.shape()[0]]);
        let mut logits = vec![None; dims];
        for &d in &self.orders[ordering][..] {
            let d = d as usize;
            let row = |id: ParamId| p[id].slice(0, d..d + 1);
            let h = self.hidden(p, &sums);
            let bias = p[self.bias].slice(0, d..d + 1);
            logits[d] = Some(h.matmul_with(&row(self.out), false, true) + bias);
            sums = sums + x.slice(1, d..d + 1) * row(self.pixels) + row(self.known);
        }
        let logits: Vec<&Var<T>> = logits.iter().flatten().collect();
        Var::concat(&logits, 1)
    }

    fn ready<'a>(&'a self, p: &Bound<f32>, ordering: usize) -> Box<dyn Ready + 'a> {
        let value = |id: ParamId| p[id].value().clone();
        let layer = |layer: &Linear| {
            let bias = layer.bias().expect("the hidden layers have biases");
            (value(layer.weight()), value(bias))
        };
        Box::new(Weights {
            model: self,
            ordering,
            pixels: value(self.pixels),
            known: value(self.known),
            begin: value(self.begin),
            layers: self.layers.iter().map(layer).collect(),
            out: value(self.out),
            bias: value(self.bias),
        })
    }

    /// The unbiased estimate of the paper: one pass, a random ordering for each image.
    fn loss(&self, p: &Bound<f32>, batch: &Batch, _ordering: usize) -> Var<f32> {
        let (rows, dims) = (batch.len(), self.spec.dims());
        let x = Var::constant(batch.images.reshape([rows, dims]));
        let mut weights = Tensor::zeros([rows, dims]);
        let known = Tensor::build([rows, dims], |known| {
            let weights = weights.make_mut().chunks_exact_mut(dims);
            for (i, (known, weights)) in known.chunks_exact_mut(dims).zip(weights).enumerate() {
                let mut noise = batch.stream(i, word("ordering"));
                let n = (uniform(&mut noise) * dims as f64) as usize;
                let order = permutation(dims, &[batch.noise[i], word("order")]);
                known.fill(0.0);
                weights.fill(dims as f32 / (dims - n) as f32);
                for &d in &order[..n] {
                    known[d as usize] = 1.0;
                    weights[d as usize] = 0.0;
                }
            }
        });
        let logits = self.logits_given(p, &x, &Var::constant(known));
        let nats = logits.softplus() - logits * x;
        (nats * Var::constant(weights)).sum()
    }

    fn spread(&self, batch_size: usize) -> Spread {
        Spread::Lanes(batch_size.div_ceil(2).max(1))
    }
}

struct Weights<'a> {
    model: &'a OrderlessNade,
    ordering: usize,
    pixels: Tensor<f32>,
    known: Tensor<f32>,
    begin: Tensor<f32>,
    layers: Vec<(Tensor<f32>, Tensor<f32>)>,
    out: Tensor<f32>,
    bias: Tensor<f32>,
}

impl Ready for Weights<'_> {
    fn begin(&self, count: usize, _classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        // Whole blocks: a product's bits may depend on how many rows it has.
        Box::new(Sums {
            of: self,
            sums: self.begin.data().repeat(count.next_multiple_of(BLOCK)),
            known: 0,
            next: vec![0.0; count],
        })
    }
}

/// Images whose hidden layers are one product.
const BLOCK: usize = 16;

/// The sums into the first hidden layer, `[count, H]`, of images of which some pixels are known.
struct Sums<'a> {
    of: &'a Weights<'a>,
    sums: Vec<f32>,
    known: usize,
    next: Vec<f32>,
}

fn row(of: &Tensor<f32>, d: usize) -> &[f32] {
    let width = of.shape()[1];
    &of.data()[d * width..(d + 1) * width]
}

impl Walk for Sums<'_> {
    fn conditional(&mut self) -> &[f32] {
        let units = self.of.begin.len();
        let d = self.of.model.dimension(self.of.ordering, self.known);
        let (out, bias) = (row(&self.of.out, d), self.of.bias.data()[d]);
        let blocks = self.sums.chunks_exact(BLOCK * units);
        for (sums, next) in blocks.zip(self.next.chunks_mut(BLOCK)) {
            let mut h = Var::constant(Tensor::new([BLOCK, units], sums)).relu();
            for (w, b) in &self.of.layers {
                let [w, b] = [w, b].map(|x| Var::constant(x.clone()));
                h = h.linear(&w, Some(&b), Activation::Relu);
            }
            let out = Var::constant(Tensor::new([1, out.len()], out));
            let logits = h.matmul_with(&out, false, true);
            for (next, logit) in next.iter_mut().zip(logits.value().data()) {
                *next = logit + bias;
            }
        }
        &self.next
    }

    fn fix(&mut self, values: &[f32]) {
        assert_eq!(values.len(), self.next.len(), "fix: a value for each image");
        let units = self.of.begin.len();
        let d = self.of.model.dimension(self.of.ordering, self.known);
        for (sums, &x) in self.sums.chunks_exact_mut(units).zip(values) {
            if x != 0.0 {
                axpy(x, row(&self.of.pixels, d), sums);
            }
            add_assign(sums, row(&self.of.known, d));
        }
        self.known += 1;
    }
}
