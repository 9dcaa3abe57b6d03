//! The convolution family: forward, input gradient (a transposed convolution) and weight
//! gradient. Each is linear in both operands, and each one's derivatives are the other two.

use super::Entry;
use super::bias::{assert_differentiable, saves_for, through};
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::buffer::Buffer;
#[cfg(doc)]
use kernels::conv::Taps;
use kernels::conv::{self, Conv2d, Sums};
use kernels::gemm::{Activation, Beta, Epilogue};

/// A convolution with stride, dilation, uneven padding and a masked tap.
fn strided() -> Conv2d {
    let padding = conv::Padding {
        top: 1,
        bottom: 0,
        left: 2,
        right: 1,
    };
    Conv2d::new([2, 4, 5, 2], 3, [2, 3])
        .with_stride([2, 1])
        .with_dilation([1, 2])
        .with_padding(padding)
        .with_taps(conv::Taps::from_fn(2, 3, |r, c| (r, c) != (1, 1)))
}

fn plain() -> Conv2d {
    Conv2d::new([1, 4, 4, 2], 2, [3, 3]).with_padding(conv::Padding::same(3))
}

pub(super) const CONV2D: Entry = Entry {
    name: "conv2d",
    formula: "act(x * w + b + r), NHWC, w [kh, kw, in, out]",
    samples: || {
        vec![
            sample!(
                "same padding",
                [
                    uniform(x_shape(&plain()), -1.0, 1.0),
                    uniform(w_shape(&plain()), -1.0, 1.0)
                ],
                |x| x[0].conv2d(&x[1], plain())
            ),
            sample!(
                "stride, dilation, a masked tap",
                [
                    uniform(x_shape(&strided()), -1.0, 1.0),
                    uniform(w_shape(&strided()), -1.0, 1.0)
                ],
                |x| x[0].conv2d(&x[1], strided())
            ),
            sample!(
                "bias and leaky relu",
                [
                    uniform(x_shape(&plain()), -1.0, 1.0),
                    uniform(w_shape(&plain()), -1.0, 1.0),
                    uniform([2], -1.0, 1.0)
                ],
                |x| x[0].conv2d_bias(&x[1], &x[2], Activation::LeakyRelu(0.2), plain())
            ),
            sample!(
                "bias, an addend and relu",
                [
                    uniform(x_shape(&plain()), -1.0, 1.0),
                    uniform(w_shape(&plain()), -1.0, 1.0),
                    uniform([2], -1.0, 1.0),
                    uniform(y_shape(&plain()), -1.0, 1.0)
                ],
                |x| x[0].conv2d_plus(&x[1], &x[2], &x[3], Activation::Relu, plain())
            ),
            sample!(
                "of an argument that has a gradient already",
                [
                    uniform(x_shape(&plain()), -1.0, 1.0),
                    uniform(w_shape(&plain()), -1.0, 1.0),
                    uniform([2], -1.0, 1.0)
                ],
                |x| {
                    let once = x[0].conv2d_bias(&x[1], &x[2], Activation::Identity, plain());
                    x[0].conv2d_plus(&x[1], &x[2], &once, Activation::Identity, plain())
                        + x[0].square()
                }
            ),
        ]
    },
};

pub(super) const CONV2D_INPUT_GRADIENT: Entry = Entry {
    name: "conv2d_input_gradient",
    formula: "gy transposed-convolved with w: the adjoint of conv2d in x",
    samples: || {
        vec![sample!(
            "stride, dilation, a masked tap",
            [
                uniform(y_shape(&strided()), -1.0, 1.0),
                uniform(w_shape(&strided()), -1.0, 1.0)
            ],
            |x| x[0].conv2d_input_gradient(&x[1], strided())
        )]
    },
};

pub(super) const CONV2D_WEIGHT_GRADIENT: Entry = Entry {
    name: "conv2d_weight_gradient",
    formula: "x correlated with gy: the adjoint of conv2d in w",
    samples: || {
        vec![sample!(
            "stride, dilation, a masked tap",
            [
                uniform(x_shape(&strided()), -1.0, 1.0),
                uniform(y_shape(&strided()), -1.0, 1.0)
            ],
            |x| x[0].conv2d_weight_gradient(&x[1], strided())
        )]
    },
};

fn x_shape(g: &Conv2d) -> Shape {
    Shape::new(&[g.batch, g.in_height, g.in_width, g.in_channels])
}

fn w_shape(g: &Conv2d) -> Shape {
    Shape::new(&[g.kernel[0], g.kernel[1], g.in_channels, g.out_channels])
}

