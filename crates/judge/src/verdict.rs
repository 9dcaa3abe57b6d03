//! All measures of a set of images at once.

use crate::classes;
use crate::frechet::{Moments, frechet_distance};
use crate::kid::{KernelDistance, kernel_distance};
use crate::neighbours::{Balls, NEAREST, balls};
use crate::two_sample::{TwoSample, two_sample};
use crate::witness::Seen;

/// The least number of images of either set that all measures can be taken of.
pub const LEAST: usize = 20;

/// What is measured of a set of images against real ones.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// The kernel distance: the headline.
    pub kernel: KernelDistance,
    /// The Fréchet distance, comparable at this number of images only.
    pub frechet: f64,
    /// Precision, recall, density and coverage.
    pub balls: Balls,
    /// How well a classifier tells the sets apart.
    pub two_sample: TwoSample,
    /// The share of each class as the witness tells it.
    pub shares: Vec<f64>,
    /// The total variation between these shares and those of the real images.
    pub imbalance: f64,
}

impl Verdict {
    /// Of `images` against `real`, with as many classes as the witness knows. Both sets should
    /// have one size.
    ///
    /// # Panics
    /// If either set has less than [`LEAST`] images.
    #[track_caller]
    pub fn of(images: &Seen, real: &Seen, classes: usize) -> Verdict {
        let least = images.classes.len().min(real.classes.len());
        assert!(
            least >= LEAST,
            "verdict: expected {LEAST} images, found {least}"
        );
        let shares = classes::shares(&images.classes, classes);
        let of_real = classes::shares(&real.classes, classes);
        Verdict {
            kernel: kernel_distance(&real.features, &images.features, 0),
            frechet: frechet_distance(&Moments::of(&real.features), &Moments::of(&images.features)),
            balls: balls(&real.features, &images.features, NEAREST),
            two_sample: two_sample(&real.features, &images.features, 0),
            imbalance: classes::total_variation(&shares, &of_real),
            shares,
        }
    }
}

/// What the shares of classes say in plain words: classes that are hardly there, and one that is
/// most of all.
pub fn class_warnings(shares: &[f64], of_real: &[f64]) -> Vec<String> {
    let missing: Vec<String> = (shares.iter().zip(of_real).enumerate())
        .filter(|(_, (found, real))| **real > 0.01 && **found < 0.1 * **real)
        .map(|(class, _)| class.to_string())
        .collect();
    let mut list = Vec::new();
    if !missing.is_empty() {
        list.push(format!(
            "modes have collapsed: samples have hardly any of class {}",
            missing.join(", ")
        ));
    }
    let most = shares.iter().zip(of_real).enumerate();
    let most = most.max_by(|a, b| (a.1.0 - a.1.1).total_cmp(&(b.1.0 - b.1.1)));
    if let Some((class, (found, real))) = most
        && *found > 0.5
        && *found > 2.0 * real
    {
        list.push(format!(
            "modes have collapsed: {:.0}% of samples are of class {class}, {:.0}% of the data are",
            100.0 * found,
            100.0 * real
        ));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use nn::random::{normal_tensor, stream};

    fn seen(rows: usize, spread: f64, shift: f64, seed: u64) -> Seen {
        let x = normal_tensor::<f64>([rows, 6], &mut stream(&[seed]));
        let x: Vec<f64> = x.data().iter().map(|x| shift + spread * x).collect();
        Seen {
            classes: x
                .chunks_exact(6)
                .map(|row| u32::from(row[0] > 0.0))
                .collect(),
            features: Matrix::new(rows, 6, &x),
        }
    }

    /// Every measure ranks another sample of the same distribution before a near one, and that
    /// before a far one.
    #[test]
    fn all_measures_rank_alike() {
        let real = seen(1000, 1.0, 0.0, 1);
        let ranked = [(1.0, 0.0), (0.8, 0.4), (0.5, 2.0)];
        let of = ranked.map(|(spread, shift)| Verdict::of(&seen(1000, spread, shift, 2), &real, 2));
        for pair in of.windows(2) {
            let [better, worse] = pair else {
                unreachable!()
            };
            assert!(better.kernel.value < worse.kernel.value);
            assert!(better.frechet < worse.frechet);
            assert!(better.balls.recall > worse.balls.recall);
            assert!(better.balls.coverage > worse.balls.coverage);
            assert!(better.two_sample.accuracy < worse.two_sample.accuracy);
            assert!(better.imbalance < worse.imbalance);
        }
        assert!(of[0].balls.precision > of[2].balls.precision);
        assert!(of[0].kernel.value.abs() < 3.0 * of[0].kernel.half_width);
    }

    #[test]
    fn collapse_is_said_in_words() {
        let data = [0.25; 4];
        assert!(class_warnings(&[0.2, 0.3, 0.25, 0.25], &data).is_empty());
        let told = class_warnings(&[0.9, 0.1, 0.0, 0.0], &data);
        assert!(told[0].ends_with("hardly any of class 2, 3"), "{told:?}");
        assert!(
            told[1].contains("90% of samples are of class 0"),
            "{told:?}"
        );
    }
}
