//! Masked convolutions one pixel at a time: what sampling is made of.
//!
//! ```text
//! full: every pixel of every layer                    H W pixels, for each of H W pixels
//! here: the new pixel's column of each layer          1 pixel, from rows that were kept
//! ```
//! 1. A pixel's column is a product [images, taps in] x [taps in, out], for a batch of images.
//!    The used taps of a causal kernel are its first ones in raster order, and weights are
//!    [kh, kw, in, out], so the right-hand side is the beginning of the weight as it lies.
//! 2. The product runs as a 1x1 convolution over a row of images. So each output is the same
//!    chain of multiply-adds in the order of taps and channels as in the full convolution, and
//!    cached samples equal uncached ones bit for bit. (Taps beside the image are multiplied by 0
//!    here and may be left out there: the same chain.)
//! 3. A layer keeps only the rows its kernel reaches, in turn: row r is where row r - kept was.
//! 4. Colours come one after another: each has its own columns of the weight, so three passes
//!    over a pixel cost what one costs.

use crate::conv_masked::MaskedConv;
use grad::Tensor;
use grad::kernels::conv::{self, Conv2d, Sums};
use grad::kernels::gemm::{Activation, Epilogue};
use nn::Bound;

/// y = act(x w + b) for many rows x: [rows, inputs] -> [rows, outputs].
pub(crate) struct Product {
    inputs: usize,
    outputs: usize,
    weight: Tensor<f32>,
    bias: Tensor<f32>,
}

impl Product {
    /// The first `inputs` rows of a weight [.., outputs], and the bias.
    pub(crate) fn new(inputs: usize, weight: &Tensor<f32>, bias: &Tensor<f32>) -> Product {
        let outputs = bias.len();
        Product {
            inputs,
            outputs,
            weight: Tensor::new([inputs, outputs], &weight.data()[..inputs * outputs]),
            bias: bias.clone(),
        }
    }

    /// x [rows, inputs] -> y [rows, outputs].
    pub(crate) fn run(&self, x: &[f32], y: &mut [f32], activation: Activation) {
        let rows = y.len() / self.outputs;
        let g = Conv2d::new([1, 1, rows, self.inputs], self.outputs, [1, 1]);
        let epilogue = Epilogue {
            bias: Some(self.bias.data()),
            activation,
        };
        let weights = self.weight.weights();
        conv::forward(&g, x, weights, None, y, epilogue, Sums::InOrder);
    }
}

/// A masked convolution with its parameters, for single pixels.
pub(crate) struct Step {
    reach: Reach,
    outputs: usize,
    /// For each colour its product and, if there are several, the outputs it computes.
    colours: Vec<(Product, Vec<usize>)>,
}

impl Step {
    pub(crate) fn new(layer: &MaskedConv, p: &Bound<f32>) -> Step {
        let g = layer.geometry();
        let (weight, bias) = (layer.weight(p).into_value(), layer.bias(p).value());
        let reach = Reach {
            above: g.padding.top,
            columns: g.kernel[1],
            taps: g.taps.count(),
            channels: g.in_channels,
        };
        let (rows, outputs) = (reach.len(), g.out_channels);
        let colours = (0..layer.groups()).map(|colour| {
            let own = layer.outputs_of(colour);
            let pick = |from: &[f32], rows: usize| {
                let pick = |i: usize| from[i / own.len() * outputs + own[i % own.len()]];
                Tensor::from_fn([rows, own.len()], pick)
            };
            let bias = pick(bias.data(), 1);
            (Product::new(rows, &pick(weight.data(), rows), &bias), own)
        });
        Step {
            reach,
            outputs,
            colours: colours.collect(),
        }
    }

    /// The outputs of one colour for x [images, taps in]; the others in y [images, out] stay.
    pub(crate) fn run(&self, colour: usize, x: &[f32], y: &mut [f32], activation: Activation) {
        // Whose channels are not cut into groups computes all of them for each colour.
        let (product, own) = &self.colours[colour.min(self.colours.len() - 1)];
        if self.colours.len() == 1 {
            return product.run(x, y, activation);
        }
        let mut part = vec![0.0; y.len() / self.outputs * own.len()];
        product.run(x, &mut part, activation);
        for (y, part) in y
            .chunks_exact_mut(self.outputs)
            .zip(part.chunks_exact(own.len()))
        {
            for (&o, &value) in own.iter().zip(part) {
                y[o] = value;
            }
        }
    }

