//! Images with something missing or added, which a denoising autoencoder repairs. Vincent et al.
//! 2010, "Stacked Denoising Autoencoders", section 3.3.

use grad::Tensor;
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::Batch;
use nn::random::{normal, uniform, word};

pub(crate) const NOISE: Hyper = Hyper {
    name: "noise",
    meaning: "what is done to the encoder's images in training: nothing, pixels set to 0 \
              (masking), to 0 or 1 (salt-and-pepper), or Gaussian noise",
    default: Value::Choice(&["none", "masking", "salt-and-pepper", "gaussian"]),
};
pub(crate) const CORRUPTION: Hyper = Hyper {
    name: "corruption",
    meaning: "share of the pixels, or standard deviation of the Gaussian noise",
    default: Value::Number(0.3),
};

/// What is done to images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Corruption {
    Nothing,
    Masking(f64),
    SaltAndPepper(f64),
    Gaussian(f64),
}

impl Corruption {
    pub(crate) fn chosen(hypers: &Hypers) -> Result<Corruption, HyperError> {
        let size = hypers.number(CORRUPTION.name);
        let kind = hypers.choice(NOISE.name);
        let most = if kind == "gaussian" {
            f64::INFINITY
        } else {
            1.0
        };
        if !(0.0..=most).contains(&size) {
            let expected = if most == 1.0 {
                "a share from 0 to 1"
            } else {
                "a number of at least 0"
            };
            return Err(hypers.unfit(format!("corruption: expected {expected}, found {size}")));
        }
        Ok(match kind {
            "masking" => Corruption::Masking(size),
            "salt-and-pepper" => Corruption::SaltAndPepper(size),
            "gaussian" => Corruption::Gaussian(size),
            _ => Corruption::Nothing,
        })
    }

    /// The images of a batch as rows, `[B, D]`, corrupted by noise of their own.
    pub(crate) fn of(self, batch: &Batch) -> Tensor<f32> {
        let mut rows = batch.rows();
        if self == Corruption::Nothing {
            return rows;
        }
        let dims = rows.shape()[1].max(1);
        for (i, row) in rows.make_mut().chunks_exact_mut(dims).enumerate() {
            let mut stream = batch.stream(i, word("corruption"));
            for x in row {
                match self {
                    Corruption::Nothing => {}
                    Corruption::Masking(share) => {
                        if uniform(&mut stream) < share {
                            *x = 0.0;
                        }
                    }
                    Corruption::SaltAndPepper(share) => {
                        let u = uniform(&mut stream);
                        if u < share {
                            *x = f32::from(u < 0.5 * share);
                        }
                    }
                    Corruption::Gaussian(sd) => *x += (sd * normal(&mut stream)) as f32,
                }
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_corrupted_as_was_asked_for() {
        let images = Tensor::full([20, 10, 10, 1], 0.25);
        let batch = Batch::new(images.clone(), (0..20).collect::<Vec<u64>>());
        let share = |rows: &Tensor<f32>, f: &dyn Fn(f32) -> bool| {
            rows.data().iter().filter(|&&x| f(x)).count() as f64 / 2000.0
        };
        let masked = Corruption::Masking(0.4).of(&batch);
        assert!((share(&masked, &|x| x == 0.0) - 0.4).abs() < 0.05);
        assert!((share(&masked, &|x| x == 0.25) - 0.6).abs() < 0.05);
        let both = Corruption::SaltAndPepper(0.4).of(&batch);
        assert!((share(&both, &|x| x == 0.0) - 0.2).abs() < 0.04);
        assert!((share(&both, &|x| x == 1.0) - 0.2).abs() < 0.04);
        let noisy = Corruption::Gaussian(0.5).of(&batch);
        let square: f32 = noisy.data().iter().map(|x| (x - 0.25).powi(2)).sum();
        assert!((square / 2000.0 - 0.25).abs() < 0.03);
        assert_eq!(Corruption::Nothing.of(&batch), batch.rows());
    }
}