fn y_shape(g: &Conv2d) -> Shape {
    Shape::new(&[g.batch, g.out_height(), g.out_width(), g.out_channels])
}

#[track_caller]
fn assert_shape<T: Element>(op: &str, what: &str, x: &Tensor<T>, expected: Shape) {
    assert!(
        *x.shape() == expected,
        "{op}: expected {what} of shape {expected}, found {}",
        x.shape()
    );
}

/// Inputs x, w and, if there are so many, b and what is added.
struct Forward {
    geometry: Conv2d,
    activation: Activation,
    sums: Sums,
}

impl Forward {
    fn apply<T: Element>(geometry: Conv2d, activation: Activation, inputs: &[&Var<T>]) -> Var<T> {
        Forward::adding(geometry, activation, inputs, Sums::Fast)
    }

    fn adding<T: Element>(
        geometry: Conv2d,
        activation: Activation,
        inputs: &[&Var<T>],
        sums: Sums,
    ) -> Var<T> {
        let op = Forward {
            geometry,
            activation,
            sums,
        };
        Var::apply(op, inputs)
    }
}

impl<T: Element> Op<T> for Forward {
    fn name(&self) -> &'static str {
        "conv2d"
    }
    fn saves(&self) -> Saves {
        saves_for(self.activation, 0b11)
    }
    #[track_caller]
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (x, w, b, plus) = (inputs[0], inputs[1], inputs.get(2), inputs.get(3));
        let g = &self.geometry;
        assert_shape("conv2d", "x", x, x_shape(g));
        assert_shape("conv2d", "w", w, w_shape(g));
        if let Some(b) = b {
            assert_shape("conv2d", "a bias", b, Shape::new(&[g.out_channels]));
        }
        if let Some(plus) = plus {
            assert_shape("conv2d", "an addend", plus, y_shape(g));
        }
        Tensor::build(y_shape(g), |y| {
            let plus = plus.map(|plus| plus.data());
            let epilogue = Epilogue {
                bias: b.map(|b| b.data()),
                activation: self.activation,
            };
            conv::forward(g, x.data(), w.weights(), plus, y, epilogue, self.sums);
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, gy: Var<T>) {
        // Behind an activation the bias's gradient is made while the gradient passes that, else
        // with the weights'.
        let bias = at.inputs() > 2 && at.needs(2);
        let joint = bias && at.needs(1) && !at.records() && self.activation == Activation::Identity;
        let gy = if joint {
            gy
        } else {
            through(self.activation, at, gy, 2)
        };
        if at.inputs() > 3 {
            at.give(3, || gy.clone());
        }
        let g = self.geometry;
        at.give_product(
            0,
            gy.clone(),
            |beta, gx, gy| {
                let w = at.input(1);
                conv::input_gradient(&g, gy, w.value().weights(), beta, gx)
            },
            |gy| gy.conv2d_input_gradient(&at.input(1), g),
        );
        let mut gb = Buffer::recycled(if joint { g.out_channels } else { 0 });
        let of_weights = |beta, gw: &mut [T], gy: &[T]| {
            let x = at.input(0);
            if joint {
                conv::weight_and_bias_gradient(&g, x.value().data(), gy, beta, gw, &mut gb)
            } else {
                conv::weight_gradient(&g, x.value().data(), gy, beta, gw)
            }
        };
        at.give_product(1, gy, of_weights, |gy| {
            at.input(0).conv2d_weight_gradient(&gy, g)
        });
        if joint {
            let gb = Tensor::from_buffer(at.input_shape(2), gb);
            at.give(2, || Var::constant(gb));
        }
    }
}

/// Inputs gy, w.
struct InputGradient(Conv2d);

