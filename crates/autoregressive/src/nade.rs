//! Neural autoregressive distribution estimator.
//!
//! H. Larochelle and I. Murray 2011, "The Neural Autoregressive Distribution Estimator" (AISTATS,
//! JMLR W&CP 15).
//!
//! ```text
//! p(x) = prod_d p(x_d | x_<d)                    pixels in raster order
//! h_d = act(b + sum_(j < d) x_j w_j)             equation 5, the sum carried from d to d + 1
//! logit_d = c_d + <v_d, h_d>                     equation 6
//! ```
//!
//! The columns w_j are shared by all conditionals, so a pass costs O(D H): algorithm 1, with the
//! logits and not the probabilities for a result.

use crate::density::{Autoregressive, Density};
use crate::sequential::{Ready, Walk};
use grad::kernels::autoregressive::nade::{self, Activation, Gradients, Nade as Net};
use grad::{Element, Op, Saves, Tensor, Var, Vjp};
use nn::hyper::{Hyper, HyperError, Value};
use nn::init::Init;
use nn::model::{Built, Entry, ImageSpec, Preset, Recipe, Setup, Spread};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Bound, Builder, ParamId, Params};

pub(crate) const ENTRY: Entry = Entry::new(
    "nade",
    "neural autoregressive distribution estimator: one hidden layer, tied weights",
    build,
)
.paper("Larochelle & Murray 2011")
.hypers(&[
    Hyper {
        name: "hidden",
        meaning: "hidden units",
        default: Value::Count(500),
    },
    Hyper {
        name: "activation",
        meaning: "what a hidden unit computes; the paper's is the sigmoid",
        default: Value::Choice(&["relu", "sigmoid"]),
    },
])
.recipe(recipe)
.presets(&[Preset {
    name: "short",
    about: "small batches and much weight decay, for few images such as binarised MNIST; minutes",
    settings: "\
batch_size = 100
epochs = 60
[schedule]
kind = \"cosine\"
[optimisers.nll]
kind = \"adam-w\"
lr = 0.005
weight_decay = 0.2
",
}])
.binary()
.small(&[("hidden", "8")]);

/// AdamW at 1e-3 along a cosine, batches of 512, 50 epochs (the paper: stochastic gradients,
/// batches of 1, early stopping).
fn recipe(_: &Setup) -> Recipe {
    Recipe::new("nll", Optimiser::adam_w(1e-3))
        .schedule(Schedule::Cosine)
        .batch_size(512)
        .epochs(50)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec, seed) = (setup.hypers, &setup.image, setup.seed);
    let activation = match hypers.choice("activation") {
        "sigmoid" => Activation::Sigmoid,
        _ => Activation::Relu,
    };
    let mut params = Params::new();
    let mut builder = Builder::new(&mut params, seed);
    let model = Nade::new(&mut builder, *spec, hypers.count("hidden"), activation);
    Ok((Box::new(Density(model)), params))
}

/// The weights' places. The values live in [`Params`].
pub struct Nade {
    spec: ImageSpec,
    activation: Activation,
    /// w: `[D, H]`.
    into: ParamId,
    /// b: `[H]`.
    begin: ParamId,
    /// v: `[D, H]`.
    out: ParamId,
    /// c: `[D]`.
    bias: ParamId,
}

impl Nade {
    /// A model for images of this kind with so many hidden units.
    pub fn new(b: &mut Builder, spec: ImageSpec, hidden: usize, activation: Activation) -> Nade {
        let dims = spec.dims();
        // A logit has `hidden` inputs, a hidden unit up to `dims`.
        let within = |n: usize| {
            let bound = (n as f64).sqrt().recip();
            Init::Uniform {
                low: -bound,
                high: bound,
            }
        };
        Nade {
            spec,
            activation,
            into: b.param("into", [dims, hidden], |shape, s| {
                within(dims).draw(shape, s)
            }),
            begin: b.param("begin", [hidden], |shape, s| Init::ZEROS.draw(shape, s)),
            out: b.param("out", [dims, hidden], |shape, s| {
                within(hidden).draw(shape, s)
            }),
            bias: b.param("bias", [dims], |shape, s| Init::ZEROS.draw(shape, s)),
        }
    }
}

impl Autoregressive for Nade {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn logits<T: Element>(&self, p: &Bound<T>, x: &Var<T>, _ordering: usize) -> Var<T> {
        let x = x.reshape([x.shape()[0], self.spec.dims()]);
        let inputs = [
            &x,
            &p[self.into],
            &p[self.begin],
            &p[self.out],
            &p[self.bias],
        ];
        Var::apply(Logits(self.activation), &inputs)
    }

