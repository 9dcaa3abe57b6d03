//! The game: one training step's two losses, for every adversarial model of this crate.
//!
//! The discriminator's step shows it real and generated images in calls of their own, so each has
//! batch statistics of its own; the generator's parameters are constants there, so nothing is
//! recorded of it. In the generator's step the discriminator's parameters are constants, and only
//! the gradient by its input is computed. The running statistics of a player move in its own step
//! alone. Where a player has batch norm, a batch is not cut into lanes: its statistics are those of
//! the whole batch, whatever the threads.

use crate::health;
use crate::objective::Objective;
use crate::penalty::gradient_penalty;
use crate::players::{Discriminator, Generator, Sizes};
use crate::turns::Turns;
use grad::{Element, Tape, Tensor, Var};
use nn::model::{Batch, Latent, Loss, Model, SampleRequest, Sampler, Spread, Step, Takes};
use nn::random::{normal, stream, word};
use nn::{Bound, Builder, Params, Update};
use std::sync::Arc;

/// The first phase of a training step; the other is the generator's.
const DISCRIMINATOR: usize = 0;

/// Images that a sampler makes at once.
const AT_ONCE: usize = 256;

/// A generator and a discriminator with what they play for. The values of the parameters live in
/// [`Params`].
pub struct Gan {
    /// What the players are made of.
    pub sizes: Sizes,
    /// From z to images.
    pub generator: Generator,
    /// From images to numbers.
    pub discriminator: Discriminator,
    /// What the players minimise.
    pub objective: Objective,
    /// Whose turn it is.
    pub turns: Turns,
    /// What is taken off the discriminator's target of real images.
    pub smoothing: f64,
    /// The standard deviation of noise on all images that the discriminator sees, at the beginning
    /// of the run; it falls to 0 in proportion to the share that is done. C. K. Sønderby et al.
    /// 2017, arXiv:1610.04490, section 3.3.
    pub noise: f64,
    /// Weights of the discriminator stay within this of 0, if there is a bound.
    pub clip: Option<f32>,
    /// What the gradient penalty counts, if there is one.
    pub penalty: Option<f64>,
}

/// What the discriminator is shown in one step.
pub struct Images<'a, T: Element> {
    /// `[B, H, W, C]` in [-1, 1].
    pub real: &'a Tensor<T>,
    /// `[B, H, W, C]` in [-1, 1].
    pub fake: &'a Tensor<T>,
    /// The class of each, where the players are told.
    pub classes: Option<&'a Arc<[u32]>>,
    /// Where the gradient penalty is taken: the share of the real image, `[B, 1]`.
    pub share: &'a Tensor<T>,
}

/// What the discriminator says of them, a number for each image, `[B]`.
pub struct Examined<T: Element> {
    /// D(x).
    pub real: Var<T>,
    /// D(G(z)).
    pub fake: Var<T>,
    /// (|grad D| - 1)^2, where there is a penalty.
    pub penalty: Option<Var<T>>,
    /// All of the loss.
    pub loss: Var<T>,
}

impl Gan {
    /// Players of these sizes that play for `objective`, one step each in turn.
    pub fn new(b: &mut Builder, sizes: Sizes, objective: Objective) -> Gan {
        Gan {
            discriminator: Discriminator::new(b, &sizes),
            generator: Generator::new(b, &sizes),
            objective,
            turns: Turns { steps: 1, long: 1 },
            smoothing: 0.0,
            noise: 0.0,
            clip: None,
            penalty: None,
            sizes,
        }
    }

    /// The discriminator's loss, image by image. `tape` is where the recorded parameters are.
    pub fn examine<T: Element>(
        &self,
        tape: &Tape<T>,
        p: &Bound<T>,
        images: &Images<T>,
    ) -> Examined<T> {
        let d = |x: &Var<T>| self.discriminator.forward(p, x, images.classes);
        let real = d(&Var::constant(images.real.clone()));
        let fake = d(&Var::constant(images.fake.clone()));
        let objective = self.objective;
        let loss = objective.of_real(&real, self.smoothing) + objective.of_fake(&fake);
        let penalty = self
            .penalty
            .map(|_| gradient_penalty(tape, [images.real, images.fake], images.share, d));
        let loss = match (&penalty, self.penalty) {
            (Some(penalty), Some(weight)) => loss + penalty * weight,
            _ => loss,
        };
        Examined {
            real,
            fake,
            penalty,
            loss,
        }
    }