impl<T: Element> Op<T> for InputGradient {
    fn name(&self) -> &'static str {
        "conv2d_input_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let (gy, w, g) = (x[0], x[1], &self.0);
        assert_shape("conv2d_input_gradient", "gy", gy, y_shape(g));
        assert_shape("conv2d_input_gradient", "w", w, w_shape(g));
        Tensor::build(x_shape(g), |gx| {
            conv::input_gradient(g, gy.data(), w.weights(), Beta::Zero, gx)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        at.give(0, || h.conv2d(&at.input(1), self.0));
        at.give(1, || h.conv2d_weight_gradient(&at.input(0), self.0));
    }
}

/// Inputs x, gy.
struct WeightGradient(Conv2d);

impl<T: Element> Op<T> for WeightGradient {
    fn name(&self) -> &'static str {
        "conv2d_weight_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    #[track_caller]
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let (x, gy, g) = (inputs[0], inputs[1], &self.0);
        assert_shape("conv2d_weight_gradient", "x", x, x_shape(g));
        assert_shape("conv2d_weight_gradient", "gy", gy, y_shape(g));
        Tensor::build(w_shape(g), |gw| {
            conv::weight_gradient(g, x.data(), gy.data(), Beta::Zero, gw)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        at.give(0, || at.input(1).conv2d_input_gradient(&h, self.0));
        at.give(1, || at.input(0).conv2d(&h, self.0));
    }
}

impl<T: Element> Var<T> {
    /// y = self * w, the convolution that `geometry` describes; see [`Conv2d`] for the formula.
    ///
    /// Shapes: self `[batch, in_height, in_width, in_channels]`, w `[kh, kw, in_channels,
    /// out_channels]`, y `[batch, out_height, out_width, out_channels]`. Weights of unused
    /// [`Taps`] are not read, and their gradients are exactly 0.
    ///
    /// # Panics
    /// If a shape is not the one `geometry` asks for.
    #[track_caller]
    pub fn conv2d(&self, w: &Var<T>, geometry: Conv2d) -> Var<T> {
        let activation = Activation::Identity;
        Forward::apply(geometry, activation, &[self, w])
    }

    /// act(self * w + b), in one pass over the output: [`conv2d`](Self::conv2d) with a bias
    /// `[out_channels]` and an activation.
    ///
    /// # Panics
    /// As [`conv2d`](Self::conv2d), and for a leaky ReLU with a negative slope.
    #[track_caller]
    pub fn conv2d_bias(
        &self,
        w: &Var<T>,
        b: &Var<T>,
        activation: Activation,
        geometry: Conv2d,
    ) -> Var<T> {
        assert_differentiable("conv2d", activation);
        Forward::apply(geometry, activation, &[self, w, b])
    }

    /// act(self * w + b + plus), in one pass over the output: [`conv2d_bias`](Self::conv2d_bias)
    /// onto a tensor of the output's shape, as at the end of a residual block.
    ///
    /// # Panics
    /// As [`conv2d_bias`](Self::conv2d_bias).
    #[track_caller]
    pub fn conv2d_plus(
        &self,
        w: &Var<T>,
        b: &Var<T>,
        plus: &Var<T>,
        activation: Activation,
        geometry: Conv2d,
    ) -> Var<T> {
        assert_differentiable("conv2d", activation);
        Forward::apply(geometry, activation, &[self, w, b, plus])
    }

    /// act(self * w + b + r) with sums in the order that `sums` says, for `with = [b, r]`, either of
    /// them left out: [`conv2d`](Self::conv2d) and its siblings take the fastest sums, which a model
    /// that computes one pixel at a time elsewhere cannot repeat to the bit.
    ///
    /// # Panics
    /// As [`conv2d_plus`](Self::conv2d_plus), if there is an activation or r without a bias.
    #[track_caller]
    pub fn conv2d_with(
        &self,
        w: &Var<T>,
        with: [Option<&Var<T>>; 2],
        activation: Activation,
        geometry: Conv2d,
        sums: Sums,
    ) -> Var<T> {
        assert_differentiable("conv2d", activation);
        let (four, three, two);
        let inputs: &[&Var<T>] = match with {
            [Some(b), Some(plus)] => {
                four = [self, w, b, plus];
                &four
            }
            [Some(b), None] => {
                three = [self, w, b];
                &three
            }
            [None, None] if activation == Activation::Identity => {
                two = [self, w];
                &two
            }
            [None, _] => panic!("conv2d: an addend or an activation goes together with a bias"),
        };
        Forward::adding(geometry, activation, inputs, sums)
    }

    /// The gradient by x of <x * w, self>: self, shaped like the output of the convolution, goes
    /// back to the shape of its input. This is the transposed convolution.
    ///
    /// # Panics
    /// If a shape is not the one `geometry` asks for.
    #[track_caller]
    pub fn conv2d_input_gradient(&self, w: &Var<T>, geometry: Conv2d) -> Var<T> {
        Var::apply(InputGradient(geometry), &[self, w])
    }

    /// The gradient by w of <self * w, gy>: from the input and the gradient of the output of a
    /// convolution to the shape of its weights. Exactly 0 at unused [`Taps`].
    ///
    /// # Panics
    /// If a shape is not the one `geometry` asks for.
    #[track_caller]
    pub fn conv2d_weight_gradient(&self, gy: &Var<T>, geometry: Conv2d) -> Var<T> {
        Var::apply(WeightGradient(geometry), &[self, gy])
    }
}
