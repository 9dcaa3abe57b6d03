//! Fully visible sigmoid belief network.
//!
//! B. J. Frey, G. E. Hinton and P. Dayan 1996, "Does the wake-sleep algorithm produce good
//! density estimators?" (NIPS 8); R. M. Neal 1992, "Connectionist learning of belief networks".
//!
//! ```text
//! p(x) = prod_d p(x_d | x_<d)                    pixels in raster order
//! logit_d = c_d + sum_(j < d) x_j W_jd           a logistic regression each
//! ```

use crate::density::{Autoregressive, Density};
use crate::masked::masked_linear;
use crate::pixels::Pixels;
use crate::sequential::{Conditionals, Walk};
use grad::kernels::autoregressive::Staircase;
use grad::kernels::elementwise::axpy;
use grad::kernels::gemm::Activation;
use grad::{Element, Tensor, Var};
use nn::hyper::{HyperError, Hypers};
use nn::init::Init;
use nn::model::{Built, Entry, ImageSpec, Phase, Recipe, Spread};
use nn::optim::Optimiser;
use nn::random::Stream;
use nn::schedule::Schedule;
use nn::{Bound, Builder, ParamId, Params};
use std::sync::Arc;

pub(crate) const ENTRY: Entry = Entry {
    name: "fvsbn",
    title: "fully visible sigmoid belief network: a logistic regression for each pixel",
    paper: "Frey, Hinton & Dayan 1996; Neal 1992",
    abilities: "exact likelihood, samples",
    hypers: &[],
    recipe,
    presets: &[],
    binary: true,
    build,
};

/// Adam at 5e-3 along a cosine, batches of 128, 30 epochs. Everything begins at 0, and where a
/// pixel is never white its logit has far to go: the smaller steps of 1e-3 and batches of 512 are
/// not there after 50 epochs.
fn recipe() -> Recipe {
    Recipe {
        phases: vec![Phase {
            name: "nll",
            prefix: "",
            optimiser: Optimiser::adam(5e-3),
        }],
        schedule: Schedule::Cosine,
        batch_size: 128,
        epochs: 30,
        clip_norm: None,
        ema: None,
    }
}

fn build(_: &Hypers, spec: &ImageSpec, seed: u64) -> Result<Built, HyperError> {
    let mut params = Params::new();
    let model = Fvsbn::new(&mut Builder::new(&mut params, seed), *spec);
    Ok((Box::new(Density(model)), params))
}

/// Weights and biases. The values live in [`Params`].
pub struct Fvsbn {
    spec: ImageSpec,
    /// W: `[D, D]`, from row to column; what is not above the diagonal is not used.
    weight: ParamId,
    /// c: `[D]`.
    bias: ParamId,
    /// Column d has rows 0..d.
    stairs: Arc<Staircase>,
}

impl Fvsbn {
    /// A model for images of this kind. The problem is convex: everything begins at 0.
    pub fn new(b: &mut Builder, spec: ImageSpec) -> Fvsbn {
        let dims = spec.dims();
        Fvsbn {
            spec,
            weight: b.param("weight", [dims, dims], |shape, s| {
                Init::ZEROS.draw(shape, s)
            }),
            bias: b.param("bias", [dims], |shape, s| Init::ZEROS.draw(shape, s)),
            stairs: Arc::new(Staircase::new(dims, (0..dims).collect())),
        }
    }
}

impl Autoregressive for Fvsbn {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn logits<T: Element>(&self, p: &Bound<T>, x: &Var<T>, _ordering: usize) -> Var<T> {
        let x = x.reshape([x.shape()[0], self.spec.dims()]);
        let (weight, bias) = (&p[self.weight], &p[self.bias]);
        masked_linear(&self.stairs, &x, weight, Some(bias), Activation::Identity)
    }

    fn conditionals<'a>(&'a self, p: &Bound<f32>, _: usize) -> Box<dyn Conditionals + 'a> {
        Box::new(Weights {
            model: self,
            weight: p[self.weight].value().clone(),
            bias: p[self.bias].value().clone(),
        })
    }

    /// A lane's gradient is as large as the weights: few lanes.
    fn spread(&self, batch_size: usize) -> Spread {
        Spread::Lanes(batch_size.div_ceil(2).max(1))
    }
}

struct Weights<'a> {
    model: &'a Fvsbn,
    weight: Tensor<f32>,
    bias: Tensor<f32>,
}

impl Conditionals for Weights<'_> {
    fn spec(&self) -> ImageSpec {
        self.model.spec
    }

    fn begin(&self, count: usize, _classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        Box::new(Sums {
            of: self,
            logits: self.bias.data().repeat(count),
            known: 0,
            next: vec![0.0; count],
        })
    }

    fn draw(&self, parameters: &[f32], temperature: f32, stream: &mut Stream) -> f32 {
        Pixels::Bernoulli.draw(parameters, temperature, stream)
    }
}

/// The logits as far as the known pixels have added to them.
struct Sums<'a> {
    of: &'a Weights<'a>,
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
