//! Fully visible sigmoid belief network.
//!
//! B. J. Frey, G. E. Hinton and P. Dayan 1996, "Does the wake-sleep algorithm produce good
//! density estimators?" (NIPS 8); R. M. Neal 1992, "Connectionist learning of belief networks".
//!
//! ```text
//! p(x) = prod_d p(x_d | x_<d)                    pixels in raster order
//! logit_d = 10 c_d + sum_(j < d) x_j W_jd        a logistic regression each
//! W_jd = s_jd U_jd,   s = 0.15 + 0.85 e^(-distance of j and d / reach)
//! ```
//!
//! Every W can be reached, so the densities are those of the papers; s and 10 say in which of them
//! to believe first. Where gradients or a decay of weights are small, c and U of near pixels move
//! most: a bias should not be held back, and a pixel follows its neighbours rather than one far
//! off. Without s 50,000 binary digits are enough to overfit: 97.75 nats where 97.65 were reached
//! with it (a reach of 8), all else equal.

use crate::density::{Autoregressive, Density};
use crate::masked::masked_linear;
use crate::sequential::{Ready, Walk};
use grad::kernels::autoregressive::Staircase;
use grad::kernels::elementwise::axpy;
use grad::kernels::gemm::Activation;
use grad::{Element, Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::init::Init;
use nn::model::{Built, Entry, ImageSpec, Recipe, Setup, Spread};
use nn::optim::Optimiser;
use nn::schedule::Schedule;
use nn::{Bound, Builder, ParamId, Params};
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry::new(
    "fvsbn",
    "fully visible sigmoid belief network: a logistic regression for each pixel",
    build,
)
.paper("Frey, Hinton & Dayan 1996; Neal 1992")
.hypers(&[Hyper {
    name: "reach",
    meaning: "pixels within which weights are believed in first; 0: all of them alike",
    default: Value::Number(3.0),
}])
.recipe(recipe)
.binary()
.small(&[("reach", "2")]);

/// AdamW at 0.04 along a cosine, batches of 128, 150 epochs: some minutes. With so large an eps its steps
/// are those of gradient descent where gradients are small, so that what rare pixels tell is not
/// learned by heart.
fn recipe(_: &Setup) -> Recipe {
    Recipe::new(
        "nll",
        Optimiser::adam_w(0.04)
            .with("eps", 0.003)
            .with("weight_decay", 0.008),
    )
    .schedule(Schedule::Cosine)
    .batch_size(128)
    .epochs(150)
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec, seed) = (setup.hypers, &setup.image, setup.seed);
    let reach = hypers.number("reach");
    if reach < 0.0 {
        return Err(hypers.unfit(format!("expected a reach of at least 0, found {reach}")));
    }
    let mut params = Params::new();
    let model = Fvsbn::new(&mut Builder::new(&mut params, seed), *spec, reach);
    Ok((Box::new(Density(model)), params))
}

/// Weights and biases. The values live in [`Params`].
pub struct Fvsbn {
    spec: ImageSpec,
    /// U: `[D, D]`, from row to column; what is not above the diagonal is not used.
    weight: ParamId,
    /// s: `[D, D]`, where it is not 1 throughout.
    scale: Option<Tensor<f32>>,
    /// c: `[D]`.
    bias: ParamId,
    /// Column d has rows 0..d.
    stairs: Arc<Staircase>,
}

impl Fvsbn {
    /// A model for images of this kind. The problem is convex: everything begins at 0. With a reach
    /// of 0 all weights are alike.
    pub fn new(b: &mut Builder, spec: ImageSpec, reach: f64) -> Fvsbn {
        let dims = spec.dims();
        let place = |d: usize| {
            let pixel = d / spec.channels;
            [pixel / spec.width, pixel % spec.width].map(|n| n as f64)
        };
        let scale = |i: usize| {
            let ([y, x], [v, u]) = (place(i / dims), place(i % dims));
            (FAR + (1.0 - FAR) * (-(y - v).hypot(x - u) / reach).exp()) as f32
        };
        Fvsbn {
            spec,
            scale: (reach > 0.0).then(|| Tensor::from_fn([dims, dims], scale)),
            weight: b.param("weight", [dims, dims], |shape, s| {
                Init::ZEROS.draw(shape, s)
            }),
            bias: b.param("bias", [dims], |shape, s| Init::ZEROS.draw(shape, s)),
            stairs: Arc::new(Staircase::new(dims, (0..dims).collect())),
        }
    }
}

/// s of pixels without end apart.
const FAR: f64 = 0.15;
/// What a bias is multiplied by.
const BIAS: f64 = 10.0;

impl Fvsbn {
    /// W and the biases.
    fn effective<T: Element>(&self, p: &Bound<T>) -> [Var<T>; 2] {
        let weight = match &self.scale {
            None => p[self.weight].clone(),
            Some(scale) => &p[self.weight] * &Var::constant(scale.cast()),
        };
        [weight, p[self.bias].scale(BIAS)]
    }
}

impl Autoregressive for Fvsbn {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn logits<T: Element>(&self, p: &Bound<T>, x: &Var<T>, _ordering: usize) -> Var<T> {
        let x = x.reshape([x.shape()[0], self.spec.dims()]);
        let [weight, bias] = self.effective(p);
        masked_linear(&self.stairs, &x, &weight, Some(&bias), Activation::Identity)
    }

    fn ready<'a>(&'a self, p: &Bound<f32>, _: usize) -> Box<dyn Ready + 'a> {
        let [weight, bias] = self.effective(p).map(|var| var.into_value());
        Box::new(Weights { weight, bias })
    }

    /// A lane's gradient is as large as the weights: few lanes.
    fn spread(&self, batch_size: usize) -> Spread {
        Spread::Lanes(batch_size.div_ceil(2).max(1))
    }
}

struct Weights {
    weight: Tensor<f32>,
    bias: Tensor<f32>,
}

impl Ready for Weights {
    fn begin(&self, count: usize, _classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        Box::new(Sums {
            of: self,
            logits: self.bias.data().repeat(count),
            known: 0,
            next: vec![0.0; count],
        })
    }
}

/// The logits as far as the known pixels have added to them.
struct Sums<'a> {
    of: &'a Weights,
    /// `[count, D]`.
    logits: Vec<f32>,
    known: usize,
    next: Vec<f32>,
}

impl Walk for Sums<'_> {
    fn conditional(&mut self) -> &[f32] {
        let dims = self.of.bias.len();
        for (next, logits) in self.next.iter_mut().zip(self.logits.chunks_exact(dims)) {
            *next = logits[self.known];
        }
        &self.next
    }

    /// Adds x_j W_jd to every later logit.
    fn fix(&mut self, values: &[f32]) {
        assert_eq!(values.len(), self.next.len(), "fix: a value for each image");
        let (dims, j) = (self.of.bias.len(), self.known);
        let later = &self.of.weight.data()[j * dims..][j + 1..dims];
        for (logits, &x) in self.logits.chunks_exact_mut(dims).zip(values) {
            if x != 0.0 {
                axpy(x, later, &mut logits[j + 1..]);
            }
        }
        self.known += 1;
    }
}
