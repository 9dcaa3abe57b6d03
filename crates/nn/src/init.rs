//! How parameters begin.
//!
//! Fans count the connections of a unit: a linear weight `[in, out]` has fan-in `in` and fan-out
//! `out`; a convolution weight `[kh, kw, in, out]` has kh kw times that. A transposed convolution
//! stores the weight of the convolution it transposes, so its fans are that one's.

use crate::random::{self, Stream};
use grad::{Shape, Tensor};

/// A distribution that first values are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// This number everywhere.
    Constant(f64),
    /// N(mean, std^2).
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Uniform on [low, high).
    Uniform {
        /// The least value.
        low: f64,
        /// The bound above.
        high: f64,
    },
    /// Uniform on ±1 / sqrt(fan_in): how PyTorch begins the weights of linear layers and
    /// convolutions, with the weight's bound for the bias, too.
    FanIn,
    /// Uniform with variance 2 gain^2 / (fan_in + fan_out): bounds ±gain sqrt(6 / (fan_in +
    /// fan_out)). Glorot & Bengio 2010, equation 16.
    XavierUniform {
        /// 1 for tanh and sigmoid.
        gain: f64,
    },
    /// N(0, 2 gain^2 / (fan_in + fan_out)). Glorot & Bengio 2010, equation 12.
    XavierNormal {
        /// 1 for tanh and sigmoid.
        gain: f64,
    },
    /// Uniform with variance gain^2 / fan_in: bounds ±gain sqrt(3 / fan_in). He et al. 2015,
    /// arXiv:1502.01852.
    KaimingUniform {
        /// sqrt(2) for ReLU: [`relu_gain`].
        gain: f64,
    },
    /// N(0, gain^2 / fan_in). He et al. 2015, arXiv:1502.01852, equation 10.
    KaimingNormal {
        /// sqrt(2) for ReLU: [`relu_gain`].
        gain: f64,
    },
    /// `gain` times a random matrix with orthonormal rows or columns, whichever are fewer; of more
    /// than two axes all but the last are the rows. Saxe et al. 2014, arXiv:1312.6120.
    Orthogonal {
        /// The common singular value.
        gain: f64,
    },
}

impl Init {
    /// Zeros.
    pub const ZEROS: Init = Init::Constant(0.0);
    /// Ones.
    pub const ONES: Init = Init::Constant(1.0);

    /// A tensor of first values.
    ///
    /// # Panics
    /// If the distribution depends on fans, or is orthogonal, and the shape has fewer than two
    /// axes.
    #[track_caller]
    pub fn draw(self, shape: impl Into<Shape>, stream: &mut Stream) -> Tensor<f32> {
        let shape = shape.into();
        let normal = |mean: f64, std: f64, stream: &mut Stream| {
            Tensor::from_fn(shape, |_| (mean + std * random::normal(stream)) as f32)
        };
        let within =
            |bound: f64, stream: &mut Stream| random::uniform_tensor(shape, -bound, bound, stream);
        let fans = || fans(&shape);
        let fan_in = || fans().0 as f64;
        let both = || (fans().0 + fans().1) as f64;
        match self {
            Init::Constant(value) => Tensor::full(shape, value as f32),
            Init::Normal { mean, std } => normal(mean, std, stream),
            Init::Uniform { low, high } => random::uniform_tensor(shape, low, high, stream),
            Init::FanIn => within(fan_in().sqrt().recip(), stream),
            Init::XavierUniform { gain } => within(gain * (6.0 / both()).sqrt(), stream),
            Init::XavierNormal { gain } => normal(0.0, gain * (2.0 / both()).sqrt(), stream),
            Init::KaimingUniform { gain } => within(gain * (3.0 / fan_in()).sqrt(), stream),
            Init::KaimingNormal { gain } => normal(0.0, gain / fan_in().sqrt(), stream),
            Init::Orthogonal { gain } => orthogonal(shape, gain, stream),
        }
    }

    /// What a bias begins as beside a weight of this shape that begins so: as in PyTorch uniform
    /// on ±1 / sqrt(fan_in) beside [`Init::FanIn`], else zero.
    #[track_caller]
    pub fn of_bias(self, weight: &Shape) -> Init {
        match self {
            Init::FanIn => {
                let bound = (fans(weight).0 as f64).sqrt().recip();
                Init::Uniform {
                    low: -bound,
                    high: bound,
                }
            }
            _ => Init::ZEROS,
        }
    }
}

/// (fan-in, fan-out) of a weight `[.., in, out]`.
///
/// # Panics
/// If the shape has fewer than two axes.
#[track_caller]
pub fn fans(shape: &Shape) -> (usize, usize) {
    let [taps @ .., inputs, outputs] = &shape[..] else {
        panic!("fans: expected a weight [in, out] or [kh, kw, in, out], found shape {shape}");
    };
    let taps: usize = taps.iter().product();
    (taps * inputs, taps * outputs)
}

