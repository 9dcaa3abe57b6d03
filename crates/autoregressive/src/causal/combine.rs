//! Layers made of layers.

use super::{At, Begin, Cached, Causal, Norm, Pass, Steps};
use crate::conv_masked::centring;
use grad::kernels::elementwise::{self, Unary};
use grad::{Element, Var};
use nn::Bound;
use nn::layers::Dropout;
use nn::model::ImageSpec;
use nn::random::{stream, word};

/// One layer behind the other.
struct ChainSteps(Vec<Box<dyn Steps>>);

struct ChainCache<'a>(Vec<Box<dyn Cached + 'a>>);

impl Steps for ChainSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        Box::new(ChainCache(
            self.0.iter().map(|layer| layer.begin(images)).collect(),
        ))
    }
}

impl Cached for ChainCache<'_> {
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32] {
        self.0.iter_mut().fold(x, |x, layer| layer.step(at, x))
    }

    fn fix(&mut self, at: At, x: &[f32]) {
        if let Some(first) = self.0.first_mut() {
            first.fix(at, x);
        }
    }
}

/// A list of layers, one behind the other.
impl<L: Causal> Causal for Vec<L> {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        self.iter()
            .fold(x.clone(), |x, layer| layer.whole(pass, &x))
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        Box::new(ChainSteps(
            self.iter().map(|layer| layer.steps(p)).collect(),
        ))
    }
}

/// Layers of different kinds, one behind the other.
macro_rules! chain {
    ($($L:ident $l:ident),+; $Z:ident $z:ident) => {
        impl<$($L: Causal,)+ $Z: Causal> Causal for ($($L,)+ $Z,) {
            fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
                let ($($l,)+ $z,) = self;
                let x = x.clone();
                $(let x = $l.whole(pass, &x);)+
                $z.whole(pass, &x)
            }

            fn whole_plus<T: Element>(&self, pass: &Pass<T>, x: &Var<T>, plus: &Var<T>) -> Var<T> {
                let ($($l,)+ $z,) = self;
                let x = x.clone();
                $(let x = $l.whole(pass, &x);)+
                $z.whole_plus(pass, &x, plus)
            }

            fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
                let ($($l,)+ $z,) = self;
                Box::new(ChainSteps(vec![$($l.steps(p),)+ $z.steps(p)]))
            }
        }
    };
}

chain!(A a; B b);
chain!(A a, B b; C c);
chain!(A a, B b, C c; D d);

/// x + layer(x).
pub struct Residual<L>(pub L);

impl<L: Causal> Causal for Residual<L> {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        self.0.whole_plus(pass, x, x)
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        Box::new(ResidualSteps(self.0.steps(p)))
    }
}

struct ResidualSteps(Box<dyn Steps>);

struct ResidualCache<'a> {
    inner: Box<dyn Cached + 'a>,
    sum: Vec<f32>,
}

impl Steps for ResidualSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        Box::new(ResidualCache {
            inner: self.0.begin(images),
            sum: Vec::new(),
        })
    }
}

impl Cached for ResidualCache<'_> {
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32] {
        let y = self.inner.step(at, x);
        add(&mut self.sum, x, y);
        &self.sum
    }

    fn fix(&mut self, at: At, x: &[f32]) {
        self.inner.fix(at, x);
    }
}

/// sum = x + y.
fn add(sum: &mut Vec<f32>, x: &[f32], y: &[f32]) {
    sum.clear();
    sum.extend_from_slice(x);
    elementwise::add_assign(sum, y);
}

/// max(0, x).
pub struct Relu;

impl Causal for Relu {
    fn whole<T: Element>(&self, _: &Pass<T>, x: &Var<T>) -> Var<T> {
        x.relu()
    }

    fn steps(&self, _: &Bound<f32>) -> Box<dyn Steps> {
        Box::new(Relu)
    }
}

impl Steps for Relu {
    fn begin(&self, _: &Begin) -> Box<dyn Cached + '_> {
        Box::new(ReluCache(Vec::new()))
    }
}

struct ReluCache(Vec<f32>);

impl Cached for ReluCache {
    fn step<'a>(&'a mut self, _: At, x: &'a [f32]) -> &'a [f32] {
        self.0.resize(x.len(), 0.0);
        elementwise::unary(Unary::Relu, x, &mut self.0);
        &self.0
    }
}

/// A first layer that sees pixels as numbers around 0, none of which is 0, which is what lies
/// beside the image: 2 x - 1, moved by half a level where their number is odd.
pub struct Centred<L> {
    layer: L,
    scale: f64,
    shift: f64,
}

impl<L> Centred<L> {
    /// This layer, on images of this kind.
    pub fn new(spec: &ImageSpec, layer: L) -> Centred<L> {
        let (scale, shift) = centring(spec);
        Centred {
            layer,
            scale,
            shift,
        }
    }
}

