//! The networks inside couplings: what moves one half, given the other.

use crate::layer::At;
use grad::kernels::gemm::Activation::Relu;
use grad::{Element, Var};
use nn::Builder;
use nn::init::Init;
use nn::layers::{Conv, Embedding, Linear, Padding};

/// A network of any kind. Its last layer begins at zero, so a coupling begins as the identity.
///
/// In a conditional flow a vector of the class is added before the first activation.
pub struct Net {
    kind: Kind,
    class: Option<Embedding>,
}

enum Kind {
    /// Linear layers with ReLUs between them.
    Perceptron(Vec<Linear>),
    Convolution(Box<Convolution>),
}

/// 3x3 -> residual blocks, or one 1x1 -> 3x3.
struct Convolution {
    first: Conv,
    middle: Option<Conv>,
    blocks: Vec<[Conv; 2]>,
    last: Conv,
}

/// How large the network of a coupling on images is.
#[derive(Clone, Copy, Debug)]
pub struct ConvSizes {
    /// Channels of every layer but the last.
    pub channels: usize,
    /// Residual blocks; with none there is one 1x1 convolution between the ends, as in Glow.
    pub blocks: usize,
    /// How many classes there are, if the flow is conditional.
    pub classes: Option<usize>,
    /// Channels of [`At::context`], 0 without one.
    pub context: usize,
}

fn class(b: &mut Builder, classes: Option<usize>, width: usize) -> Option<Embedding> {
    let init = Init::Normal {
        mean: 0.0,
        std: 0.1,
    };
    classes.map(|count| Embedding::with(&mut b.scope("class"), count, width, init))
}

impl Net {
    /// `[B, inputs]` -> `[B, outputs]` by way of these hidden layers.
    ///
    /// # Panics
    /// If there is no hidden layer.
    #[track_caller]
    pub fn perceptron(
        b: &mut Builder,
        inputs: usize,
        hidden: &[usize],
        outputs: usize,
        classes: Option<usize>,
    ) -> Net {
        assert!(!hidden.is_empty(), "net: expected a hidden layer");
        let sizes = [&[inputs], hidden].concat();
        let mut layers: Vec<Linear> = (sizes.windows(2).enumerate())
            .map(|(i, io)| Linear::new(&mut b.scope(i), io[0], io[1]))
            .collect();
        let last = hidden[hidden.len() - 1];
        let end = Linear::with(&mut b.scope("last"), last, outputs, Init::ZEROS, true);
        layers.push(end);
        Net {
            kind: Kind::Perceptron(layers),
            class: class(b, classes, hidden[0]),
        }
    }

    /// `[B, H, W, inputs]` -> `[B, H, W, outputs]`.
    pub fn convolution(b: &mut Builder, inputs: usize, outputs: usize, sizes: ConvSizes) -> Net {
        let n = sizes.channels;
        let conv = |b: &mut Builder, inputs: usize, outputs: usize, size: usize, init: Init| {
            Conv::with(b, inputs, outputs, [size, size], init, true).padding(Padding::same(size))
        };
        let he = Init::KaimingNormal {
            gain: nn::init::relu_gain(0.0),
        };
        let first = conv(&mut b.scope("first"), inputs + sizes.context, n, 3, he);
        let blocks = (0..sizes.blocks)
            .map(|i| {
                let mut b = b.scope(format!("block{i}"));
                let inner = conv(&mut b.scope("inner"), n, n, 3, he);
                [inner, conv(&mut b.scope("outer"), n, n, 1, Init::FanIn)]
            })
            .collect();
        let middle = (sizes.blocks == 0).then(|| conv(&mut b.scope("middle"), n, n, 1, he));
        Net {
            kind: Kind::Convolution(Box::new(Convolution {
                first,
                middle,
                blocks,
                last: conv(&mut b.scope("last"), n, outputs, 3, Init::ZEROS),
            })),
            class: class(b, sizes.classes, n),
        }
    }

    /// What the network says.
    ///
    /// # Panics
    /// If x has not the network's shape, or the classes of a conditional one are not given.
    #[track_caller]
    pub fn forward<T: Element>(&self, at: &At<T>, x: &Var<T>) -> Var<T> {
        match &self.kind {
            Kind::Perceptron(layers) => {
                let last = layers.len() - 1;
                (layers.iter().enumerate()).fold(x.clone(), |h, (i, layer)| match i {
                    0 if self.class.is_some() => self.add_class(at, layer.forward(at.p, &h)).relu(),
                    i if i < last => layer.forward_with(at.p, &h, Relu),
                    _ => layer.forward(at.p, &h),
                })
            }
            Kind::Convolution(net) => {
                let x = match at.context {
                    Some(context) => Var::concat(&[x, context], 3),
                    None => x.clone(),
                };
                let mut h = match &self.class {
                    None => net.first.forward_with(at.p, &x, Relu),
                    Some(_) => self.add_class(at, net.first.forward(at.p, &x)).relu(),
                };
                if let Some(middle) = &net.middle {
                    h = middle.forward_with(at.p, &h, Relu);
                }
                for [inner, outer] in &net.blocks {
                    let inside = inner.forward_with(at.p, &h, Relu);
                    h = (&h + outer.forward(at.p, &inside)).relu();
                }
                net.last.forward(at.p, &h)
            }
        }
    }

    #[track_caller]
    fn add_class<T: Element>(&self, at: &At<T>, h: Var<T>) -> Var<T> {
        let Some(class) = &self.class else {
            return h;
        };
        let classes = at
            .classes
            .expect("a conditional flow needs the class of each row");
        let row = class.forward(at.p, classes.clone());
        let mut shape = h.shape().to_vec();
        let inner = shape.len() - 1;
        shape[1..inner].fill(1);
        h + row.reshape(&shape[..])
    }
}
