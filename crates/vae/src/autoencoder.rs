//! Autoencoders: a code of few numbers from which the image comes back.
//!
//! ```text
//! z = f(x),  x' = g(z)      minimise |x - x'|^2, or the Bernoulli cross entropy of x and x'
//! ```
//!
//! G. E. Hinton and R. R. Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural
//! Networks": 784-1000-500-250-30 and back, here with ReLU and without their pretraining. A linear
//! one finds the space of the first principal components (Baldi & Hornik 1989). Denoising: Vincent
//! et al. 2008.

use crate::corrupt::{CORRUPTION, Corruption, NOISE};
use crate::network::{Decoder, Encoder as Network, Layout};
use crate::pca::Pca;
use crate::table::{BLOCKS, CHANNELS, HIDDEN, LATENTS, layout};
use grad::{Element, Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::layers::{Linear, Mode};
use nn::model::{
    Ask, Batch, Better, Built, Embedder, Encoder, Entry, ImageSpec, Latent, Loss, Model, Prepared,
    Preset, Recipe, Score, ScoreInfo, Scored, SetAsk, Setup, Spread, Step,
};
use nn::optim::Optimiser;
use nn::random::normal;
use nn::schedule::Schedule;
use nn::{Bound, Builder, ParamId, Params};
use std::sync::Arc;

const LOSS: Hyper = Hyper {
    name: "loss",
    meaning: "what is minimised: the squared error, or the Bernoulli cross entropy",
    default: Value::Choice(&["squared", "bernoulli"]),
};
const LINEAR: Hyper = Hyper {
    name: "linear",
    meaning: "true: one matrix to the code and one back; hidden is not looked at",
    default: Value::Flag(false),
};

pub(crate) const AUTOENCODER: Entry = Entry::new(
    "autoencoder",
    "autoencoder, multilayer perceptrons, or linear",
    build_dense,
)
.paper("Hinton & Salakhutdinov 2006; denoising: Vincent et al. 2008")
.hypers(&[
    Hyper {
        default: Value::Counts(&[1000, 500, 250]),
        ..HIDDEN
    },
    Hyper {
        default: Value::Count(30),
        ..LATENTS
    },
    LINEAR,
    LOSS,
    NOISE,
    CORRUPTION,
])
.presets(&[
    Preset {
        name: "linear",
        about: "finds the space of the first 30 principal components",
        settings: "epochs = 20\nlr = 0.001\nschedule.kind = \"cosine\"\nhypers.linear = true\n",
    },
    Preset {
        name: "denoising",
        about: "repairs images of which a third of the pixels is missing",
        settings: "hypers.noise = \"masking\"\nhypers.corruption = 0.33\n",
    },
    Preset {
        name: "plane",
        about: "a code of two dimensions, which `genzoo latent` can draw as a map",
        settings: "hypers.latents = 2\n",
    },
])
.recipe(recipe)
.small(&[("hidden", "12,8"), ("latents", "2"), ("noise", "masking")]);

pub(crate) const CONV_AUTOENCODER: Entry = Entry::new(
    "conv-autoencoder",
    "autoencoder, strided and transposed convolutions",
    build_conv,
)
.paper("Masci et al. 2011; Hinton & Salakhutdinov 2006; denoising: Vincent et al. 2008")
.hypers(&[
    CHANNELS,
    BLOCKS,
    Hyper {
        default: Value::Counts(&[256]),
        ..HIDDEN
    },
    Hyper {
        default: Value::Count(30),
        ..LATENTS
    },
    LOSS,
    NOISE,
    CORRUPTION,
])
.recipe(recipe)
.small(&[
    ("channels", "4"),
    ("blocks", "1"),
    ("hidden", "8"),
    ("latents", "2"),
]);

fn recipe(_: &Setup) -> Recipe {
    Recipe::new("loss", Optimiser::adam(1e-3))
        .schedule(Schedule::Cosine)
        .batch_size(128)
        .epochs(30)
}

fn build_dense(setup: &Setup) -> Result<Built, HyperError> {
    let mut layout = layout(setup.hypers, setup.image, false)?;
    layout.keeps_size = true;
    if setup.hypers.flag(LINEAR.name) {
        layout = Layout {
            is_linear: true,
            ..Layout::default()
        };
    }
    build(setup, layout)
}

fn build_conv(setup: &Setup) -> Result<Built, HyperError> {
    build(setup, layout(setup.hypers, setup.image, true)?)
}

fn build(setup: &Setup, layout: Layout) -> Result<Built, HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let latents = hypers.count(LATENTS.name);
    let corruption = Corruption::chosen(hypers)?;
    let is_bernoulli = hypers.choice(LOSS.name) == "bernoulli";
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let model = Autoencoder::new(&mut b, spec, layout, latents);
    let model = Autoencoder {
        is_bernoulli,
        corruption,
        ..model
    };
    Ok((Box::new(model), params))
}