    fn ready<'a>(&'a self, p: &Bound<f32>, _: usize) -> Box<dyn Ready + 'a> {
        let value = |id: ParamId| p[id].value().clone();
        Box::new(Weights {
            model: self,
            into: value(self.into),
            begin: value(self.begin),
            out: value(self.out),
            bias: value(self.bias),
        })
    }

    /// A lane's gradient is as large as the weights: few lanes.
    fn spread(&self, batch_size: usize) -> Spread {
        Spread::Lanes(batch_size.div_ceil(2).max(1))
    }
}

/// Inputs x `[B, D]`, w `[D, H]`, b `[H]`, v `[D, H]`, c `[D]` -> logits `[B, D]`.
struct Logits(Activation);

impl Logits {
    fn net<'a, T: Element>(&self, inputs: &[&'a Tensor<T>]) -> Net<'a, T> {
        let [w, b, v, c] = [0, 1, 2, 3].map(|i| inputs[i].data());
        Net {
            w,
            b,
            v,
            c,
            activation: self.0,
        }
    }
}

impl<T: Element> Op<T> for Logits {
    fn name(&self) -> &'static str {
        "nade"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    #[track_caller]
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        Tensor::build(*inputs[0].shape(), |logits| {
            self.net(&inputs[1..]).logits(inputs[0].data(), logits);
        })
    }

    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let inputs = [0, 1, 2, 3, 4].map(|i| at.input(i).into_value());
        let inputs = inputs.each_ref();
        let [mut w, mut b, mut v, mut c] = [1, 2, 3, 4].map(|i| Tensor::zeros(*inputs[i].shape()));
        let to = Gradients {
            w: w.make_mut(),
            b: b.make_mut(),
            v: v.make_mut(),
            c: c.make_mut(),
        };
        self.net(&inputs[1..])
            .gradients(inputs[0].data(), g.value().data(), to);
        for (i, gradient) in [w, b, v, c].into_iter().enumerate() {
            at.give(i + 1, || Var::constant(gradient));
        }
        at.give(0, || {
            let net = self.net(&inputs[1..]);
            Var::constant(by_pixels(&net, inputs[0], g.value()))
        });
    }

    fn first_order_only(&self) -> bool {
        true
    }
}

/// The gradient by x `[B, D]` of <logits, g>: what looks into a model asks for it, training does
/// not.
fn by_pixels<T: Element>(net: &Net<T>, x: &Tensor<T>, g: &Tensor<T>) -> Tensor<T> {
    let (dims, units) = (x.shape()[1], net.b.len());
    let row = |of: &[T], d: usize| of[d * units..][..units].to_vec();
    Tensor::build(*x.shape(), |gx| {
        let images = x.data().chunks_exact(dims).zip(g.data().chunks_exact(dims));
        for (gx, (x, g)) in gx.chunks_exact_mut(dims).zip(images) {
            // The sums into the hidden units before each dimension.
            let mut sums = vec![net.b.to_vec()];
            for (d, &x) in x[..dims - 1].iter().enumerate() {
                let next = sums[d].iter().zip(row(net.w, d)).map(|(&a, w)| a + x * w);
                let next = next.collect();
                sums.push(next);
            }
            // What all later logits have of a hidden unit's sum.
            let mut later = vec![T::ZERO; units];
            for d in (0..dims).rev() {
                gx[d] = later.iter().zip(row(net.w, d)).map(|(&a, w)| a * w).sum();
                let all = later.iter_mut().zip(row(net.v, d)).zip(&sums[d]);
                for ((later, v), &a) in all {
                    let slope = match net.activation {
                        Activation::Relu => T::from_f64(f64::from(u8::from(a > T::ZERO))),
                        Activation::Sigmoid => {
                            let h = 1.0 / (1.0 + (-a.to_f64()).exp());
                            T::from_f64(h * (1.0 - h))
                        }
                    };
                    *later = *later + g[d] * v * slope;
                }
            }
        }
    })
}

struct Weights<'a> {
    model: &'a Nade,
    into: Tensor<f32>,
    begin: Tensor<f32>,
    out: Tensor<f32>,
    bias: Tensor<f32>,
}

impl Ready for Weights<'_> {
    fn begin(&self, count: usize, _classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        Box::new(Running {
            of: self,
            hidden: nade::Running::new(count, self.begin.data(), self.model.activation),
            known: 0,
            next: vec![0.0; count],
        })
    }
}

/// The hidden layers of some images on their way.
struct Running<'a> {
    of: &'a Weights<'a>,
    hidden: nade::Running<f32>,
    known: usize,
    next: Vec<f32>,
}

impl Walk for Running<'_> {
    fn conditional(&mut self) -> &[f32] {
        let (units, d) = (self.of.begin.len(), self.known);
        let v = &self.of.out.data()[d * units..(d + 1) * units];
        self.hidden
            .logits(v, self.of.bias.data()[d], &mut self.next);
        &self.next
    }

    fn fix(&mut self, values: &[f32]) {
        let (units, d) = (self.of.begin.len(), self.known);
        self.hidden
            .absorb(&self.of.into.data()[d * units..(d + 1) * units], values);
        self.known += 1;
    }
}
