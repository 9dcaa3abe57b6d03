//! Dimension after dimension: what sampling, completion and coding have in common.
//!
//! ```text
//! p(x) = prod_i p(x_o(i) | x_o(0), .., x_o(i-1))
//! ```
//! for an order o of the dimensions. A model that can tell one factor after another cheaply, by
//! keeping what earlier dimensions left behind, says how in [`Ready`] and [`Walk`]; the
//! loops over it are here, once for all models.

use grad::Tensor;
use nn::model::{Classes, ImageSpec};
use nn::random::{Stream, stream, word};
use rayon::prelude::*;

/// A model with its parameters, ready to begin walks: what a model itself defines of
/// [`Conditionals`].
pub trait Ready: Sync {
    /// How many images walk together on one thread: few enough that what they keep stays in cache,
    /// enough that a step is a matrix product. Results do not depend on it.
    fn together(&self) -> usize {
        32
    }

    /// `count` images of which nothing is known yet but, where the model is conditional, the
    /// class of each.
    ///
    /// # Panics
    /// If a conditional model is not given a class for each image.
    fn begin(&self, count: usize, classes: Option<&[u32]>) -> Box<dyn Walk + '_>;
}

/// A model with its parameters, ready to go through the dimensions of images in its own order:
/// what sampling, completion and coding need.
pub trait Conditionals: Ready {
    /// What the images look like.
    fn spec(&self) -> ImageSpec;

    /// The dimension that comes i-th, as a position in [H, W, C].
    fn dimension(&self, i: usize) -> usize {
        i
    }

    /// How many classes there are, if the model is conditional.
    fn classes(&self) -> Option<usize> {
        None
    }

    /// A value in [0, 1] from the distribution with these parameters; logits are divided by the
    /// temperature (scales are multiplied by it). Takes the same amount of randomness whatever
    /// the parameters are.
    fn draw(&self, parameters: &[f32], temperature: f32, stream: &mut Stream) -> f32;
}

/// Images of which the first dimensions of the order are known.
///
/// [`conditional`](Self::conditional) and [`fix`](Self::fix) alternate. What an image's numbers
/// are does not depend, to the last bit, on which other images walk along.
pub trait Walk {
    /// The parameters of the next dimension's distribution, given the known ones: [count, K].
    fn conditional(&mut self) -> &[f32];

    /// Makes the next dimension known: a value in [0, 1] for each image.
    ///
    /// # Panics
    /// If there is not one for each image, or no dimension is left.
    fn fix(&mut self, values: &[f32]);
}

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// How many images.
    pub count: usize,
    /// Equal seeds give equal images.
    pub seed: u64,
    /// The classes, where the model is conditional.
    pub classes: &'a Classes,
    /// 1 for the model's own distribution, less for more likely images.
    pub temperature: f32,
    /// What is known beforehand.
    pub given: Option<Given<'a>>,
}

/// Pixels that are known before anything is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Pixels in [0, 1]: [count, H, W, C], or [1, H, W, C] for all images alike.
    pub images: &'a Tensor<f32>,
    /// Which dimensions are known, the same in each image: H W C flags.
    pub known: &'a [bool],
}

/// Draws images [count, H, W, C] with pixels in [0, 1]; given pixels stay as they are.
///
/// Image i of a seed is the same whatever `count` is. A given dimension takes as much randomness
/// as a drawn one.
///
/// # Panics
/// If what is given does not fit the images.
#[track_caller]
pub fn draw(model: &dyn Conditionals, what: &Draw) -> Tensor<f32> {
    draw_of(model, what, &(0..what.count).collect::<Vec<_>>())
}

/// [`draw`], but only these of its images: `[which, H, W, C]`.
///
/// # Panics
/// As [`draw`].
#[track_caller]
pub fn draw_of(model: &dyn Conditionals, what: &Draw, which: &[usize]) -> Tensor<f32> {
    let spec = model.spec();
    let dims = spec.dims();
    if let Some(given) = &what.given {
        let count = given.images.shape()[0];
        assert!(
            given.known.len() == dims
                && given.images.len() == count * dims
                && (count == what.count || count == 1),
            "draw: expected given pixels of shape {:?} and {dims} flags, found {} and {} flags",
            spec.shape(what.count),
            given.images.shape(),
            given.known.len()
        );
    }
    Tensor::build(spec.shape(which.len()), |out| {
        let together = model.together().max(1);
        let lanes = out.par_chunks_mut(together * dims.max(1));
        (lanes.zip(which.par_chunks(together))).for_each(|(images, which)| {
            grad::kernels::parallel::serial(|| draw_lane(model, what, which, images))
        });
    })
}

/// The images of these numbers.
fn draw_lane(model: &dyn Conditionals, what: &Draw, which: &[usize], images: &mut [f32]) {
    let dims = model.spec().dims();
    let count = which.len();
    let mut streams: Vec<Stream> = (which.iter())
        .map(|&i| stream(&[what.seed, word("sample"), i as u64]))
        .collect();
    let classes: Option<Vec<u32>> = (model.classes())
        .map(|classes| which.iter().map(|&i| what.classes.of(i, classes)).collect());
    let mut walk = model.begin(count, classes.as_deref());
    let mut values = vec![0.0; count];
    for i in 0..dims {
        let d = model.dimension(i);
        let parameters = walk.conditional();
        let width = parameters.len() / count;
        let rows = parameters.chunks_exact(width.max(1));
        for ((value, row), stream) in values.iter_mut().zip(rows).zip(&mut streams) {
            *value = model.draw(row, what.temperature, stream);
        }
        if let Some(given) = what.given.filter(|given| given.known[d]) {
            let from = given.images.data();
            for (&n, value) in which.iter().zip(&mut values) {
                *value = from[(n * dims + d) % from.len()];
            }
        }
        for (image, &value) in images.chunks_exact_mut(dims).zip(&values) {
            image[d] = value;
        }
        walk.fix(&values);
    }
}

/// Goes through the dimensions of `count` images for a coder: `value(image, dimension,
/// parameters)` writes or reads one value in [0, 1], which then is known.
pub fn code(
    model: &dyn Conditionals,
    count: usize,
    classes: Option<&[u32]>,
    mut value: impl FnMut(usize, usize, &[f32]) -> f32,
) {
    let mut walk = model.begin(count, classes);
    let mut values = vec![0.0; count];
    for i in 0..model.spec().dims() {
        let d = model.dimension(i);
        let parameters = walk.conditional();
        let width = parameters.len() / count.max(1);
        for (n, known) in values.iter_mut().enumerate() {
            *known = value(n, d, &parameters[n * width..][..width]);
        }
        walk.fix(&values);
    }
}