impl<L: Causal> Causal for Centred<L> {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        self.layer.whole(pass, &x.affine(self.scale, self.shift))
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        Box::new(CentredSteps {
            layer: self.layer.steps(p),
            scale: self.scale as f32,
            shift: self.shift as f32,
        })
    }
}

struct CentredSteps {
    layer: Box<dyn Steps>,
    scale: f32,
    shift: f32,
}

struct CentredCache<'a> {
    layer: Box<dyn Cached + 'a>,
    of: &'a CentredSteps,
    x: Vec<f32>,
}

impl Steps for CentredSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        Box::new(CentredCache {
            layer: self.layer.begin(images),
            of: self,
            x: Vec::new(),
        })
    }
}

impl CentredCache<'_> {
    fn centre(&mut self, x: &[f32]) {
        let CentredSteps { scale, shift, .. } = self.of;
        self.x.clear();
        self.x.extend(x.iter().map(|x| x * scale + shift));
    }
}

impl Cached for CentredCache<'_> {
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32] {
        self.centre(x);
        self.layer.step(at, &self.x)
    }

    fn fix(&mut self, at: At, x: &[f32]) {
        self.centre(x);
        self.layer.fix(at, &self.x);
    }
}

/// Layers on maps with one more column behind the last, a place where every row is known whole: so
/// what goes from right to left begins there and has seen a row's last pixel.
pub struct Widened<L>(pub L);

impl<L: Causal> Causal for Widened<L> {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        let width = x.shape()[2];
        self.0.whole(pass, &x.pad(2, 0, 1)).slice(2, 0..width)
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        Box::new(WidenedSteps(self.0.steps(p)))
    }
}

struct WidenedSteps(Box<dyn Steps>);

struct WidenedCache<'a> {
    layer: Box<dyn Cached + 'a>,
    width: usize,
    /// How many colours a pixel has: as many as have come.
    colours: usize,
    /// The input behind the last column.
    zeros: Vec<f32>,
}

impl Steps for WidenedSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        let [height, width] = images.size;
        let wider = Begin {
            size: [height, width + 1],
            ..*images
        };
        Box::new(WidenedCache {
            layer: self.0.begin(&wider),
            width,
            colours: 0,
            zeros: Vec::new(),
        })
    }
}

impl Cached for WidenedCache<'_> {
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32] {
        self.colours = self.colours.max(at.colour + 1);
        let [row, col] = at.pixel;
        if row > 0 && col == 0 && at.colour == 0 {
            self.zeros.resize(x.len(), 0.0);
            for colour in 0..self.colours {
                let pixel = [row - 1, self.width];
                let behind = At {
                    pixel,
                    colour,
                    ..at
                };
                self.layer.step(behind, &self.zeros);
                self.layer.fix(behind, &self.zeros);
            }
        }
        self.layer.step(at, x)
    }

    fn fix(&mut self, at: At, x: &[f32]) {
        self.layer.fix(at, x);
    }
}

/// A layer of which numbers are dropped in training.
pub struct Dropped<L> {
    layer: L,
    dropout: Dropout,
    /// What its noise is drawn for.
    purpose: u64,
}

impl<L> Dropped<L> {
    /// This layer with this rate; no two layers of a network have the same name.
    ///
    /// # Panics
    /// If the rate is not in [0, 1).
    #[track_caller]
    pub fn new(layer: L, rate: f64, name: &str) -> Dropped<L> {
        Dropped {
            layer,
            dropout: Dropout::new(rate),
            purpose: word(name),
        }
    }
}

impl<L: Causal> Causal for Dropped<L> {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        let y = self.layer.whole(pass, x);
        if !pass.is_training() || pass.noise.is_empty() {
            return y;
        }
        self.dropout
            .forward(&y, |i| stream(&[pass.noise[i], self.purpose]))
    }

    fn whole_plus<T: Element>(&self, pass: &Pass<T>, x: &Var<T>, plus: &Var<T>) -> Var<T> {
        if self.dropout == Dropout::new(0.0) || !pass.is_training() || pass.noise.is_empty() {
            return self.layer.whole_plus(pass, x, plus);
        }
        self.whole(pass, x) + plus
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        self.layer.steps(p)
    }
}

/// A layer of a transformer with the connection around it and its normalisation: before the layer,
/// x + layer(norm(x)), or behind the sum, norm(x + layer(x)).
pub enum Sublayer<L> {
    /// Normalised before.
    Before(Residual<(Norm, L)>),
    /// Normalised behind.
    Behind((Residual<L>, Norm)),
}

impl<L: Causal> Causal for Sublayer<L> {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        match self {
            Sublayer::Before(layer) => layer.whole(pass, x),
            Sublayer::Behind(layer) => layer.whole(pass, x),
        }
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        match self {
            Sublayer::Before(layer) => layer.steps(p),
            Sublayer::Behind(layer) => layer.steps(p),
        }
    }
}
