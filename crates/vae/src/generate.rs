//! Codes and images of a variational autoencoder, both ways.

use crate::fitted;
use crate::model::Vae;
use crate::prior::Mixture;
use grad::{Tensor, Var};
use nn::Bound;
use nn::dist::categorical;
use nn::model::{Embedder, Encoder, ImageSource, Latent, SampleRequest, Sampler, Step, Takes};
use nn::random::{Stream, normal, stream, word};
use std::sync::Arc;

/// The mean of p(x|z) for codes from the prior.
const MEANS: &str = "means";
/// Pixels drawn from p(x|z) for codes from the prior.
const PIXELS: &str = "pixels";
/// The mean of p(x|z) for codes from a density fitted to those of training images.
const CODES: &str = "codes";

/// How codes are drawn from a standard normal distribution.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    /// The standard deviation.
    pub(crate) temperature: f32,
    /// Numbers beyond it are drawn again.
    pub(crate) truncation: Option<f32>,
}

impl Draw {
    /// N(0, 1).
    const PLAIN: Draw = Draw {
        temperature: 1.0,
        truncation: None,
    };

    pub(crate) fn of(request: &SampleRequest) -> Draw {
        Draw {
            temperature: request.temperature,
            truncation: request.truncation,
        }
    }

    /// One number.
    pub(crate) fn one(self, stream: &mut Stream) -> f32 {
        // What is asked for may be so near 0 that hardly any number is: then it is cut.
        const TRIALS: usize = 1000;
        let limit = self.truncation.unwrap_or(f32::INFINITY);
        let mut x = normal(stream) as f32;
        for _ in 0..TRIALS {
            if x.abs() <= limit {
                break;
            }
            x = normal(stream) as f32;
        }
        self.temperature * x.clamp(-limit, limit)
    }
}

/// One code of each row's own stream.
pub(crate) fn rows(
    count: usize,
    latents: usize,
    seed: u64,
    mut row: impl FnMut(usize, &mut Stream, &mut [f32]),
) -> Tensor<f32> {
    Tensor::build([count, latents], |out| {
        for (i, z) in out.chunks_exact_mut(latents).enumerate() {
            row(i, &mut stream(&[seed, word("prior"), i as u64]), z);
        }
    })
}

impl Vae {
    /// Codes from the prior, the way `draw` tells.
    fn prior_codes(&self, p: &Bound<f32>, count: usize, seed: u64, draw: Draw) -> Tensor<f32> {
        match self.mixture(p) {
            None => rows(count, self.latents, seed, |_, stream, z| {
                z.fill_with(|| draw.one(stream));
            }),
            Some(Mixture {
                log_weights,
                mu,
                log_var,
            }) => {
                let weights = log_weights.value().reshape([1, log_weights.shape()[0]]);
                rows(count, self.latents, seed, |i, stream, z| {
                    let choice = |_| nn::random::stream(&[seed, word("component"), i as u64]);
                    let k = categorical::sample(&weights, choice)[0] as usize;
                    let place = k * z.len();
                    for (j, z) in z.iter_mut().enumerate() {
                        let sd = (0.5 * log_var.value().data()[place + j]).exp();
                        *z = mu.value().data()[place + j] + sd * draw.one(stream);
                    }
                })
            }
        }
    }

    /// The images of these codes: means, `[count, H, W, C]`.
    fn picture(&self, p: &Bound<f32>, z: &Tensor<f32>, y: Option<&Tensor<f32>>) -> Tensor<f32> {
        let parameters = self.parameters(p, &Var::constant(z.clone()), y);
        self.output
            .mean(p, &parameters)
            .reshape(self.spec.shape(z.shape()[0]))
    }

    fn labels_of(&self, request: &SampleRequest) -> Option<Arc<[u32]>> {
        let classes = self.layout.classes;
        (classes > 0).then(|| request.classes.list(request.count, classes))
    }
}

impl Sampler for Vae {
    fn takes(&self) -> Takes {
        Takes::NOTHING
            .temperature()
            .truncation()
            .samplers(&[MEANS, PIXELS])
            .fitted(&[CODES])
    }

    /// The mean of p(x|z), probabilities and no binary pixels, or with `pixels` draws from it.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32> {
        let z = self.prior_codes(p, request.count, request.seed, Draw::of(request));
        let y = self.classes_of(self.labels_of(request).as_ref());
        if request.sampler.as_deref() != Some(PIXELS) {
            return self.picture(p, &z, y.as_ref());
        }
        let parameters = self.parameters(p, &Var::constant(z), y.as_ref());
        let noise = |i: usize| stream(&[request.seed, word("pixels"), i as u64]);
        let pixels = self.output.draw(p, &parameters, request.temperature, noise);
        pixels.reshape(self.spec.shape(request.count))
    }

    /// Codes from a mixture of Gaussians that is fitted to the codes of the training images, which
    /// the prior may miss. Of a conditional model one mixture for each class.
    fn sample_fitted(
        &self,
        p: &Bound<f32>,
        request: &SampleRequest,
        train: &dyn ImageSource,
    ) -> Tensor<f32> {
        let labels = self.labels_of(request);
        let densities = fitted::densities(self, p, train);
        let z = rows(request.count, self.latents, request.seed, |i, stream, z| {
            let class = labels.as_ref().map_or(0, |labels| labels[i] as usize);
            densities[class].draw(Draw::of(request), stream, z);
        });
        self.picture(p, &z, self.classes_of(labels.as_ref()).as_ref())
    }
}

impl Latent for Vae {
    fn shape(&self) -> Vec<usize> {
        vec![self.latents]
    }

    /// p(z).
    fn prior(&self, p: &Bound<f32>, count: usize, seed: u64) -> Tensor<f32> {
        self.prior_codes(p, count, seed, Draw::PLAIN)
    }

    /// The mean of p(x|z).
    fn decode(&self, p: &Bound<f32>, z: &Tensor<f32>, classes: Option<&Arc<[u32]>>) -> Tensor<f32> {
        self.picture(p, z, self.classes_of(classes).as_ref())
    }

    fn encoder(&self) -> Option<&dyn Encoder> {
        Some(self)
    }
}

impl Encoder for Vae {
    /// mu(x).
    fn encode(&self, step: &Step) -> Tensor<f32> {
        let given = self.given(step.batch, "encoding");
        self.posterior_given(step.p, &given.x, given.y.as_ref())
            .0
            .into_value()
    }

    fn spread(&self, step: &Step) -> Option<Tensor<f32>> {
        let given = self.given(step.batch, "encoding");
        let (_, log_var) = self.posterior_given(step.p, &given.x, given.y.as_ref());
        Some((log_var * 0.5).exp().into_value())
    }

    fn embedder(&self) -> Option<&dyn Embedder> {
        (self.layout.classes == 0).then_some(self as &dyn Embedder)
    }
}

impl Embedder for Vae {
    /// mu(x).
    fn embed(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        let x = x.reshape([x.shape()[0], self.spec.dims()]);
        self.posterior_given(p, &x, None).0
    }
}
