//! Images as sequences: each dimension is a token that knows the dimension before it and its own
//! place. Parmar et al. 2018, arXiv:1802.05751, section 3.1.
//!
//! ```text
//! token_i = value(x_o(i-1)) + place(o(i)) + class          for an order o of the dimensions
//! ```
//!
//! Tokens lie in the order of `[H, W, C]`, whatever the order in which they come.

use super::{At, Begin, Cached, Causal, Pass, Steps};
use grad::kernels::elementwise::add_assign;
use grad::{Element, Op, Saves, Tensor, Var, Vjp};
use nn::init::Init;
use nn::layers::Embedding;
use nn::model::ImageSpec;
use nn::{Bound, Builder, ParamId};
use std::sync::Arc;

/// How a value enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// A row of a table for each level of each colour.
    Embedded,
    /// A linear function of the number, for each colour.
    Real,
}

/// How a token knows its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// A row of a table for each dimension.
    Learned,
    /// Sines and cosines of the row and of the column, and a row of a table for each colour.
    /// Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    Sinusoidal,
}

/// A first layer: images `[B, H, W, C]` with pixels in [0, 1] -> tokens `[B, 1, H W C, width]`.
///
/// Parameters: `values`, `[C levels + 1, width]` if they are embedded, `[2 C + 1, width]`
/// (slopes, then values at 1/2) if they are real numbers, the last row in both the first token's;
/// `positions`, `[H W C, width]` or `[C, width]`; `classes.weight`, `[classes, width]`.
///
/// The derivative by a pixel of an embedded value is that of half the difference between the rows
/// of the levels beside it (of the difference to its only neighbour at either end).
pub struct Tokens {
    look_up: LookUp,
    values: ParamId,
    positions: ParamId,
    /// `[H W C, width]`, without what is learned.
    waves: Option<Tensor<f32>>,
    classes: Option<Embedding>,
}

impl Tokens {
    /// Tokens of `width` numbers for dimensions that come in this order, a permutation of the
    /// positions in `[H, W, C]`; for a conditional model, with a number of classes.
    pub fn new(
        b: &mut Builder,
        spec: &ImageSpec,
        order: &[u32],
        width: usize,
        (values, positions): (Values, Positions),
        classes: Option<usize>,
    ) -> Tokens {
        let small = Init::Normal {
            mean: 0.0,
            std: 0.1,
        };
        let look_up = LookUp::new(spec, order, values);
        let mut table = |name, rows| b.param(name, [rows, width], |shape, s| small.draw(shape, s));
        let learned = match positions {
            Positions::Learned => spec.dims(),
            Positions::Sinusoidal => spec.channels,
        };
        Tokens {
            values: table("values", look_up.rows()),
            positions: table("positions", learned),
            waves: (positions == Positions::Sinusoidal).then(|| waves(spec, width)),
            classes: classes.map(|n| Embedding::with(&mut b.scope("classes"), n, width, small)),
            look_up,
        }
    }

    /// What each token has of its place: `[H W C, width]`.
    fn places<T: Element>(&self, p: &Bound<T>) -> Var<T> {
        let learned = &p[self.positions];
        match &self.waves {
            None => learned.clone(),
            Some(waves) => {
                let colours = learned.shape()[0];
                let of = (0..waves.shape()[0]).map(|d| (d % colours) as u32);
                Var::constant(waves.cast()) + learned.gather_rows(of.collect())
            }
        }
    }
}

/// Sines and cosines: half of the numbers for the row, half for the column; wave lengths from 2 pi
/// to some 1,000 times as much.
fn waves(spec: &ImageSpec, width: usize) -> Tensor<f32> {
    let half = width.div_ceil(2);
    Tensor::from_fn([spec.dims(), width], |i| {
        let (d, j) = (i / width, i % width);
        let pixel = d / spec.channels;
        let place = match j < half {
            true => pixel / spec.width,
            false => pixel % spec.width,
        };
        let k = j % half;
        let frequency = 1000f64.powf(-((k / 2 * 2) as f64) / half as f64);
        let angle = place as f64 * frequency;
        (if k.is_multiple_of(2) {
            angle.sin()
        } else {
            angle.cos()
        }) as f32
    })
}

