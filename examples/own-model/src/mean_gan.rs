//! A small Wasserstein GAN with a gradient penalty, judged by the mean of its samples.
//!
//! I. Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", arXiv:1704.00028, with
//! multilayer perceptrons for both players.
//!
//! ```text
//! critic:    minimise  E[f(G(z))] - E[f(x)] + penalty E[(|df/dy| - 1)^2]     y between x and G(z)
//! generator: minimise -E[f(G(z))]                                            z ~ N(0, I)
//! ```
//!
//! It shows what a model can be made of: two phases, a gradient inside a loss, a state that is no
//! parameter, hyper-parameters, and a score that is not a likelihood.

use grad::{Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::layers::{Activation, Linear};
use nn::model::{
    Batch, Better, Built, Entry, Figure, ImageSpec, Loss, Model, Phase, Recipe, SampleRequest,
    Sampler, ScoreInfo, Scored, SetAsk, SetScore, Setup, Spread, Step,
};
use nn::optim::Optimiser;
use nn::random::{normal, stream, word};
use nn::{Bound, Builder, ParamId, Params};

pub(crate) const ENTRY: Entry = Entry::new(
    "mean-gan",
    "a Wasserstein GAN that is judged by its mean image",
    build,
)
.paper("Gulrajani et al. 2017, arXiv:1704.00028")
.hypers(&[
    Hyper {
        name: "hidden",
        meaning: "units of the hidden layer of both players",
        default: Value::Count(128),
    },
    Hyper {
        name: "latents",
        meaning: "dimensions of the noise that becomes an image",
        default: Value::Count(16),
    },
    Hyper {
        name: "penalty",
        meaning: "weight of the gradient penalty",
        default: Value::Number(10.0),
    },
])
.recipe(recipe)
.small(&[("hidden", "8"), ("latents", "2")]);

/// Adam as in the paper (algorithm 1); the order of the phases is that within a step.
fn recipe(_: &Setup) -> Recipe {
    let adam = || Optimiser::adam_with(1e-3, 0.5, 0.9);
    Recipe::of(vec![
        Phase::new("critic", adam()).of("critic."),
        Phase::new("generator", adam()).of("generator."),
    ])
    .batch_size(64)
    .epochs(10)
}

/// Two layers.
struct Perceptron {
    hidden: Linear,
    out: Linear,
}

impl Perceptron {
    fn new(b: &mut Builder, [inputs, hidden, outputs]: [usize; 3]) -> Perceptron {
        Perceptron {
            hidden: Linear::new(&mut b.scope("hidden"), inputs, hidden),
            out: Linear::new(&mut b.scope("out"), hidden, outputs),
        }
    }

    fn forward(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        let h = self.hidden.forward_with(p, x, Activation::LeakyRelu(0.2));
        self.out.forward(p, &h)
    }
}

/// The layers of both players. Values live in [`Params`], by these names:
/// `critic.hidden.weight` and so on.
struct MeanGan {
    spec: ImageSpec,
    latents: usize,
    penalty: f64,
    critic: Perceptron,
    generator: Perceptron,
    /// The running mean of the critic's estimate of the distance: `[1]`, a state.
    distance: ParamId,
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let (hidden, latents) = (hypers.count("hidden"), hypers.count("latents"));
    let penalty = hypers.number("penalty");
    if penalty < 0.0 {
        return Err(hypers.unfit(format!("penalty: expected at least 0, found {penalty}")));
    }
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let dims = spec.dims();
    let model = MeanGan {
        critic: Perceptron::new(&mut b.scope("critic"), [dims, hidden, 1]),
        generator: Perceptron::new(&mut b.scope("generator"), [latents, hidden, dims]),
        distance: b.state("distance", Tensor::zeros([1])),
        spec,
        latents,
        penalty,
    };
    Ok((Box::new(model), params))
}

impl MeanGan {
    /// z `[B, latents]` -> pixels in [0, 1], `[B, D]`.
    fn generate(&self, p: &Bound<f32>, z: &Var<f32>) -> Var<f32> {
        self.generator.forward(p, z).sigmoid()
    }

    /// Points between real and generated images, each with its own share of both, `[B, D]`.
    fn between(&self, batch: &Batch, real: &Var<f32>, made: &Var<f32>) -> Tensor<f32> {
        let share = Var::constant(batch.uniform(1, word("share")));
        (&share * real + (1.0 - &share) * made).into_value()
    }
}

impl Model for MeanGan {
    fn loss(&self, step: &Step) -> Loss {
        let p = step.p;
        let z = Var::constant(step.batch.normal(self.latents, word("noise")));
        let made = self.generate(p, &z);
        // In the generator's phase the critic is a constant, and the other way round.
        if step.phase == 1 {
            return Loss::of(-self.critic.forward(p, &made).sum());
        }
        let real = Var::constant(step.batch.rows());
        let distance = (self.critic.forward(p, &real) - self.critic.forward(p, &made)).sum();

        // The critic's slope where it is asked for, itself to be differentiated.
        let y = step.tape.var(self.between(step.batch, &real, &made));
        let sum = self.critic.forward(p, &y).sum();
        let slope = &step.tape.gradients_recorded(&sum, &[&y])[0];
        let norm = (slope.square().sum_axes(&[1]) + 1e-12).sqrt();
        let penalty = (norm - 1.0).square();

        let found = distance.item();
        let old = p.latest(self.distance);
        let each = found / step.batch.len() as f32;
        p.update(self.distance, old.map(|old| 0.99 * old + 0.01 * each));
        Loss::of(penalty.sum() * self.penalty - distance)
            .with("distance", found.into())
            .with_sum("penalty", &penalty)
    }

    /// The critic learns in each step, the generator in every second one.
    fn is_active(&self, phase: usize, step: u64) -> bool {
        phase == 0 || step % 2 == 1
    }

    /// Parts of 16 images side by side, each on one thread.
    fn spread(&self, _batch_size: usize) -> Spread {
        Spread::Lanes(16)
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Set(self)]
    }

    fn sampler(&self) -> Option<&dyn Sampler> {
        Some(self)
    }
}

