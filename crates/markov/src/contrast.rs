//! The gradient of a Boltzmann machine's likelihood, handed to automatic differentiation.
//!
//! ```text
//! -d log p(v) / d theta = d E(v, h) / d theta over p(h | v), less the same over the machine's own p(v, h)
//! ```
//!
//! Both sides are means over rows here: *positive* ones that hold data and *negative* ones that
//! hold the machine's samples, whose hidden units are probabilities. The gradient may be
//! *centred*: taken as if the units were v - mu and h - lambda, with the biases that make it the
//! same machine. G. Montavon and K.-R. Mueller 2012; J. Melchior, A. Fischer and L. Wiskott 2016,
//! "How to center deep Boltzmann machines", algorithm 1:
//!
//! ```text
//! W:  G = sum w (v - mu) (h - lambda)     b:  sum w v - G lambda     c:  sum w h - G^T mu
//! ```
//!
//! with w = -1 for positive rows. The loss is linear in the parameters, with these sums as its
//! derivatives, so the product that found the hidden probabilities is also the one whose backward
//! pass makes the gradient of W.

use grad::{Element, Tensor, Var};

/// Some rows of units on both sides.
pub struct Units<T: Element> {
    /// Visible units less mu, `[n, D]`.
    pub visible: Tensor<T>,
    /// (v - mu) W, `[n, H]`, recorded.
    pub product: Var<T>,
    /// Hidden units: probabilities, `[n, H]`.
    pub hidden: Tensor<T>,
    /// What each row counts: -1 for data.
    pub weight: f64,
}

/// mu `[D]` and lambda `[H]`.
pub struct Offsets<T: Element> {
    /// mu.
    pub visible: Tensor<T>,
    /// lambda.
    pub hidden: Tensor<T>,
}

impl<T: Element> Units<T> {
    /// The rows of visible units v `[n, D]`, their product with W and no hidden units yet.
    pub fn of(v: &Tensor<T>, weight: &Var<T>, offsets: &Offsets<T>, counts: f64) -> Units<T> {
        let d = offsets.visible.len();
        let mu = offsets.visible.data();
        let visible = Tensor::build(*v.shape(), |out| {
            for (out, v) in out.chunks_exact_mut(d).zip(v.data().chunks_exact(d)) {
                for ((out, &v), &mu) in out.iter_mut().zip(v).zip(mu) {
                    *out = v - mu;
                }
            }
        });
        let product = Var::constant(visible.clone()).matmul(weight);
        Units {
            hidden: Tensor::zeros(*product.shape()),
            weight: counts,
            visible,
            product,
        }
    }

    /// A variable of the parameters whose derivatives are the centred ones, summed over the rows;
    /// without b where the visible units are Gaussian.
    pub fn sum(&self, b: Option<&Var<T>>, c: &Var<T>, offsets: &Offsets<T>) -> Var<T> {
        let (d, h) = (offsets.visible.len(), offsets.hidden.len());
        let (mu, lambda) = (offsets.visible.data(), offsets.hidden.data());
        let w = T::from_f64(self.weight);
        let mut of_b = vec![T::ZERO; d];
        let mut of_c = vec![T::ZERO; h];
        let centred = Tensor::build(*self.hidden.shape(), |out| {
            let rows = (out
                .chunks_exact_mut(h)
                .zip(self.hidden.data().chunks_exact(h)))
            .zip(self.visible.data().chunks_exact(d));
            for ((out, hidden), visible) in rows {
                for ((out, &y), &lambda) in out.iter_mut().zip(hidden).zip(lambda) {
                    *out = w * (y - lambda);
                }
                // What of each row's share of G goes to the biases: (v - mu) (lambda (h - lambda)).
                let along = w - dot(out, lambda);
                for ((sum, &x), &mu) in of_b.iter_mut().zip(visible).zip(mu) {
                    *sum = *sum + along * x + w * mu;
                }
                let along = dot(visible, mu);
                for ((sum, &out), &y) in of_c.iter_mut().zip(&*out).zip(hidden) {
                    *sum = *sum + w * y - along * out;
                }
            }
        });
        let rest = linear(&self.product, centred) + linear(c, Tensor::new([h], &of_c));
        match b {
            Some(b) => rest + linear(b, Tensor::new([d], &of_b)),
            None => rest,
        }
    }
}

/// The sum of `var` times `by`: `by` is its derivative.
pub fn linear<T: Element>(var: &Var<T>, by: Tensor<T>) -> Var<T> {
    (var * &Var::constant(by)).sum()
}

fn dot<T: Element>(a: &[T], b: &[T]) -> T {
    grad::kernels::reduce::dot(a, b)
}