impl Causal for Tokens {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        let p = pass.p;
        let tokens = Var::apply(self.look_up.clone(), &[x, &p[self.values]]);
        let [batch, 1, dims, width] = tokens.shape()[..] else {
            unreachable!("as the operation makes them");
        };
        let tokens = tokens + self.places(p).reshape([1, 1, dims, width]);
        match &self.classes {
            None => tokens,
            Some(table) => {
                let labels = pass
                    .labels
                    .expect("a conditional model needs the images' classes");
                tokens
                    + table
                        .forward(p, labels.clone())
                        .reshape([batch, 1, 1, width])
            }
        }
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        let table = self
            .classes
            .as_ref()
            .map(|table| p[table.weight()].value().clone());
        Box::new(TokenSteps {
            look_up: self.look_up.clone(),
            values: p[self.values].value().clone(),
            places: self.places(p).into_value(),
            classes: table,
        })
    }
}

/// x `[B, H, W, C]` in [0, 1], table -> `[B, 1, H W C, width]`: for each dimension what the table
/// says of the value before it in the order.
#[derive(Clone)]
struct LookUp {
    /// The dimension before each; of the first, its own number.
    before: Arc<[u32]>,
    colours: usize,
    levels: usize,
    values: Values,
}

impl LookUp {
    fn new(spec: &ImageSpec, order: &[u32], values: Values) -> LookUp {
        let mut before = vec![0; spec.dims()];
        before[order[0] as usize] = order[0];
        for pair in order.windows(2) {
            before[pair[1] as usize] = pair[0];
        }
        LookUp {
            before: before.into(),
            colours: spec.channels,
            levels: spec.levels,
            values,
        }
    }

    /// Rows of the table.
    fn rows(&self) -> usize {
        1 + self.colours
            * match self.values {
                Values::Embedded => self.levels,
                Values::Real => 2,
            }
    }

    /// The dimension before this one.
    fn before(&self, dimension: usize) -> Option<usize> {
        let before = self.before[dimension] as usize;
        (before != dimension).then_some(before)
    }

    /// The row of a level of a colour.
    fn level<T: Element>(&self, dimension: usize, value: T) -> usize {
        let level = (value.to_f64() * (self.levels - 1) as f64).round() as usize;
        dimension % self.colours * self.levels + level.min(self.levels - 1)
    }

    /// The token after this value of this dimension.
    fn token<T: Element>(&self, table: &[T], before: Option<usize>, value: T, to: &mut [T]) {
        let width = to.len();
        let row = |i: usize| &table[i * width..][..width];
        match (before, self.values) {
            (None, _) => to.copy_from_slice(row(self.rows() - 1)),
            (Some(d), Values::Embedded) => to.copy_from_slice(row(self.level(d, value))),
            (Some(d), Values::Real) => {
                let colour = d % self.colours;
                let value = value + value - T::ONE;
                let rows = row(colour).iter().zip(row(self.colours + colour));
                for (to, (&slope, &middle)) in to.iter_mut().zip(rows) {
                    *to = value * slope + middle;
                }
            }
        }
    }
}

