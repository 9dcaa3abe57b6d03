//! The transposed convolution layer.

use crate::init::Init;
use crate::params::{Bound, Builder, ParamId};
use grad::kernels::conv::{Conv2d, Padding};
use grad::{Element, Shape, Var};

/// y = x *^T w + b, the transpose of a convolution: what brings the gradient of a convolution's
/// output back to its input, used forward to make images larger.
///
/// Stride, padding and kernel are those of the convolution it transposes. It begins with stride
/// 1 and no padding.
///
/// Parameters: `weight: [kh, kw, out, in]`, the weight of that convolution (from `out` to `in`
/// channels), and, unless left out, `bias: [out]`.
#[derive(Clone, Debug)]
pub struct ConvTranspose {
    weight: ParamId,
    bias: Option<ParamId>,
    output_padding: [usize; 2],
    /// Of the convolution it transposes, with the size of the image still open.
    geometry: Conv2d,
}

impl ConvTranspose {
    /// A layer with a bias that begins as PyTorch's: [`Init::FanIn`].
    ///
    /// # Panics
    /// If a kernel size is 0.
    #[track_caller]
    pub fn new(
        builder: &mut Builder,
        inputs: usize,
        outputs: usize,
        kernel: [usize; 2],
    ) -> ConvTranspose {
        ConvTranspose::with(builder, inputs, outputs, kernel, Init::FanIn, true)
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
    ) -> ConvTranspose {
        let geometry = Conv2d::new([0, 0, 0, outputs], inputs, kernel);
        let shape = Shape::from([kernel[0], kernel[1], outputs, inputs]);
        ConvTranspose {
            weight: builder.param("weight", shape, |shape, stream| init.draw(shape, stream)),
            bias: bias.then(|| {
                let init = init.of_bias(&shape);
                builder.param("bias", [outputs], |shape, stream| init.draw(shape, stream))
            }),
            output_padding: [0, 0],
            geometry,
        }
    }

    /// The same layer with this stride, in rows and columns: how many times larger it makes an
    /// image.
    ///
    /// # Panics
    /// If one is 0.
    #[track_caller]
    pub fn stride(self, stride: [usize; 2]) -> ConvTranspose {
        ConvTranspose {
            geometry: self.geometry.with_stride(stride),
            ..self
        }
    }

    /// The same layer with this padding of the larger image, which is cut off the output.
    #[track_caller]
    pub fn padding(self, padding: Padding) -> ConvTranspose {
        ConvTranspose {
            geometry: self.geometry.with_padding(padding),
            ..self
        }
    }

    /// The same layer with so many more rows and columns in its output. A convolution of stride s
    /// brings s sizes to one; this says which of them to go back to.
    pub fn output_padding(self, output_padding: [usize; 2]) -> ConvTranspose {
        ConvTranspose {
            output_padding,
            ..self
        }
    }

    /// The convolution that is transposed for inputs of this shape, `[B, h, w, in]`.
    ///
    /// # Panics
    /// If it is not of that form, if the output would have no pixels, or if the convolution does
    /// not lead from the output's size back to the input's (`output_padding` must be less than
    /// the stride).
    #[track_caller]
    pub fn geometry(&self, x: &Shape) -> Conv2d {
        let g = &self.geometry;
        let [batch, height, width, channels] = x[..] else {
            panic!(
                "conv_transpose: expected x of shape [B, h, w, {}], found {x}",
                g.out_channels
            );
        };
        assert!(
            channels == g.out_channels,
            "conv_transpose: expected x of shape [B, h, w, {}], found {x}",
            g.out_channels
        );
        let size = |n: usize, axis: usize, padding: usize| {
            let reach = n.saturating_sub(1) * g.stride[axis]
                + g.dilation[axis] * (g.kernel[axis] - 1)
                + 1
                + self.output_padding[axis];
            reach.saturating_sub(padding)
        };
        let p = &g.padding;
        let geometry = Conv2d {
            batch,
            in_height: size(height, 0, p.top + p.bottom),
            in_width: size(width, 1, p.left + p.right),
            ..*g
        };
        assert!(
            (geometry.out_height(), geometry.out_width()) == (height, width),
            "conv_transpose: no image becomes {height} x {width} by {g:?} with output padding {:?}",
            self.output_padding
        );
        geometry
    }

    /// x: `[B, h, w, in]` -> `[B, H, W, out]`, H = (h - 1) stride - padding + kh + output padding.
    ///
    /// # Panics
    /// As [`geometry`](Self::geometry).
    #[track_caller]
    pub fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        let y = x.conv2d_input_gradient(&p[self.weight], self.geometry(x.shape()));
        match self.bias {
            Some(bias) => y + &p[bias],
            None => y,
        }
    }

    /// The weight, `[kh, kw, out, in]`.
    pub fn weight(&self) -> ParamId {
        self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<ParamId> {
        self.bias
    }
}