/// The gain that keeps the variance through a leaky ReLU of this slope (0: a ReLU):
/// sqrt(2 / (1 + slope^2)).
pub fn relu_gain(slope: f64) -> f64 {
    (2.0 / (1.0 + slope * slope)).sqrt()
}

/// Gram-Schmidt on a Gaussian matrix, each vector orthogonalised twice: uniform over such
/// matrices (the Haar measure), and orthogonal to rounding.
#[track_caller]
fn orthogonal(shape: Shape, gain: f64, stream: &mut Stream) -> Tensor<f32> {
    assert!(
        shape.rank() >= 2,
        "orthogonal: expected a weight of two axes or more, found shape {shape}"
    );
    let columns = shape.last_extent();
    let rows = shape[..shape.rank() - 1].iter().product::<usize>();
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut v: Vec<f64> = (0..length).map(|_| random::normal(stream)).collect();
        for _ in 0..2 {
            for u in &vectors {
                let dot: f64 = u.iter().zip(&v).map(|(u, v)| u * v).sum();
                v.iter_mut().zip(u).for_each(|(v, u)| *v -= dot * u);
            }
        }
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.iter_mut().for_each(|v| *v /= norm);
        vectors.push(v);
    }
    Tensor::from_fn(shape, |i| {
        let (row, column) = (i / columns, i % columns);
        let value = if rows >= columns {
            vectors[column][row]
        } else {
            vectors[row][column]
        };
        (gain * value) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draw(init: Init, shape: &[usize]) -> Vec<f64> {
        let values = init.draw(shape, &mut random::stream(&[11]));
        values.data().iter().map(|&x| f64::from(x)).collect()
    }

    /// Mean 0, the standard deviation within 3 %, and nothing beyond the bound.
    fn check(init: Init, shape: &[usize], std: f64, bound: f64) {
        let values = draw(init, shape);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let found = (values.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
        assert!(mean.abs() < 4.0 * std / n.sqrt(), "{init:?}: mean {mean}");
        assert!(
            (found / std - 1.0).abs() < 0.03,
            "{init:?}: std {found}, expected {std}"
        );
        assert!(
            values.iter().all(|x| x.abs() <= bound * (1.0 + 1e-6)),
            "{init:?}"
        );
    }

    #[test]
    fn spreads_are_those_of_the_papers() {
        let inf = f64::INFINITY;
        let (linear, conv) = ([60, 140], [3, 3, 20, 40]);
        check(
            Init::Normal {
                mean: 0.0,
                std: 0.02,
            },
            &linear,
            0.02,
            inf,
        );
        let bound = 1.0 / 60f64.sqrt();
        check(Init::FanIn, &linear, bound / 3f64.sqrt(), bound);
        check(
            Init::XavierUniform { gain: 1.0 },
            &linear,
            0.1,
            0.1 * 3f64.sqrt(),
        );
        check(Init::XavierNormal { gain: 2.0 }, &linear, 0.2, inf);
        let std = (2.0f64 / 180.0).sqrt();
        check(
            Init::KaimingUniform {
                gain: relu_gain(0.0),
            },
            &conv,
            std,
            std * 3f64.sqrt(),
        );
        check(
            Init::KaimingNormal {
                gain: relu_gain(0.0),
            },
            &conv,
            std,
            inf,
        );
        check(
            Init::XavierNormal { gain: 1.0 },
            &conv,
            (2.0f64 / (9.0 * 60.0)).sqrt(),
            inf,
        );
    }

    #[test]
    fn a_bias_follows_its_weight() {
        let weight = Shape::from([3, 3, 4, 8]);
        let bound = 1.0 / 6.0;
        assert_eq!(
            Init::FanIn.of_bias(&weight),
            Init::Uniform {
                low: -bound,
                high: bound
            }
        );
        assert_eq!(
            Init::XavierNormal { gain: 1.0 }.of_bias(&weight),
            Init::ZEROS
        );
    }

    #[test]
    #[should_panic(expected = "found shape [5]")]
    fn a_vector_has_no_fans() {
        Init::FanIn.draw([5], &mut random::stream(&[]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn orthogonal_means_orthogonal(rows in 1usize..12, columns in 1usize..12, taps in 1usize..4) {
            let w = draw(Init::Orthogonal { gain: 1.5 }, &[taps, rows, columns]);
            let rows = taps * rows;
            let at = |vector: usize, i: usize| {
                if rows >= columns { w[i * columns + vector] } else { w[vector * columns + i] }
            };
            for a in 0..rows.min(columns) {
                for b in 0..=a {
                    let dot: f64 = (0..rows.max(columns)).map(|i| at(a, i) * at(b, i)).sum();
                    let expected = if a == b { 2.25 } else { 0.0 };
                    prop_assert!((dot - expected).abs() < 1e-5, "{a} {b}: {dot}");
                }
            }
        }
    }
}
