//! Causal layers: networks that are written once, for whole images and for one dimension at a time.
//!
//! ```text
//! whole(x)             every place at once: training, likelihood
//! step(at, x)          the column of one place, from what earlier ones have left in a cache: sampling
//! ```
//!
//! A layer says both; a test holds its steps against its whole, to the bit. A network is then a
//! composition: a tuple or a list of layers is their chain, and [`Residual`], [`Centred`] and
//! [`Sublayer`] are layers made of layers. [`Network`](crate::walk::Network) makes a model of any
//! of them.
//!
//! Maps are `[B, H, W, C]`. In a step a layer sees the column of one place of each image, `[images,
//! C]`. Of an image with several colours a place comes once for each: a layer's channels are cut
//! into as many groups, of which the colour's own is new; the others are what they were.

mod attention;
mod combine;
mod conv;
mod diagonal_bilstm;
mod norm;
mod row_lstm;
mod tokens;

pub use attention::Attention;
pub use combine::{Centred, Dropped, Relu, Residual, Sublayer, Widened};
pub use conv::Masked;
pub use diagonal_bilstm::DiagonalBiLstm;
pub use norm::Norm;
pub use row_lstm::RowLstm;
pub use tokens::{Positions, Tokens, Values};

use grad::{Element, Tensor, Var};
use nn::Bound;
use nn::layers::Mode;
use std::cell::RefCell;
use std::sync::Arc;

/// A layer whose output at a place depends on its input at that place and at earlier ones alone
/// (or, a first layer, at earlier ones).
pub trait Causal: Send + Sync + 'static {
    /// All places of all images: `[B, H, W, C]` -> `[B, H, W, C']`.
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T>;

    /// [`whole`](Self::whole) plus something of the shape of its result.
    fn whole_plus<T: Element>(&self, pass: &Pass<T>, x: &Var<T>, plus: &Var<T>) -> Var<T> {
        self.whole(pass, x) + plus
    }

    /// The layer with these parameters, ready for single places.
    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps>;
}

/// A layer with its parameters, ready for single places.
pub trait Steps: Send + Sync {
    /// Images of which nothing is known.
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_>;
}

/// What a layer keeps of some images of which a part is known.
pub trait Cached {
    /// The layer's column at a place, `[images, C']`, given its input there, `[images, C]`.
    /// Places come in the order of the walk.
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32];

    /// The input at a place has become final: what a first layer needs, whose step comes before
    /// its input is known.
    fn fix(&mut self, _at: At, _x: &[f32]) {}
}

/// What a layer is given beside its input.
pub struct Pass<'a, T: Element> {
    /// The parameters.
    pub p: &'a Bound<T>,
    /// The class of each image, where a model is conditional.
    pub labels: Option<&'a Arc<[u32]>>,
    /// A word for each image that dropout draws from; none where nothing is dropped.
    pub noise: &'a [u64],
    /// Where layers of attention leave their maps, if somebody asks: `[B, heads, T, T]`, from
    /// query to key, a row's sum 1.
    pub maps: Option<&'a RefCell<Vec<Tensor<T>>>>,
}

impl<'a, T: Element> Pass<'a, T> {
    /// With these parameters and nothing else.
    pub fn new(p: &'a Bound<T>) -> Pass<'a, T> {
        Pass {
            p,
            labels: None,
            noise: &[],
            maps: None,
        }
    }

    /// Whether this is training.
    pub fn is_training(&self) -> bool {
        self.p.mode() == Mode::Train
    }
}

/// Images that begin a walk.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    /// How many.
    pub count: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// The class of each, where a model is conditional.
    pub classes: Option<&'a [u32]>,
}

/// A place of a walk: one colour of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Row and column.
    pub pixel: [usize; 2],
    /// The colour.
    pub colour: usize,
    /// The dimension, a position in `[H, W, C]`.
    pub dimension: usize,
    /// How many dimensions came before.
    pub turn: usize,
}