    /// What the layer sees of its input.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Into how many groups the outputs are cut.
    pub(crate) fn colours(&self) -> usize {
        self.colours.len()
    }

    /// Channels of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }
}

/// What a causal layer sees: the first taps of a kernel, none of them below its pixel, in columns
/// to both sides of it.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    /// Rows above the pixel.
    pub(crate) above: usize,
    /// Columns of the kernel, the pixel's own in the middle.
    pub(crate) columns: usize,
    /// How many taps are used, in raster order.
    pub(crate) taps: usize,
    /// Channels of a pixel.
    pub(crate) channels: usize,
}

impl Reach {
    /// How many numbers that is.
    pub(crate) fn len(&self) -> usize {
        self.taps * self.channels
    }

    /// Columns on either side.
    fn beside(&self) -> usize {
        self.columns / 2
    }
}

/// The last rows of a layer's input in each image, as far as pixels to come see them.
pub(crate) struct Rows {
    reach: Reach,
    width: usize,
    /// [images, above + 1, beside + width + beside, channels]; beside the image are zeros.
    data: Vec<f32>,
    /// What one pixel, or one row of pixels, sees: [pixels, taps channels].
    window: Vec<f32>,
}

impl Rows {
    /// No row is known: zeros, as above the image.
    pub(crate) fn new(reach: Reach, images: usize, width: usize) -> Rows {
        let pitch = (width + 2 * reach.beside()) * reach.channels;
        Rows {
            reach,
            width,
            data: vec![0.0; images * (reach.above + 1) * pitch],
            window: Vec::new(),
        }
    }

    /// Channels of a pixel.
    pub(crate) fn channels(&self) -> usize {
        self.reach.channels
    }

    fn pitch(&self) -> usize {
        (self.width + 2 * self.reach.beside()) * self.reach.channels
    }

    /// Pixel (row, col) of each image: [images, channels].
    pub(crate) fn put(&mut self, [row, col]: [usize; 2], values: &[f32]) {
        let (c, pitch, kept) = (self.reach.channels, self.pitch(), self.reach.above + 1);
        let at = row % kept * pitch + (self.reach.beside() + col) * c;
        for (image, value) in self
            .data
            .chunks_exact_mut(kept * pitch)
            .zip(values.chunks_exact(c))
        {
            image[at..at + c].copy_from_slice(value);
        }
    }

    /// A whole row of each image: [images, width, channels].
    pub(crate) fn put_row(&mut self, row: usize, values: &[f32]) {
        let (c, pitch, kept) = (self.reach.channels, self.pitch(), self.reach.above + 1);
        let (at, len) = (row % kept * pitch + self.reach.beside() * c, self.width * c);
        let images = self.data.chunks_exact_mut(kept * pitch);
        for (image, values) in images.zip(values.chunks_exact(len)) {
            image[at..at + len].copy_from_slice(values);
        }
    }

    /// What pixel (row, col) sees in each image: [images, taps channels].
    pub(crate) fn window(&mut self, [row, col]: [usize; 2]) -> &[f32] {
        self.windows(row, col..col + 1)
    }

    /// What each pixel of a row sees: [images, width, taps channels].
    pub(crate) fn window_row(&mut self, row: usize) -> &[f32] {
        self.windows(row, 0..self.width)
    }

    fn windows(&mut self, row: usize, cols: std::ops::Range<usize>) -> &[f32] {
        let Reach {
            above,
            columns: kw,
            taps,
            channels,
        } = self.reach;
        let pitch = self.pitch();
        let kept = above + 1;
        self.window.clear();
        for image in self.data.chunks_exact(kept * pitch) {
            for col in cols.clone() {
                for r in 0..taps.div_ceil(kw) {
                    let used = kw.min(taps - r * kw) * channels;
                    let at = (row + kept + r - above) % kept * pitch + col * channels;
                    self.window.extend_from_slice(&image[at..at + used]);
                }
            }
        }
        &self.window
    }
}