impl<T: Element> Op<T> for LookUp {
    fn name(&self) -> &'static str {
        "look_up"
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    #[track_caller]
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (x, table, dims) = (inputs[0], inputs[1], self.before.len());
        let (batch, width) = (x.shape()[0], table.shape()[1]);
        assert!(
            x.len() == batch * dims,
            "look_up: expected images of {dims} dimensions, found {}",
            x.shape()
        );
        Tensor::build([batch, 1, dims, width], |out| {
            let images = out.chunks_exact_mut((dims * width).max(1));
            for (out, x) in images.zip(x.data().chunks_exact(dims)) {
                for (d, out) in out.chunks_exact_mut(width).enumerate() {
                    let before = self.before(d);
                    let value = before.map_or(T::ZERO, |before| x[before]);
                    self.token(table.data(), before, value, out);
                }
            }
        })
    }

    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let [x, table] = [0, 1].map(|i| at.input(i).into_value());
        let (dims, width) = (self.before.len(), table.shape()[1]);
        let g = g.into_value();
        let tokens = || {
            let rows = g.data().chunks_exact(width).enumerate();
            rows.map(|(i, g)| (i / dims, self.before(i % dims), g))
        };
        at.give(1, || {
            Var::constant(Tensor::build(*table.shape(), |to| {
                to.fill(T::ZERO);
                for (image, before, g) in tokens() {
                    let mut add =
                        |row: usize, g: &[T]| add_assign(&mut to[row * width..][..width], g);
                    let Some(d) = before else {
                        add(self.rows() - 1, g);
                        continue;
                    };
                    let value = x.data()[image * dims + d];
                    match self.values {
                        Values::Embedded => add(self.level(d, value), g),
                        Values::Real => {
                            let value = value + value - T::ONE;
                            let sloped: Vec<T> = g.iter().map(|&g| g * value).collect();
                            add(d % self.colours, &sloped);
                            add(self.colours + d % self.colours, g);
                        }
                    }
                }
            }))
        });
        at.give(0, || {
            Var::constant(Tensor::build(*x.shape(), |to| {
                to.fill(T::ZERO);
                for (image, before, g) in tokens() {
                    let Some(d) = before else { continue };
                    let at = image * dims + d;
                    let row = |i: usize| &table.data()[i * width..][..width];
                    let dot = |row: &[T]| (row.iter().zip(g)).map(|(&a, &b)| a * b).sum::<T>();
                    to[at] = match self.values {
                        Values::Real => (T::ONE + T::ONE) * dot(row(d % self.colours)),
                        Values::Embedded => {
                            let own = self.level(d, x.data()[at]);
                            let level = own % self.levels;
                            let (low, high) =
                                (level.saturating_sub(1), (level + 1).min(self.levels - 1));
                            let step = (self.levels - 1) as f64 / (high - low).max(1) as f64;
                            let [low, high] = [low, high].map(|l| dot(row(own - level + l)));
                            T::from_f64(step) * (high - low)
                        }
                    };
                }
            }))
        });
    }

    fn first_order_only(&self) -> bool {
        true
    }
}

struct TokenSteps {
    look_up: LookUp,
    values: Tensor<f32>,
    places: Tensor<f32>,
    classes: Option<Tensor<f32>>,
}

struct TokenCache<'a> {
    of: &'a TokenSteps,
    /// The class of each image.
    classes: Vec<usize>,
    /// The newest value of each.
    newest: Vec<f32>,
    tokens: Vec<f32>,
}

impl Steps for TokenSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        let classes = match (&self.classes, images.classes) {
            (None, _) => vec![0; images.count],
            (Some(_), Some(classes)) if classes.len() == images.count => {
                classes.iter().map(|&class| class as usize).collect()
            }
            (Some(_), found) => panic!("tokens: {} images of classes {found:?}", images.count),
        };
        Box::new(TokenCache {
            of: self,
            classes,
            newest: vec![0.0; images.count],
            tokens: vec![0.0; images.count * self.values.shape()[1]],
        })
    }
}

impl Cached for TokenCache<'_> {
    fn step<'a>(&'a mut self, at: At, _: &'a [f32]) -> &'a [f32] {
        let TokenSteps {
            look_up,
            values,
            places,
            classes,
        } = self.of;
        let width = values.shape()[1];
        let before = look_up.before(at.dimension);
        let tokens = self.tokens.chunks_exact_mut(width);
        for ((token, &newest), &class) in tokens.zip(&self.newest).zip(&self.classes) {
            look_up.token(values.data(), before, newest, token);
            add_assign(token, &places.data()[at.dimension * width..][..width]);
            if let Some(classes) = classes {
                add_assign(token, &classes.data()[class * width..][..width]);
            }
        }
        &self.tokens
    }

    fn fix(&mut self, at: At, x: &[f32]) {
        let pixels = x.chunks_exact(self.of.look_up.colours);
        for (newest, pixel) in self.newest.iter_mut().zip(pixels) {
            *newest = pixel[at.colour];
        }
    }
}