    /// The generator's loss of z `[B, latents]`, image by image, with `noise` of the images' shape
    /// added, if there is any.
    pub fn of_generator<T: Element>(
        &self,
        p: &Bound<T>,
        z: &Var<T>,
        classes: Option<&Arc<[u32]>>,
        noise: Option<&Tensor<T>>,
    ) -> Var<T> {
        let fake = self.generator.forward(p, z, classes);
        let own = p.take_updates();
        let fake = match noise {
            None => fake,
            Some(noise) => fake + Var::constant(noise.clone()),
        };
        let d = self.discriminator.forward(p, &fake, classes);
        // The discriminator's running statistics are not the generator's to move.
        p.take_updates();
        for (id, update) in own {
            if let Update::Mean(value) = update {
                p.update(id, value);
            }
        }
        self.objective.of_generator(&d)
    }

    fn classes_of<'b>(&self, batch: &'b Batch) -> Option<&'b Arc<[u32]>> {
        self.sizes.spec.classes?;
        let labels = batch.labels.as_ref();
        Some(labels.expect("a conditional model is trained on images with labels"))
    }

    /// Noise on what the discriminator sees, as tall as it is at this point of the run.
    fn instance_noise(&self, step: &Step, purpose: &str) -> Option<Tensor<f32>> {
        let deviation = (self.noise * (1.0 - step.done)) as f32;
        (deviation > 0.0).then(|| {
            let noise = step.batch.normal(self.sizes.spec.dims(), word(purpose));
            noise
                .map(|x| deviation * x)
                .reshape(*step.batch.images.shape())
        })
    }

    fn discriminator_step(&self, step: &Step) -> Loss {
        let (p, batch) = (step.p, step.batch);
        let classes = self.classes_of(batch);
        let z = batch.normal(self.sizes.latents, word("z of the discriminator's step"));
        let fake = self
            .generator
            .forward(p, &Var::constant(z), classes)
            .into_value();
        // The generator's running statistics are not the discriminator's to move.
        p.take_updates();
        let real = batch.images.map(|x| 2.0 * x - 1.0);
        let diversity = health::diversity(&real, &fake);
        let noisy = |images: Tensor<f32>, purpose| match self.instance_noise(step, purpose) {
            None => images,
            Some(noise) => Tensor::build(*images.shape(), |out| {
                for (out, (x, n)) in out.iter_mut().zip(images.data().iter().zip(noise.data())) {
                    *out = x + n;
                }
            }),
        };
        let share = batch.uniform(1, word("penalty"));
        let images = Images {
            real: &noisy(real, "noise on real images"),
            fake: &noisy(fake, "noise on generated images"),
            classes,
            share: &share,
        };
        let examined = self.examine(step.tape, p, &images);
        let mut loss = Loss::of(examined.loss.sum());
        let (real, fake) = (&examined.real, &examined.fake);
        loss = match self.objective.is_probability() {
            true => loss
                .with_sum(health::REAL, &real.detach().sigmoid())
                .with_sum(health::FAKE, &fake.detach().sigmoid()),
            false => loss
                .with_sum(health::REAL, real)
                .with_sum(health::FAKE, fake),
        };
        if self.objective == Objective::Wasserstein {
            loss = loss.with_sum(health::ESTIMATE, &(real.detach() - fake.detach()));
        }
        if let Some(penalty) = &examined.penalty {
            loss = loss.with_sum("penalty", penalty);
        }
        loss.with(health::DIVERSITY, diversity * batch.len() as f64)
    }

    fn generator_step(&self, step: &Step) -> Loss {
        let batch = step.batch;
        let z = batch.normal(self.sizes.latents, word("z of the generator's step"));
        let classes = self.classes_of(batch);
        let noise = self.instance_noise(step, "noise in the generator's step");
        let loss = self.of_generator(step.p, &Var::constant(z), classes, noise.as_ref());
        Loss::of(loss.sum())
    }

    /// Images in [0, 1] of these codes.
    fn pictures(
        &self,
        p: &Bound<f32>,
        z: &Tensor<f32>,
        classes: Option<&Arc<[u32]>>,
    ) -> Tensor<f32> {
        let (count, latents) = (z.shape()[0], self.sizes.latents);
        let dims = self.sizes.spec.dims();
        Tensor::build(self.sizes.spec.shape(count), |out| {
            for (i, out) in out.chunks_mut(AT_ONCE * dims.max(1)).enumerate() {
                let range = i * AT_ONCE..i * AT_ONCE + out.len() / dims.max(1);
                let rows = &z.data()[range.start * latents..range.end * latents];
                let z = Var::constant(Tensor::new([range.len(), latents], rows));
                let classes = classes.map(|list| list[range].into());
                let images = self.generator.forward(p, &z, classes.as_ref());
                for (out, x) in out.iter_mut().zip(images.value().data()) {
                    *out = 0.5 * x + 0.5;
                }
            }
        })
    }

    /// Codes from N(0, I); with a bound, numbers beyond it are drawn again.
    fn codes(&self, count: usize, seed: u64, bound: Option<f32>) -> Tensor<f32> {
        let latents = self.sizes.latents;
        Tensor::build([count, latents], |out| {
            for (i, row) in out.chunks_exact_mut(latents).enumerate() {
                let mut stream = stream(&[seed, word("prior"), i as u64]);
                row.fill_with(|| {
                    loop {
                        let x = normal(&mut stream) as f32;
                        if bound.is_none_or(|bound| x.abs() <= bound) {
                            return x;
                        }
                    }
                });
            }
        })
    }
}

