//! Muon: steps along the orthogonal matrix nearest to the mean gradient.
//!
//! A gradient of a weight matrix has few large singular values and many small ones. With all of
//! them made 1 the rare directions are learned as fast as the common ones. The singular vectors
//! are not computed: an odd polynomial of a matrix acts on its singular values alone, and one that
//! draws [0, 1] towards 1, applied five times, is close enough.
//!
//! For tensors of two dimensions or more, seen as matrices `[product of the others, last]`:
//! b <- momentum b + (1 - momentum) g; o = the orthogonal matrix nearest to
//! momentum b + (1 - momentum) g, nearly; p <- (1 - lr weight_decay) p - lr 0.2 sqrt(l) o, l the
//! longer side, so that steps are as long as Adam's. Other tensors: Adam.
//! Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the length of
//! steps and the decay are of Liu et al. 2025, arXiv:2502.16982, section 2.2.

use crate::optim::Optimiser;
use crate::optim::pass::{self, Matrix};
use crate::optim::rule::{Rule, Setting};
use grad::kernels::gemm::{self, Beta, Epilogue, Mat};
use grad::kernels::reduce;

pub(super) static RULE: Rule = Rule {
    kind: "muon",
    name: "Muon",
    settings: &[
        Setting::LR,
        // The decay of the mean gradient.
        Setting::decay("momentum", 0.95),
        // The share of a matrix that a step with lr = 1 would take away.
        Setting::not_negative("weight_decay", 0.1),
    ],
    moments: |_, shape| match pass::sides(shape) {
        Some(_) => &["momentum"],
        None => &["m", "v"],
    },
    at: |optimiser, step| Optimiser::adam(optimiser.lr()).at(step),
    matrices: Some(|optimiser, step| {
        let [lr, momentum, weight_decay, ..] = optimiser.values();
        let muon = Muon {
            learning_rate: lr * step.lr_factor,
            momentum: momentum as f32,
            weight_decay,
            gradient_scale: step.gradient_scale as f32,
        };
        Box::new(move |matrix| muon.update(matrix))
    }),
};

impl Optimiser {
    /// Muon with a momentum of 0.95 and a weight decay of 0.1: Adam for vectors, for matrices the
    /// orthogonal matrix nearest to the mean gradient.
    pub fn muon(lr: f64) -> Optimiser {
        Optimiser::of(&RULE, lr)
    }
}

/// x <- A x + B x^3 + C x^5. Its slope at 0 makes small values grow 3.4 times a round; in return
/// they end between 0.7 and 1.2 instead of at 1 (Jordan et al. 2024).
const POLYNOMIAL: [f32; 3] = [3.4445, -4.775, 2.0315];
const ROUNDS: usize = 5;

/// What is smaller counts as 0: a weight or a mean gradient, and an entry of that after the division
/// by its norm. Those of a dead unit fade without end, and products of subnormal numbers take many
/// times as long. The first has a square that is a normal number, the second a fourth power; the
/// second is about what the rounding of the sums leaves undecided anyway.
const FADED: [f32; 2] = [1e-15, 1e-7];

fn faded(x: f32, least: f32) -> f32 {
    if x.abs() < least { 0.0 } else { x }
}

/// The rule at one step.
#[derive(Clone, Copy)]
pub(super) struct Muon {
    learning_rate: f64,
    momentum: f32,
    weight_decay: f64,
    gradient_scale: f32,
}

impl Muon {
    fn update(self, matrix: &mut Matrix) {
        let Matrix {
            sides: [rows, cols],
            ref mut piece,
            ref mut scratch,
        } = *matrix;
        let (len, short) = (rows * cols, rows.min(cols));
        scratch.resize(2 * len + 2 * short * short, 0.0);
        let (mut x, rest) = scratch.split_at_mut(len);
        let (mut y, rest) = rest.split_at_mut(len);
        let (gram, factor) = rest.split_at_mut(short * short);

        let [mean, _] = &mut piece.moments;
        let [a, b] = piece.g;
        for (i, (x, mean)) in x.iter_mut().zip(mean.iter_mut()).enumerate() {
            let sum = a[i] + b.get(i).copied().unwrap_or(0.0);
            let g = self.gradient_scale * sum;
            *mean = faded(g + self.momentum * (*mean - g), FADED[0]);
            // As if the gradient had been taken after the momentum's step (Nesterov).
            *x = faded(g + self.momentum * (*mean - g), FADED[0]);
        }
        let norm = reduce::dot(x, x).sqrt();
        let scale = 1.0 / norm.max(f32::MIN_POSITIVE);
        x.iter_mut().for_each(|x| *x = faded(*x * scale, FADED[1]));

        let [linear, cubic, quintic] = POLYNOMIAL;
        for _ in 0..ROUNDS {
            let tall = Mat::new(x, rows, cols);
            let (left, right) = if rows > cols {
                (tall.t(), tall)
            } else {
                (tall, tall.t())
            };
            gemm::gemm(left, right, Beta::Zero, gram, Epilogue::NONE);
            let square = Mat::new(gram, short, short);
            gemm::gemm(square, square, Beta::Zero, factor, Epilogue::NONE);
            for (factor, &gram) in factor.iter_mut().zip(&*gram) {
                *factor = cubic * gram + quintic * *factor;
            }
            factor
                .iter_mut()
                .step_by(short + 1)
                .for_each(|x| *x += linear);
            let factor = Mat::new(factor, short, short);
            let (left, right) = if rows > cols {
                (tall, factor)
            } else {
                (factor, tall)
            };
            gemm::gemm(left, right, Beta::Zero, y, Epilogue::NONE);
            std::mem::swap(&mut x, &mut y);
        }

        let keep = (1.0 - self.learning_rate * self.weight_decay) as f32;
        let length = self.learning_rate * 0.2 * (rows.max(cols) as f64).sqrt();
        for (p, &x) in piece.p.iter_mut().zip(&*x) {
            *p = faded(keep * *p - length as f32 * x, FADED[0]);
        }
    }
}
