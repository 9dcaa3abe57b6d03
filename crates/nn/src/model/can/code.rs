//! One dimension after another, as an entropy coder needs it.

use crate::params::Bound;

/// A model that tells the distribution of one dimension after another, as an entropy coder needs
/// it: to write an image, and to read it again from the same numbers.
pub trait Coder: Sync {
    /// Goes through the dimensions of `count` images in the model's order.
    ///
    /// `level(image, dimension, probabilities)` gets the probability of every level, given what
    /// it said about earlier dimensions, and says which it is: known when an image is written,
    /// found in the code when it is read. A dimension is a position in `[H, W, C]`. The
    /// probabilities are the same to the last bit on any number of threads, but not on another
    /// instruction set. A conditional model is told the class of each image.
    fn code(
        &self,
        p: &Bound<f32>,
        count: usize,
        classes: Option<&[u32]>,
        level: &mut dyn FnMut(usize, usize, &[f64]) -> u32,
    );

    /// How many densities the model's likelihood is an equal mixture of. [`code`](Self::code) goes
    /// by the first of them, as a mixture has no conditionals as cheap as its members'.
    fn members(&self) -> usize {
        1
    }
}
