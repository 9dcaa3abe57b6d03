//! What is missing in an image, by ascent on the density.
//!
//! A flow gives the density of whole images, and no way to draw a part given the rest. As L. Dinh,
//! D. Krueger and Y. Bengio 2015, arXiv:1410.8516, section 5.2, do, the missing pixels therefore
//! climb log p(y) with noise that fades. They begin as those of a sample of the model, so several
//! completions of an image differ. The result is a likely image with the given pixels, and not a
//! draw from the conditional distribution.

use crate::density::{FlowModel, in_parts};
use crate::layer::At;
use grad::{Tape, Tensor};
use nn::Bound;
use nn::model::{CompletionRequest, SampleRequest, Sampler};
use nn::random::{normal, stream, word};

/// Steps of the ascent.
const STEPS: usize = 200;
/// The length of the first step, in pixels of [0, 1], and of the last as a share of it.
const LENGTH: f32 = 0.05;
const LAST: f32 = 0.02;
/// Adam's decays: steps are of one length whatever the density's scale is.
const BETA: [f32; 2] = [0.9, 0.99];

/// The images `[count, H, W, C]` with the missing pixels found.
pub(crate) fn ascend(
    model: &FlowModel,
    p: &Bound<f32>,
    request: &CompletionRequest,
) -> Tensor<f32> {
    let spec = model.spec;
    let (dims, levels) = (spec.dims(), spec.levels as f32);
    let count = request.images.shape()[0];
    if request.known.iter().all(|&known| known) {
        return request.images.clone();
    }
    let first = SampleRequest::new(count, request.seed)
        .classes(request.classes.clone())
        .temperature(request.temperature);
    let first = model.sample(p, &first);
    if request.known.iter().all(|known| !known) {
        return first;
    }
    let classes = model.chosen(&request.classes, count);
    let pixels = in_parts(p, count, |p, part| {
        let range = part.first * dims..(part.first + part.len) * dims;
        let (given, drawn) = (&request.images.data()[range.clone()], &first.data()[range]);
        let known = |i: usize| request.known[i % dims];
        let middle = |x: f32| ((x * (levels - 1.0)).round() + 0.5) / levels;
        let begin = |i: usize| middle(if known(i) { given[i] } else { drawn[i] });
        let labels = (classes.as_ref()).map(|all| all[part.first..][..part.len].into());
        let at = At::new(p).classes(labels.as_ref());
        let mut noise: Vec<_> = (0..part.len)
            .map(|i| stream(&[request.seed, word("ascent"), (part.first + i) as u64]))
            .collect();
        let mut y: Vec<f32> = (0..part.len * dims).map(begin).collect();
        let mut moments = vec![[0.0f32; 2]; y.len()];
        for step in 0..STEPS {
            let tape = Tape::new();
            let image = tape.var(Tensor::new(spec.shape(part.len), &y));
            let density = model.log_density(&at, &image).sum();
            let gradient = tape.gradients(&density, &[&image]).remove(0);
            let share = step as f32 / STEPS as f32;
            let length = LENGTH * LAST.powf(share);
            let correct = BETA.map(|beta| 1.0 - beta.powi(step as i32 + 1));
            for (i, &g) in gradient.data().iter().enumerate() {
                // Every pixel takes its noise, known or not, so that one does not shift another's.
                let kick = normal(&mut noise[i / dims]) as f32;
                if known(i) {
                    continue;
                }
                let [mean, square] = &mut moments[i];
                *mean += (1.0 - BETA[0]) * (g - *mean);
                *square += (1.0 - BETA[1]) * (g * g - *square);
                let along = *mean / correct[0] / ((*square / correct[1]).sqrt() + 1e-8);
                let kick = kick * (1.0 - share) * request.temperature * 0.5;
                let edge = 0.5 / levels;
                y[i] = (y[i] + length * (along + kick)).clamp(edge, 1.0 - edge);
            }
        }
        let level = |i: usize| match known(i) {
            true => given[i],
            false => (y[i] * levels).floor().clamp(0.0, levels - 1.0) / (levels - 1.0),
        };
        (0..y.len()).map(level).collect()
    });
    Tensor::new(*request.images.shape(), &pixels)
}