/// Encoder and decoder. The values of the parameters live in [`Params`].
pub struct Autoencoder {
    spec: ImageSpec,
    layout: Layout,
    latents: usize,
    is_bernoulli: bool,
    corruption: Corruption,
    encoder: Network,
    /// h -> z.
    code: Linear,
    decoder: Decoder,
    /// Running mean and variance of the code, for those who ask for codes.
    mean: ParamId,
    variance: ParamId,
}

/// The share of the newest batch in the running mean and variance of the code.
const MOMENTUM: f64 = 0.02;

impl Autoencoder {
    /// An autoencoder that minimises the squared error of images of this kind.
    ///
    /// # Panics
    /// If images of this size do not go through so many stages ([`Layout::fits`]).
    #[track_caller]
    pub fn new(b: &mut Builder, spec: ImageSpec, layout: Layout, latents: usize) -> Autoencoder {
        assert!(
            layout.fits(spec),
            "autoencoder: {spec:?} is too small for {layout:?}"
        );
        let encoder = Network::new(&mut b.scope("encoder"), spec, &layout);
        let code = Linear::new(&mut b.scope("code"), encoder.width(), latents);
        Autoencoder {
            spec,
            latents,
            is_bernoulli: false,
            corruption: Corruption::Nothing,
            encoder,
            code,
            decoder: Decoder::new(b, spec, &layout, latents, 1),
            layout,
            mean: b.scope("code").state("mean", Tensor::zeros([latents])),
            variance: b.scope("code").state("variance", Tensor::ones([latents])),
        }
    }

    /// x: `[B, D]` -> z: `[B, latents]`.
    pub fn encode_rows<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        self.code.forward(p, &self.encoder.forward(p, x, None))
    }

    /// z: `[B, latents]` -> the numbers that become pixels, `[B, D]`: the pixels themselves of a
    /// linear autoencoder, else their logits.
    pub fn decode_rows<T: Element>(&self, p: &Bound<T>, z: &Var<T>) -> Var<T> {
        self.decoder.forward(p, z, None)
    }

    /// Pixels, `[B, D]`.
    fn pixels<T: Element>(&self, numbers: &Var<T>) -> Var<T> {
        match self.layout.is_linear && !self.is_bernoulli {
            true => numbers.clone(),
            false => numbers.sigmoid(),
        }
    }

    /// The squared error of each image, `[B]`: x, the images to give back, and what came back.
    pub fn squared_error<T: Element>(x: &Var<T>, pixels: &Var<T>) -> Var<T> {
        (pixels - x).square().sum_axes(&[1])
    }

    /// The running mean and variance of the code move towards those of z.
    fn follow(&self, p: &Bound<f32>, z: &Tensor<f32>) {
        let (count, n) = (z.shape()[0] as f64, self.latents);
        let column = |j: usize| z.data().iter().skip(j).step_by(n).map(|&z| f64::from(z));
        let moved = |id, new: &dyn Fn(usize, f64) -> f64| {
            let old = p.latest(id);
            Tensor::from_fn([n], |j| {
                let old = f64::from(old.data()[j]);
                (old + MOMENTUM * (new(j, old) - old)) as f32
            })
        };
        let mean = p.latest(self.mean);
        let around = |j: usize, _| {
            let mean = f64::from(mean.data()[j]);
            column(j).map(|z| (z - mean).powi(2)).sum::<f64>() / count
        };
        p.update(self.variance, moved(self.variance, &around));
        p.update(
            self.mean,
            moved(self.mean, &|j, _| column(j).sum::<f64>() / count),
        );
    }

    fn reconstruct(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        self.pixels(&self.decode_rows(p, &self.encode_rows(p, x)))
    }
}

