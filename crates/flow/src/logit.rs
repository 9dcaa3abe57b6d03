//! From the unit interval to the real line, and numbers as they come to numbers around 0.

use crate::layer::{At, Layer, sum_rows};
use grad::{Element, Tensor, Var};

/// z = logit(alpha + (1 - 2 alpha) x) for x in [0, 1]. Dinh et al. 2017, arXiv:1605.08803,
/// section 4.1.
///
/// ```text
/// log |dz/dx| = log(1 - 2 alpha) - log y - log(1 - y),   y = alpha + (1 - 2 alpha) x
/// ```
pub struct Logit {
    alpha: f64,
}

impl Logit {
    /// With 0 < alpha < 1/2, which keeps the ends of the interval finite.
    ///
    /// # Panics
    /// If alpha is not between them.
    #[track_caller]
    pub fn new(alpha: f64) -> Logit {
        assert!(
            alpha > 0.0 && alpha < 0.5,
            "logit: expected alpha between 0 and 1/2, found {alpha}"
        );
        Logit { alpha }
    }
}

impl<T: Element> Layer<T> for Logit {
    fn forward(&self, _: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let y = x.affine(1.0 - 2.0 * self.alpha, self.alpha);
        // 1 - y from x, not from y: near 1, y has lost what is left.
        let rest = x.affine(2.0 * self.alpha - 1.0, 1.0 - self.alpha);
        let (log_y, log_rest) = (y.log(), rest.log());
        let dims = x.shape().elements() / x.shape()[0].max(1);
        let constant = dims as f64 * (1.0 - 2.0 * self.alpha).ln();
        let log_det = -sum_rows(&(&log_y + &log_rest)) + constant;
        (log_y - log_rest, log_det)
    }

    /// Beyond what the interval maps to, x lies outside of it.
    fn inverse(&self, _: &At<T>, z: &Var<T>) -> Var<T> {
        let scale = 1.0 / (1.0 - 2.0 * self.alpha);
        z.sigmoid().affine(scale, -self.alpha * scale)
    }
}

/// z = x + c, the same c everywhere: brings [0, 1] around 0.
pub struct Shift(
    /// c.
    pub f64,
);

impl<T: Element> Layer<T> for Shift {
    fn forward(&self, _: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        (x + self.0, Var::constant(Tensor::zeros([x.shape()[0]])))
    }

    fn inverse(&self, _: &At<T>, z: &Var<T>) -> Var<T> {
        z - self.0
    }
}
