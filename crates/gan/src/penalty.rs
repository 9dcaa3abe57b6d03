//! The gradient penalty of WGAN-GP.
//!
//! I. Gulrajani et al. 2017, arXiv:1704.00028, equation 3: lambda (|grad_x D(x)| - 1)^2 at points
//! between a real and a generated image, a share of its own for each pair (algorithm 1, line 6).
//! The norm is over all dimensions of an image. The gradient is recorded on the tape, so the
//! penalty is differentiated through it: a second derivative, and no approximation of one.

use grad::{Element, Tape, Tensor, Var};

/// Below this a norm has no direction: it keeps the square root differentiable at 0.
const TINY: f64 = 1e-12;

/// (|grad_x D| - 1)^2 of each image, `[B]`, at `share` real + (1 - share) fake.
///
/// real and fake: `[B, H, W, C]`, share: `[B, 1]`; `judge` gives D of images, `[B]`, and must not
/// mix images of the batch. The parameters it uses are constants or on `tape`.
///
/// # Panics
/// If an operation of the discriminator has no second derivative.
#[track_caller]
pub fn gradient_penalty<T: Element>(
    tape: &Tape<T>,
    [real, fake]: [&Tensor<T>; 2],
    share: &Tensor<T>,
    judge: impl Fn(&Var<T>) -> Var<T>,
) -> Var<T> {
    let count = real.shape()[0];
    let dims = real.len() / count.max(1);
    let between = Tensor::from_fn(*real.shape(), |i| {
        let (x, y, a) = (real.data()[i], fake.data()[i], share.data()[i / dims]);
        T::from_f64(y.to_f64() + a.to_f64() * (x.to_f64() - y.to_f64()))
    });
    let between = tape.var(between);
    let sum = judge(&between).sum();
    let gradient = tape.gradients_recorded(&sum, &[&between]).remove(0);
    let squares = gradient.reshape([count, dims]).square().sum_axes(&[1]);
    squares.shift(TINY).sqrt().shift(-1.0).square()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::{normal_tensor, stream, uniform_tensor};

    /// D(x) = w x has the gradient w everywhere, so the penalty is (|w| - 1)^2, and its derivative
    /// by w is 2 (|w| - 1) w / |w|.
    #[test]
    fn a_linear_critic_has_its_own_penalty() {
        let mut s = stream(&[1]);
        let [real, fake] = [(), ()].map(|()| normal_tensor::<f64>([5, 2, 3, 1], &mut s));
        let share = uniform_tensor([5, 1], 0.0, 1.0, &mut s);
        let tape = Tape::new();
        let w = tape.var(normal_tensor([6, 1], &mut s));
        let judge = |x: &Var<f64>| x.reshape([5, 6]).matmul(&w).reshape([5]);
        let penalty = gradient_penalty(&tape, [&real, &fake], &share, judge);
        let norm = w.value().data().iter().map(|w| w * w).sum::<f64>().sqrt();
        for found in penalty.value().data() {
            assert!((found - (norm - 1.0).powi(2)).abs() < 1e-12);
        }
        let slope = &tape.gradients(&penalty.sum(), &[&w])[0];
        for (found, w) in slope.data().iter().zip(w.value().data()) {
            let expected = 5.0 * 2.0 * (norm - 1.0) * w / norm;
            assert!((found - expected).abs() < 1e-10, "{found} {expected}");
        }
    }
}