fn rows(batch: &Batch) -> Var<f32> {
    Var::constant(batch.rows())
}

impl Model for Autoencoder {
    fn loss(&self, step: &Step) -> Loss {
        let (p, x) = (step.p, rows(step.batch));
        let seen = Var::constant(self.corruption.of(step.batch));
        let z = self.encode_rows(p, &seen);
        if step.mode() == Mode::Train {
            self.follow(p, z.value());
        }
        let numbers = self.decode_rows(p, &z);
        if self.is_bernoulli {
            let error = Autoencoder::squared_error(&x, &self.pixels(&numbers.detach()));
            let nats = numbers.bce_with_logits_sum_rows(&x).sum();
            return Loss::of(nats).with_sum("squared_error", &error);
        }
        Loss::of(Autoencoder::squared_error(&x, &self.pixels(&numbers)).sum())
    }

    fn spread(&self, batch_size: usize) -> Spread {
        let most = match self.layout.channels.is_empty() {
            true => 64,
            false => 16,
        };
        Spread::Lanes(batch_size.div_ceil(2).clamp(1, most))
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self)]
    }

    fn latent(&self) -> Option<&dyn Latent> {
        Some(self)
    }
}

impl Score for Autoencoder {
    /// The squared error of an image; that of keeping its principal components, as many as the
    /// code has numbers; and where images are corrupted in training, the error of what comes back
    /// of corrupted ones.
    fn about(&self) -> Vec<ScoreInfo> {
        let error = |name| ScoreInfo::metric(name, "squared pixels", Better::Lower);
        let mut about = vec![error("squared_error"), error("pca_squared_error")];
        if self.corruption != Corruption::Nothing {
            about.push(error("denoised_squared_error"));
        }
        about
    }

    fn prepare(&self, ask: &SetAsk) -> Prepared {
        Box::new(Pca::of(ask.train, self.latents))
    }

    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        let (p, x) = (step.p, rows(step.batch));
        let error = |pixels: Var<f32>| {
            let error = Autoencoder::squared_error(&x, &pixels);
            error
                .value()
                .data()
                .iter()
                .map(|&e| f64::from(e))
                .collect::<Vec<f64>>()
        };
        let pca = ask.prepared::<Pca>();
        let images = x.value().data().chunks_exact(self.spec.dims());
        let mut columns = vec![
            error(self.reconstruct(p, &x)),
            images.map(|image| pca.squared_error(image)).collect(),
        ];
        if self.corruption != Corruption::Nothing {
            let seen = Var::constant(self.corruption.of(step.batch));
            columns.push(error(self.reconstruct(p, &seen)));
        }
        columns
    }
}

impl Latent for Autoencoder {
    fn shape(&self) -> Vec<usize> {
        vec![self.latents]
    }

    /// Independent Gaussians with the mean and variance that the codes had in training: an
    /// autoencoder has no prior of its own.
    fn prior(&self, p: &Bound<f32>, count: usize, seed: u64) -> Tensor<f32> {
        let [mean, variance] = [self.mean, self.variance].map(|id| p[id].value());
        crate::generate::rows(count, self.latents, seed, |_, stream, z| {
            for (j, z) in z.iter_mut().enumerate() {
                let sd = variance.data()[j].max(0.0).sqrt();
                *z = mean.data()[j] + sd * normal(stream) as f32;
            }
        })
    }

    fn decode(&self, p: &Bound<f32>, z: &Tensor<f32>, _: Option<&Arc<[u32]>>) -> Tensor<f32> {
        let numbers = self.decode_rows(p, &Var::constant(z.clone()));
        let pixels = self.pixels(&numbers).value().map(|x| x.clamp(0.0, 1.0));
        pixels.reshape(self.spec.shape(z.shape()[0]))
    }

    fn encoder(&self) -> Option<&dyn Encoder> {
        Some(self)
    }
}

impl Encoder for Autoencoder {
    fn encode(&self, step: &Step) -> Tensor<f32> {
        self.encode_rows(step.p, &rows(step.batch)).into_value()
    }

    fn embedder(&self) -> Option<&dyn Embedder> {
        Some(self)
    }
}

impl Embedder for Autoencoder {
    fn embed(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        self.encode_rows(p, &x.reshape([x.shape()[0], self.spec.dims()]))
    }
}
