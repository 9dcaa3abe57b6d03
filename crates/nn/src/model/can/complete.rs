//! What is missing in images.

use super::Classes;
use crate::params::Bound;
use grad::Tensor;

/// Images of which a part is known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompletionRequest {
    /// Pixels in [0, 1], `[count, H, W, C]`; what is not known does not matter.
    pub images: Tensor<f32>,
    /// Which dimensions are known, the same in each image: H W C flags.
    pub known: Vec<bool>,
    /// Equal seeds give equal images.
    pub seed: u64,
    /// The classes, where the model is conditional.
    pub classes: Classes,
    /// 1 for the model's own distribution, less for more likely images.
    pub temperature: f32,
}

impl CompletionRequest {
    /// These images, of which `known` says what is given.
    pub fn new(images: Tensor<f32>, known: Vec<bool>, seed: u64) -> CompletionRequest {
        CompletionRequest {
            images,
            known,
            seed,
            classes: Classes::InTurn,
            temperature: 1.0,
        }
    }

    /// The same of these classes.
    pub fn classes(self, classes: impl Into<Classes>) -> CompletionRequest {
        let classes = classes.into();
        CompletionRequest { classes, ..self }
    }

    /// The same at this temperature.
    pub fn temperature(self, temperature: f32) -> CompletionRequest {
        CompletionRequest {
            temperature,
            ..self
        }
    }
}

/// A model that draws what is missing in an image.
pub trait Completer: Sync {
    /// The images `[count, H, W, C]` with the missing pixels drawn and the known ones untouched.
    /// With nothing known, new images.
    fn complete(&self, p: &Bound<f32>, request: &CompletionRequest) -> Tensor<f32>;
}
