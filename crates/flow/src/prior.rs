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

    /// One number that is not larger than `most`, as if larger ones were drawn again.
    fn within(self, most: Option<f32>, stream: &mut Stream) -> f64 {
        let Some(most) = most.map(f64::from) else {
            return self.draw(stream);
        };
        // The shape of the density, 1 at 0.
        let shape = |z: f64| match self {
            Prior::Normal => (-0.5 * z * z).exp(),
            Prior::Logistic => (0.5 * z).cosh().powi(-2),
        };
        loop {
            // Below 1 the density is nearly flat: few numbers are refused either way.
            let z = match most > 1.0 {
                true => self.draw(stream),
                false => most * (2.0 * uniform(stream) - 1.0),
            };
            let accepted = match most > 1.0 {
                true => z.abs() <= most,
                false => uniform(stream) < shape(z),
            };
            if accepted {
                return z;
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
        Tensor::build([count, dims], |out| {
            for (i, row) in out.chunks_exact_mut(dims.max(1)).enumerate() {
                let mut stream = of(i);
                row.fill_with(|| self.within(truncation, &mut stream) as f32 * temperature);
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
    fn truncated_codes_are_those_of_the_prior_within() {
        for (prior, most) in [
            (Prior::Logistic, 1.5f32),
            (Prior::Logistic, 0.9),
            (Prior::Normal, 0.9),
            (Prior::Normal, 1e-6),
        ] {
            let codes = prior.codes(5, 4000, 1.0, Some(most), |i| stream(&[i as u64]));
            assert!(codes.data().iter().all(|z| z.abs() <= most));
            // The mean square against that of the density on the interval.
            let grid = (0..1000).map(|i| f64::from(most) * (i as f64 + 0.5) / 1000.0);
            let (mut mass, mut square) = (0.0, 0.0);
            for z in grid {
                let z = Var::constant(Tensor::<f64>::full([1, 1], z));
                let density = prior.log_density(&z).exp().item();
                mass += density;
                square += density * z.item() * z.item();
            }
            let found = codes
                .data()
                .iter()
                .map(|&z| f64::from(z).powi(2))
                .sum::<f64>()
                / 20_000.0;
            let off = found / (square / mass) - 1.0;
            assert!(off.abs() < 0.03, "{prior:?} within {most}: off by {off}");
        }
    }
}
