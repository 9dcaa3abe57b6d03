//! The convolution layer.

use crate::init::Init;
use crate::layers::sums;
use crate::params::{Bound, Builder, ParamId};
use grad::kernels::conv::{Conv2d, Padding, Taps};
use grad::kernels::gemm::Activation;
use grad::{Element, Shape, Tensor, Var};

/// y = x * w + b, a two-dimensional convolution of images `[B, H, W, C]`.
///
/// It begins with stride and dilation 1, no padding and every tap; what differs is set by the
/// methods named for it. A masked convolution (PixelCNN) names the taps it keeps
/// ([`causal_taps`](crate::masks::causal_taps)): the others cost nothing, their weights are never
/// read and get gradients of exactly 0.
///
/// Parameters: `weight: [kh, kw, in, out]` and, unless left out, `bias: [out]`.
#[derive(Clone, Debug)]
pub struct Conv {
    weight: ParamId,
    bias: Option<ParamId>,
    /// With the size of the image still open.
    geometry: Conv2d,
}

impl Conv {
    /// A layer with a bias that begins as PyTorch's: [`Init::FanIn`].
    ///
    /// # Panics
    /// If a kernel size is 0.
    #[track_caller]
    pub fn new(builder: &mut Builder, inputs: usize, outputs: usize, kernel: [usize; 2]) -> Conv {
        Conv::with(builder, inputs, outputs, kernel, Init::FanIn, true)
    }

    /// A layer whose weight begins as `init`, the bias, if it has one, as [`Init::of_bias`].
    ///
    /// # Panics
    /// If a kernel size is 0.
    #[track_caller]
    pub fn with(
        builder: &mut Builder,
        inputs: usize,
        outputs: usize,
        kernel: [usize; 2],
        init: Init,
        bias: bool,
    ) -> Conv {
        let geometry = Conv2d::new([0, 0, 0, inputs], outputs, kernel);
        let shape = Shape::from([kernel[0], kernel[1], inputs, outputs]);
        Conv {
            weight: builder.param("weight", shape, |shape, stream| init.draw(shape, stream)),
            bias: bias.then(|| {
                let init = init.of_bias(&shape);
                builder.param("bias", [outputs], |shape, stream| init.draw(shape, stream))
            }),
            geometry,
        }
    }

    /// The same layer with this stride, in rows and columns.
    ///
    /// # Panics
    /// If one is 0.
    #[track_caller]
    pub fn stride(self, stride: [usize; 2]) -> Conv {
        Conv {
            geometry: self.geometry.with_stride(stride),
            ..self
        }
    }

    /// The same layer with this dilation, in rows and columns.
    ///
    /// # Panics
    /// If one is 0.
    #[track_caller]
    pub fn dilation(self, dilation: [usize; 2]) -> Conv {
        Conv {
            geometry: self.geometry.with_dilation(dilation),
            ..self
        }
    }

    /// The same layer with zeros around the image.
    #[track_caller]
    pub fn padding(self, padding: Padding) -> Conv {
        Conv {
            geometry: self.geometry.with_padding(padding),
            ..self
        }
    }

    /// The same layer with these taps only.
    ///
    /// # Panics
    /// If they belong to another kernel size.
    #[track_caller]
    pub fn taps(self, taps: Taps) -> Conv {
        Conv {
            geometry: self.geometry.with_taps(taps),
            ..self
        }
    }

    /// The convolution for images of this shape, `[B, H, W, in]`.
    ///
    /// # Panics
    /// If it is not of that form.
    #[track_caller]
    pub fn geometry(&self, x: &Shape) -> Conv2d {
        let inputs = self.geometry.in_channels;
        let [batch, in_height, in_width, channels] = x[..] else {
            panic!("conv: expected x of shape [B, H, W, {inputs}], found {x}");
        };
        assert!(
            channels == inputs,
            "conv: expected x of shape [B, H, W, {inputs}], found {x}"
        );
        Conv2d {
            batch,
            in_height,
            in_width,
            ..self.geometry
        }
    }

    /// x: `[B, H, W, in]` -> `[B, H', W', out]`, where H' = 1 + (H + padding - dilation (kh - 1) -
    /// 1) / stride, rounded down.
    ///
    /// # Panics
    /// If `x` has not this shape.
    #[track_caller]
    pub fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        self.forward_with(p, x, Activation::Identity)
    }

    /// As [`forward`](Self::forward), with an activation computed in the same pass.
    ///
    /// # Panics
    /// If `x` has not this shape.
    #[track_caller]
    pub fn forward_with<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        activation: Activation,
    ) -> Var<T> {
        let (weight, geometry) = (&p[self.weight], self.geometry(x.shape()));
        let sums = sums(p.mode());
        match self.bias {
            Some(bias) => {
                let with = [Some(&p[bias]), None];
                x.conv2d_with(weight, with, activation, geometry, sums)
            }
            None if activation == Activation::Identity => {
                x.conv2d_with(weight, [None, None], activation, geometry, sums)
            }
            None => {
                // Only together with a bias is the activation part of the same pass.
                let zeros = Var::constant(Tensor::zeros([geometry.out_channels]));
                x.conv2d_with(weight, [Some(&zeros), None], activation, geometry, sums)
            }
        }
    }

    /// The weight, `[kh, kw, in, out]`.
    pub fn weight(&self) -> ParamId {
        self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<ParamId> {
        self.bias
    }

    /// Channels of an input pixel.
    pub fn inputs(&self) -> usize {
        self.geometry.in_channels
    }

    /// Channels of an output pixel.
    pub fn outputs(&self) -> usize {
        self.geometry.out_channels
    }
}
