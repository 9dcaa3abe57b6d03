//! Adversarial images: the fast gradient sign method and projected gradient descent.
//!
//! I. Goodfellow et al. 2015, arXiv:1412.6572; A. Madry et al. 2018, arXiv:1706.06083. The ball
//! around the image and the range of pixels are kept after every step. Of all images on the way,
//! that of one full step included, the one that fools best is taken, so many steps are never weaker
//! than one.

use crate::witness::largest;
use grad::{Tape, Tensor, Var};
use nn::Params;
use nn::model::Classifier;
use std::cmp::Ordering;

/// What an image may be changed by: epsilon is the largest distance in this norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ball {
    /// The largest change of a pixel.
    Infinity,
    /// The root of the sum of squared changes.
    Euclidean,
}

/// A way to change images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attack {
    /// Which distance is bounded.
    pub ball: Ball,
    /// The bound.
    pub epsilon: f32,
    /// Steps of gradient ascent; with one, the fast gradient (sign) method.
    pub steps: usize,
    /// Whether the labels are classes to be reached, not to be left.
    pub targeted: bool,
}

/// What a classifier says of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The class.
    pub class: u32,
    /// -log of the probability of the label, in nats.
    pub loss: f32,
}

/// The answers for images with these labels.
pub fn answers(
    classifier: &dyn Classifier,
    params: &Params<f32>,
    images: &Tensor<f32>,
    labels: &[u32],
) -> Vec<Answer> {
    super::in_parts(images, |start, x| {
        let labels = &labels[start..start + x.shape()[0]];
        let p = params.constants();
        let logits = classifier.logits(&p, &Var::constant(x));
        answers_of(&logits, labels)
    })
}

fn answers_of(logits: &Var<f32>, labels: &[u32]) -> Vec<Answer> {
    let losses = logits.softmax_cross_entropy(labels.into());
    let width = logits.shape().last_extent();
    let rows = logits.value().data().chunks_exact(width);
    (rows.zip(losses.value().data()))
        .map(|(row, &loss)| Answer {
            class: largest(row),
            loss,
        })
        .collect()
}

/// Rows of an image with the answer to it.
struct Candidate {
    pixels: Vec<f32>,
    /// Whether it fools, and by how much.
    merit: (bool, f32),
}

impl Attack {
    /// Images near these that the classifier takes for another class, where it can be had; with
    /// `targeted`, for the class of the label.
    ///
    /// # Panics
    /// If there is not a label for each image.
    #[track_caller]
    pub fn run(
        &self,
        classifier: &dyn Classifier,
        params: &Params<f32>,
        images: &Tensor<f32>,
        labels: &[u32],
    ) -> Tensor<f32> {
        assert_eq!(
            images.shape()[0],
            labels.len(),
            "attack: a label for each image"
        );
        if self.epsilon <= 0.0 || self.steps == 0 {
            return images.clone();
        }
        let pixels = super::in_parts(images, |start, x| {
            let labels = &labels[start..start + x.shape()[0]];
            self.part(classifier, params, &x, labels)
        });
        Tensor::new(*images.shape(), &pixels)
    }

    fn part(
        &self,
        classifier: &dyn Classifier,
        params: &Params<f32>,
        origin: &Tensor<f32>,
        labels: &[u32],
    ) -> Vec<f32> {
        let dims = origin.len() / labels.len().max(1);
        let mut best: Vec<Option<Candidate>> = labels.iter().map(|_| None).collect();
        let mut x = origin.clone();
        // Far enough that any point of the ball can be reached, in steps that can turn.
        let size = match self.steps {
            1 => self.epsilon,
            steps => 2.5 * self.epsilon / steps as f32,
        };
        for step in 0..=self.steps {
            let gradient = self.consider(classifier, params, &x, labels, &mut best);
            if step == 0 && self.steps > 1 {
                let far = self.moved(&x, &gradient, origin, self.epsilon, dims);
                self.consider(classifier, params, &far, labels, &mut best);
            }
            if step < self.steps {
                x = self.moved(&x, &gradient, origin, size, dims);
            }
        }
        let chosen = best.into_iter().flatten();
        chosen.flat_map(|candidate| candidate.pixels).collect()
    }

    /// Keeps images that are better than the best so far; the gradient of what is to grow.
    fn consider(
        &self,
        classifier: &dyn Classifier,
        params: &Params<f32>,
        x: &Tensor<f32>,
        labels: &[u32],
        best: &mut [Option<Candidate>],
    ) -> Tensor<f32> {
        let (tape, p) = (Tape::new(), params.constants());
        let var = tape.var(x.clone());
        let logits = classifier.logits(&p, &var);
        let sign = if self.targeted { -1.0 } else { 1.0 };
        let dims = x.len() / labels.len().max(1);
        let answers = answers_of(&logits.detach(), labels);
        let rows = x.data().chunks_exact(dims.max(1));
        for (((answer, label), row), best) in answers.iter().zip(labels).zip(rows).zip(best) {
            let fools = (answer.class == *label) == self.targeted;
            let merit = (fools, sign * answer.loss);
            let better = |old: &Candidate| match merit.0.cmp(&old.merit.0) {
                Ordering::Equal => merit.1 > old.merit.1,
                order => order == Ordering::Greater,
            };
            if best.as_ref().is_none_or(better) {
                let pixels = row.to_vec();
                *best = Some(Candidate { pixels, merit });
            }
        }
        let loss = logits.softmax_cross_entropy(labels.into()).sum() * f64::from(sign);
        tape.into_gradients(&loss, &[&var]).remove(0)
    }

    /// x after a step of this size, back in the ball around the origin and in [0, 1]. A gradient of
    /// 0 moves nothing.
    fn moved(
        &self,
        x: &Tensor<f32>,
        gradient: &Tensor<f32>,
        origin: &Tensor<f32>,
        size: f32,
        dims: usize,
    ) -> Tensor<f32> {
        let mut next = x.clone();
        let rows = next.make_mut().chunks_exact_mut(dims);
        let rows = rows.zip(gradient.data().chunks_exact(dims));
        for ((next, gradient), origin) in rows.zip(origin.data().chunks_exact(dims)) {
            match self.ball {
                Ball::Infinity => {
                    for ((x, g), o) in next.iter_mut().zip(gradient).zip(origin) {
                        let sign = if *g == 0.0 { 0.0 } else { g.signum() };
                        let near = (*x + size * sign).clamp(o - self.epsilon, o + self.epsilon);
                        *x = near.clamp(0.0, 1.0);
                    }
                }
                Ball::Euclidean => {
                    let norm = length(gradient.iter().copied());
                    let scale = if norm > 0.0 { size / norm } else { 0.0 };
                    for ((x, g), o) in next.iter_mut().zip(gradient).zip(origin) {
                        *x += scale * g - o;
                    }
                    let far = length(next.iter().copied());
                    let back = if far > self.epsilon {
                        self.epsilon / far
                    } else {
                        1.0
                    };
                    // Towards the origin, which is in [0, 1], so a clamp leads no further away.
                    for (x, o) in next.iter_mut().zip(origin) {
                        *x = (o + back * *x).clamp(0.0, 1.0);
                    }
                }
            }
        }
        next
    }
}

/// The Euclidean length.
fn length(x: impl Iterator<Item = f32>) -> f32 {
    x.map(|x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32
}
