//! What the code of a flow is distributed as.

use grad::{Element, Tensor, Var};
use nn::random::{Stream, normal, uniform};
use std::f64::consts::PI;

/// The distribution of each number of the code, independent of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// N(0, 1).
    Normal,
    /// The standard logistic distribution, e^-z / (1 + e^-z)^2.
    Logistic,
}

impl Prior {
    /// log p(z) in nats, `[B]`, of z `[B, D]`.
    pub fn log_density<T: Element>(self, z: &Var<T>) -> Var<T> {
        let dims = z.shape().elements() / z.shape()[0].max(1);
        match self {
            Prior::Normal => z.square().sum_axes(&[1]) * -0.5 - 0.5 * dims as f64 * (2.0 * PI).ln(),
            // -z - 2 log(1 + e^-z), written so that neither end overflows.
            Prior::Logistic => -(z.softplus() + (-z).softplus()).sum_axes(&[1]),
        }
    }

    /// One number.
    pub fn draw(self, stream: &mut Stream) -> f64 {
        match self {
            Prior::Normal => normal(stream),
            Prior::Logistic => {
                // A multiple of 2^-53 moved to the middle of its step: never 0 or 1.
                let u = uniform(stream) + 0.5 / (1u64 << 53) as f64;
                (u / (1.0 - u)).ln()
            }
        }
    }

    /// Codes `[count, dims]`; code i comes from the stream that `of(i)` names. Numbers larger than
    /// `truncation` are drawn again, and all are multiplied by the temperature at the end.
    pub fn codes(
        self,
        count: usize,
        dims: usize,
        temperature: f32,
        truncation: Option<f32>,
        of: impl Fn(usize) -> Stream,
    ) -> Tensor<f32> {
        let most = truncation.map_or(f64::INFINITY, f64::from);
        Tensor::build([count, dims], |out| {
            for (i, row) in out.chunks_exact_mut(dims.max(1)).enumerate() {
                let mut stream = of(i);
                row.fill_with(|| {
                    let mut z = self.draw(&mut stream);
                    while z.abs() > most {
                        z = self.draw(&mut stream);
                    }
                    z as f32 * temperature
                });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::stream;

    #[test]
    fn densities_integrate_to_one_and_draws_follow_them() {
        for prior in [Prior::Normal, Prior::Logistic] {
            let step = 1e-3;
            let grid = Tensor::<f64>::from_fn([80_001, 1], |i| (i as f64 - 40_000.0) * step);
            let density = prior.log_density(&Var::constant(grid.clone())).exp();
            let integral: f64 = density.value().data().iter().sum::<f64>() * step;
            assert!((integral - 1.0).abs() < 1e-9, "{prior:?}: {integral}");
            // The share below 1 of draws against the integral up to 1.
            let below = |(x, p): (&f64, &f64)| if *x < 1.0 { p * step } else { 0.0 };
            let expected: f64 = grid
                .data()
                .iter()
                .zip(density.value().data())
                .map(below)
                .sum();
            let mut stream = stream(&[2]);
            let n = 100_000;
            let found = (0..n).filter(|_| prior.draw(&mut stream) < 1.0).count() as f64 / n as f64;
            assert!(
                (found - expected).abs() < 0.006,
                "{prior:?}: {found}, {expected}"
            );
        }
    }

    #[test]
    fn truncated_codes_stay_within() {
        let codes = Prior::Logistic.codes(5, 200, 1.0, Some(1.5), |i| stream(&[i as u64]));
        assert!(codes.data().iter().all(|z| z.abs() <= 1.5));
        assert!(codes.data().iter().any(|z| z.abs() > 1.2));
    }
}
