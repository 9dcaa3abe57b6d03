//! How the game goes: numbers for the metrics, and what they mean in plain words.

use crate::objective::Objective;
use grad::Tensor;

/// The mean of D(x): a probability where the objective has one.
pub(crate) const REAL: &str = "d_real";
/// The mean of D(G(z)).
pub(crate) const FAKE: &str = "d_fake";
/// E D(x) - E D(G(z)): an estimate of the Wasserstein distance, up to the critic's slope.
pub(crate) const ESTIMATE: &str = "critic_estimate";
/// How far generated images of a batch lie apart, as a share of how far real ones do.
pub(crate) const DIVERSITY: &str = "diversity";

/// A discriminator this sure of both has won.
const SURE: f64 = 0.97;
/// Generated images this much nearer to each other than real ones are nearly alike.
const ALIKE: f64 = 0.35;

/// The root of the mean squared distance between generated images, over the same of real ones. 1
/// where that cannot be told: for less than two images, or real ones that are all the same.
///
/// Both `[B, ..]`. The mean squared distance of pairs is twice the variance, summed over dimensions.
pub(crate) fn diversity(real: &Tensor<f32>, fake: &Tensor<f32>) -> f64 {
    let (of_real, of_fake) = (variance(real), variance(fake));
    match of_real > 0.0 {
        true => (of_fake / of_real).sqrt(),
        false => 1.0,
    }
}

fn variance(images: &Tensor<f32>) -> f64 {
    let count = images.shape()[0];
    let dims = images.len() / count.max(1);
    let mut sums = vec![[0.0f32; 2]; dims];
    for image in images.data().chunks_exact(dims.max(1)) {
        for ([sum, squares], x) in sums.iter_mut().zip(image) {
            *sum += x;
            *squares += x * x;
        }
    }
    let n = count.max(1) as f64;
    let of = |[sum, squares]: &[f32; 2]| f64::from(*squares) / n - (f64::from(*sum) / n).powi(2);
    sums.iter().map(of).sum::<f64>().max(0.0)
}

/// What the means over some steps say.
pub(crate) fn warnings(objective: Objective, mean: &dyn Fn(&str) -> Option<f64>) -> Vec<String> {
    let mut list = Vec::new();
    if objective.is_probability()
        && let (Some(real), Some(fake)) = (mean(REAL), mean(FAKE))
    {
        if real > SURE && fake < 1.0 - SURE {
            list.push(format!(
                "the discriminator has won: it gives real images {real:.3} and generated ones \
                 {fake:.3}, so the generator learns little; label_smoothing, instance_noise or a \
                 smaller discriminator_lr help"
            ));
        }
        if fake > SURE {
            list.push(format!(
                "the generator has won: generated images get {fake:.3}, so the discriminator \
                 teaches it nothing; more discriminator_steps or a larger discriminator_lr help"
            ));
        }
    }
    if let Some(diversity) = mean(DIVERSITY)
        && diversity < ALIKE
    {
        list.push(format!(
            "generated images are nearly alike: they differ {diversity:.2} times as much as real \
             ones, so the generator has collapsed onto few images or has not yet begun to learn"
        ));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::{normal_tensor, stream};

    #[test]
    fn diversity_is_a_ratio_of_deviations() {
        let real = normal_tensor::<f32>([500, 3, 2, 1], &mut stream(&[1]));
        let near = real.map(|x| 0.25 * x + 3.0);
        assert!((diversity(&real, &near) - 0.25).abs() < 1e-3);
        let one = Tensor::zeros([500, 3, 2, 1]);
        assert_eq!(diversity(&real, &one), 0.0);
        assert_eq!(diversity(&one, &real), 1.0);
    }

    #[test]
    fn warnings_say_who_has_won() {
        let told = |objective, real: f64, fake: f64, diversity: f64| {
            let of = |name: &str| match name {
                REAL => Some(real),
                FAKE => Some(fake),
                DIVERSITY => Some(diversity),
                _ => None,
            };
            warnings(objective, &of)
        };
        let saturating = Objective::NonSaturating;
        assert!(told(saturating, 0.6, 0.4, 0.9).is_empty());
        assert!(told(saturating, 0.99, 0.01, 0.9)[0].starts_with("the discriminator has won"));
        assert!(told(saturating, 0.99, 0.98, 0.9)[0].starts_with("the generator has won"));
        assert!(told(saturating, 0.6, 0.4, 0.1)[0].contains("nearly alike"));
        assert!(told(Objective::Wasserstein, 9.0, -9.0, 0.9).is_empty());
    }
}