impl Sampler for MeanGan {
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        let z = Tensor::build([request.count, self.latents], |z| {
            for (i, z) in z.chunks_exact_mut(self.latents).enumerate() {
                let mut noise = stream(&[request.seed, word("sample"), i as u64]);
                z.fill_with(|| normal(&mut noise) as f32);
            }
        });
        let images = self.generate(p, &Var::constant(z)).into_value();
        images.reshape(self.spec.shape(request.count))
    }
}

/// Samples that are compared with the split.
const SAMPLES: usize = 512;
/// Images of the split that are looked at together.
const TOGETHER: u32 = 256;

impl SetScore for MeanGan {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![ScoreInfo::metric(
            "mean_distance",
            "squared pixels",
            Better::Lower,
        )]
    }

    /// The squared distance of the mean of samples from the mean of the split, a dimension.
    fn of(&self, ask: &SetAsk) -> Vec<Figure> {
        let (dims, count) = (self.spec.dims(), ask.split.len() as u32);
        let mut means = [vec![0.0; dims], vec![0.0; dims]];
        let mut add = |which: usize, images: &Tensor<f32>, of: usize| {
            for image in images.data().chunks_exact(dims) {
                for (mean, &x) in means[which].iter_mut().zip(image) {
                    *mean += f64::from(x) / of as f64;
                }
            }
        };
        let request = SampleRequest::new(SAMPLES, ask.seed);
        add(0, &self.sample(&ask.params.constants(), &request), SAMPLES);
        for first in (0..count).step_by(TOGETHER as usize) {
            let indices: Vec<u32> = (first..count.min(first + TOGETHER)).collect();
            add(1, &ask.split.batch(&indices).images, count as usize);
        }
        let [ours, theirs] = &means;
        let squares = ours.iter().zip(theirs).map(|(a, b)| (a - b).powi(2));
        vec![Figure {
            info: self.about()[0],
            value: squares.sum::<f64>() / dims as f64,
            standard_error: f64::NAN,
        }]
    }
}