impl Model for Gan {
    fn loss(&self, step: &Step) -> Loss {
        match step.phase {
            DISCRIMINATOR => self.discriminator_step(step),
            _ => self.generator_step(step),
        }
    }

    fn is_active(&self, phase: usize, step: u64) -> bool {
        phase == DISCRIMINATOR || self.turns.generator_plays(step)
    }

    /// Clips the discriminator's weights: algorithm 1 of arXiv:1701.07875, line 7.
    fn after_update(&self, phase: usize, _step: u64, params: &mut Params<f32>) {
        let Some(clip) = self.clip.filter(|_| phase == DISCRIMINATOR) else {
            return;
        };
        let of_critic = |name: &str| name.starts_with("discriminator.");
        for param in params
            .iter_mut()
            .filter(|p| p.trainable && of_critic(&p.name))
        {
            for x in param.value.make_mut() {
                *x = x.clamp(-clip, clip);
            }
        }
    }

    /// Batch statistics are those of the whole batch, so it stays whole where there are any.
    fn spread(&self, batch_size: usize) -> Spread {
        match self.sizes.mixes() {
            true => Spread::IntraOp,
            false => Spread::Lanes(batch_size.div_ceil(2).clamp(1, 32)),
        }
    }

    fn classes(&self) -> Option<usize> {
        self.sizes.spec.classes
    }

    fn warnings(&self, mean: &dyn Fn(&str) -> Option<f64>) -> Vec<String> {
        health::warnings(self.objective, mean)
    }

    fn sampler(&self) -> Option<&dyn Sampler> {
        Some(self)
    }

    fn latent(&self) -> Option<&dyn Latent> {
        Some(self)
    }
}

impl Sampler for Gan {
    fn takes(&self) -> Takes {
        Takes::NOTHING.truncation()
    }

    /// G(z) for z from N(0, I), truncated if that is asked for: A. Brock et al. 2019,
    /// arXiv:1809.11096, section 3.1.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        let z = self.codes(request.count, request.seed, request.truncation);
        let classes = self.sizes.spec.classes;
        let classes = classes.map(|n| request.classes.list(request.count, n));
        self.pictures(p, &z, classes.as_ref())
    }
}

impl Latent for Gan {
    fn shape(&self) -> Vec<usize> {
        vec![self.sizes.latents]
    }

    /// N(0, I).
    fn prior(&self, _p: &Bound<f32>, count: usize, seed: u64) -> Tensor<f32> {
        self.codes(count, seed, None)
    }

    fn decode(&self, p: &Bound<f32>, z: &Tensor<f32>, classes: Option<&Arc<[u32]>>) -> Tensor<f32> {
        self.pictures(p, z, classes)
    }
}
