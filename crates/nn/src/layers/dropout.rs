//! Dropout.

use crate::random::{self, Stream};
use grad::{Element, Tensor, Var};

/// In training each number is 0 with probability `rate` and 1 / (1 - rate) times itself
/// otherwise, so that its mean stays. Srivastava et al. 2014.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    rate: f64,
}

impl Dropout {
    /// # Panics
    /// If the rate is not in [0, 1).
    #[track_caller]
    pub fn new(rate: f64) -> Dropout {
        assert!(
            (0.0..1.0).contains(&rate),
            "dropout: expected a rate of at least 0 and less than 1, found {rate}"
        );
        Dropout { rate }
    }

    /// x: `[B, ..]` -> `[B, ..]` in training: row i is masked by numbers from `stream_of(i)`, which
    /// is usually [`Batch::stream`](crate::model::Batch::stream), so that an example's mask does
    /// not depend on the batch it is in. In evaluation dropout does nothing and need not be called.
    ///
    /// # Panics
    /// If `x` has no axis.
    #[track_caller]
    pub fn forward<T: Element>(&self, x: &Var<T>, stream_of: impl Fn(usize) -> Stream) -> Var<T> {
        let shape = *x.shape();
        assert!(
            shape.rank() > 0,
            "dropout: expected x of shape [B, ..], found a scalar"
        );
        if self.rate == 0.0 || shape.elements() == 0 {
            return x.clone();
        }
        let kept = T::from_f64(1.0 / (1.0 - self.rate));
        let mask = Tensor::build(shape, |out| {
            for (i, row) in out
                .chunks_exact_mut(shape.elements() / shape[0])
                .enumerate()
            {
                let mut stream = stream_of(i);
                let mut draw = || random::uniform(&mut stream) < self.rate;
                row.fill_with(|| if draw() { T::ZERO } else { kept });
            }
        });
        x * &Var::constant(mask)
    }
}
