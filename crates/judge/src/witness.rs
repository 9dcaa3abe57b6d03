//! The classifier that sees images for the judge: its features and the classes it tells.

use crate::matrix::Matrix;
use grad::kernels::parallel;
use grad::{Tape, Tensor, Var};
use nn::Params;
use nn::model::{Batch, Model, Step};
use nn::random::{mix, word};
use rayon::prelude::*;

/// Images that are looked at together.
const TOGETHER: usize = 128;

/// A classifier with its parameters.
pub struct Witness {
    model: Box<dyn Model>,
    params: Params<f32>,
    /// What features are divided by.
    unit: f64,
}

/// What a witness says of some images.
#[derive(Clone, Debug)]
pub struct Seen {
    /// A row of features for each image.
    pub features: Matrix,
    /// The class that each seems to be of.
    pub classes: Vec<u32>,
}

impl Witness {
    /// A model that has features and tells classes; nothing for one that has not.
    pub fn new(model: Box<dyn Model>, params: Params<f32>) -> Option<Witness> {
        let able = model.features().is_some() && model.classifier().is_some();
        able.then_some(Witness {
            model,
            params,
            unit: 1.0,
        })
    }

    /// The same with features in units of their root mean square over these images, so that
    /// distances of one witness are about as large as those of another.
    pub fn in_units_of(self, images: &Tensor<f32>) -> Witness {
        let plain = Witness { unit: 1.0, ..self };
        let features = plain.look(images).features;
        let count = (features.rows() * features.columns()).max(1) as f64;
        let square = features.iter().flatten().map(|x| x * x).sum::<f64>() / count;
        Witness {
            unit: square.sqrt().max(1e-12),
            ..plain
        }
    }

    /// A word that changes with any bit of the parameters.
    pub fn fingerprint(&self) -> u64 {
        let each = self.params.iter().map(|param| {
            let bits = param.value.data().iter().map(|x| u64::from(x.to_bits()));
            mix(&[word(&param.name)]
                .into_iter()
                .chain(bits)
                .collect::<Vec<_>>())
        });
        mix(&each.collect::<Vec<_>>())
    }

    /// Looks at images `[N, H, W, C]` in [0, 1]. It may use all threads; they do not change
    /// what it sees.
    pub fn look(&self, images: &Tensor<f32>) -> Seen {
        let count = images.shape()[0];
        let dims = images.len() / count.max(1);
        let starts: Vec<usize> = (0..count).step_by(TOGETHER).collect();
        let parts: Vec<(Vec<f32>, Vec<u32>)> = (starts.par_iter())
            .map(|&start| {
                let rows = TOGETHER.min(count - start);
                let mut shape: Vec<usize> = images.shape().to_vec();
                shape[0] = rows;
                let part = &images.data()[start * dims..(start + rows) * dims];
                parallel::serial(|| self.look_at(Tensor::new(&shape[..], part)))
            })
            .collect();
        let features: Vec<f64> = (parts.iter())
            .flat_map(|(features, _)| features.iter().map(|&x| f64::from(x) / self.unit))
            .collect();
        Seen {
            features: Matrix::new(count, features.len() / count.max(1), &features),
            classes: parts.into_iter().flat_map(|(_, classes)| classes).collect(),
        }
    }

    fn look_at(&self, images: Tensor<f32>) -> (Vec<f32>, Vec<u32>) {
        let (tape, bound) = (Tape::new(), self.params.constants());
        let x = Var::constant(images.clone());
        let noise = vec![0; images.shape()[0]];
        let batch = Batch::new(images, noise);
        let able = "a witness has features and tells classes";
        let features = self.model.features().expect(able);
        let features = features.features(&Step::new(&tape, &bound, &batch));
        let logits = self.model.classifier().expect(able).logits(&bound, &x);
        let width = logits.shape().last_extent().max(1);
        let classes = logits.value().data().chunks_exact(width).map(largest);
        (features.data().to_vec(), classes.collect())
    }
}

/// Where the largest number is, the first of several.
pub(crate) fn largest(row: &[f32]) -> u32 {
    let mut at = 0;
    for (i, x) in row.iter().enumerate() {
        if *x > row[at] {
            at = i;
        }
    }
    at as u32
}
