//! Encoder and decoder: one network each for perceptrons and convolutions.
//!
//! ```text
//! encoder:  x -> stages (strided convolutions, residual blocks) -> [flat, y] -> dense layers -> h
//! decoder:  [z, y] -> dense layers -> as flat as the smallest map -> stages -> parameters of x
//! ```
//!
//! Without stages both are multilayer perceptrons. y is the class of a conditional model, one
//! number for each class. ReLU follows every layer but the last.

use crate::stage::{Down, Up};
use grad::kernels::gemm::Activation;
use grad::{Element, Tensor, Var};
use nn::init::{Init, relu_gain};
use nn::layers::{ConvTranspose, Linear, Padding};
use nn::model::ImageSpec;
use nn::{Bound, Builder};

/// How large a network is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Units of the encoder's dense layers, from the pixels inward; the decoder mirrors them.
    pub hidden: Vec<usize>,
    /// Channels of the stages, from the pixels inward, each half as high and wide as the one
    /// before; none for a perceptron.
    pub channels: Vec<usize>,
    /// Residual blocks of a stage.
    pub blocks: usize,
    /// Whether nothing bends: no activation anywhere.
    pub is_linear: bool,
    /// How many classes the networks are told of; 0 for none.
    pub classes: usize,
    /// Whether the dense layers keep the size of what goes through them when they begin (He et al.
    /// 2015, arXiv:1502.01852), as networks of many layers need; else they begin as in PyTorch.
    pub keeps_size: bool,
}

impl Layout {
    /// A perceptron.
    pub fn dense(hidden: &[usize]) -> Layout {
        Layout {
            hidden: hidden.to_vec(),
            ..Layout::default()
        }
    }

    /// How dense layers begin.
    fn init(&self) -> Init {
        match self.keeps_size {
            true => Init::KaimingNormal {
                gain: relu_gain(0.0),
            },
            false => Init::FanIn,
        }
    }

    fn activation(&self) -> Activation {
        match self.is_linear {
            true => Activation::Identity,
            false => Activation::Relu,
        }
    }

    /// [height, width] of the map before each stage and after the last.
    fn sizes(&self, spec: ImageSpec) -> Vec<[usize; 2]> {
        let mut sizes = vec![[spec.height, spec.width]];
        for _ in &self.channels {
            sizes.push(sizes[sizes.len() - 1].map(|n| n / 2));
        }
        sizes
    }

    /// Whether images of this size have a pixel left after the last stage.
    pub fn fits(&self, spec: ImageSpec) -> bool {
        self.sizes(spec).iter().flatten().all(|&n| n > 0)
    }
}

/// The numbers that tell a class: `[B, classes]`, one of each row 1 and the others 0.
pub fn one_hot<T: Element>(classes: &[u32], count: usize) -> Tensor<T> {
    Tensor::build([classes.len(), count], |out| {
        out.fill(T::ZERO);
        for (row, &class) in out.chunks_exact_mut(count).zip(classes) {
            row[class as usize] = T::ONE;
        }
    })
}

/// [x, y] along the last axis, if there is a y.
fn beside<T: Element>(x: Var<T>, y: Option<&Tensor<T>>) -> Var<T> {
    match y {
        Some(y) => Var::concat(&[&x, &Var::constant(y.clone())], 1),
        None => x,
    }
}

fn stack(b: &mut Builder, sizes: &[usize], init: Init) -> Vec<Linear> {
    (sizes.windows(2).enumerate())
        .map(|(i, io)| Linear::with(&mut b.scope(i), io[0], io[1], init, true))
        .collect()
}

fn through<T: Element>(layers: &[Linear], p: &Bound<T>, x: Var<T>, bend: Activation) -> Var<T> {
    layers
        .iter()
        .fold(x, |h, layer| layer.forward_with(p, &h, bend))
}

/// Images to the last hidden layer before the code.
pub struct Encoder {
    spec: ImageSpec,
    stages: Vec<Down>,
    dense: Vec<Linear>,
    bend: Activation,
    width: usize,
}

impl Encoder {
    /// For images of this kind.
    pub fn new(b: &mut Builder, spec: ImageSpec, layout: &Layout) -> Encoder {
        let sizes = layout.sizes(spec);
        let mut from = spec.channels;
        let mut stages = Vec::new();
        for (i, &to) in layout.channels.iter().enumerate() {
            let b = &mut b.scope("stages");
            stages.push(Down::new(&mut b.scope(i), from, to, layout.blocks));
            from = to;
        }
        let [height, width] = sizes[sizes.len() - 1];
        let flat = height * width * from + layout.classes;
        let dense = stack(b, &[&[flat], &layout.hidden[..]].concat(), layout.init());
        Encoder {
            spec,
            stages,
            width: layout.hidden.last().copied().unwrap_or(flat),
            dense,
            bend: layout.activation(),
        }
    }

    /// How many numbers the last hidden layer has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// x: `[B, D]` in [0, 1], y: `[B, classes]` or nothing -> `[B, width]`.
    pub fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>, y: Option<&Tensor<T>>) -> Var<T> {
        let count = x.shape()[0];
        let mut h = x.clone();
        if !self.stages.is_empty() {
            h = h.reshape(self.spec.shape(count));
            for stage in &self.stages {
                h = stage.forward(p, &h);
            }
            h = h.reshape([count, h.shape().elements() / count.max(1)]);
        }
        through(&self.dense, p, beside(h, y), self.bend)
    }
}

/// The last layer of a decoder.
enum Last {
    Dense(Linear),
    Conv(ConvTranspose),
}

/// Codes to the parameters of the pixels.
pub struct Decoder {
    /// Dense layers, the last of them to the smallest map where there are stages.
    dense: Vec<Linear>,
    /// [height, width, channels] of the smallest map.
    smallest: [usize; 3],
    stages: Vec<Up>,
    last: Last,
    bend: Activation,
}

impl Decoder {
    /// From codes of `latents` numbers to `width` numbers a dimension of the images. The dense and
    /// convolutional layers are named under `decoder`, the last one under `pixels`.
    pub fn new(
        b: &mut Builder,
        spec: ImageSpec,
        layout: &Layout,
        latents: usize,
        width: usize,
    ) -> Decoder {
        let sizes = layout.sizes(spec);
        let outward: Vec<usize> = layout.hidden.iter().rev().copied().collect();
        let mut units = [&[latents + layout.classes], &outward[..]].concat();
        let bend = layout.activation();
        let Some(&channels) = layout.channels.last() else {
            let dense = stack(&mut b.scope("decoder"), &units, layout.init());
            let last = units[units.len() - 1];
            let last = Linear::new(&mut b.scope("pixels"), last, spec.dims() * width);
            return Decoder {
                dense,
                smallest: [0; 3],
                stages: Vec::new(),
                last: Last::Dense(last),
                bend,
            };
        };
        let [h, w] = sizes[sizes.len() - 1];
        units.push(h * w * channels);
        let dense = stack(&mut b.scope("decoder"), &units, layout.init());
        // From the innermost stage outward; the outermost step is the last layer.
        let mut stages = Vec::new();
        for i in (1..layout.channels.len()).rev() {
            let [from, to] = [layout.channels[i], layout.channels[i - 1]];
            let mut b = b.scope("decoder");
            let mut b = b.scope("stages");
            let extra = [0, 1].map(|axis| sizes[i][axis] % 2);
            stages.push(Up::new(
                &mut b.scope(stages.len()),
                [from, to],
                layout.blocks,
                extra,
            ));
        }
        let extra = [0, 1].map(|axis| sizes[0][axis] % 2);
        let last = up(
            &mut b.scope("pixels"),
            [layout.channels[0], spec.channels * width],
            extra,
        );
        Decoder {
            dense,
            smallest: [h, w, channels],
            stages,
            last: Last::Conv(last),
            bend,
        }
    }

    /// z: `[B, latents]`, y: `[B, classes]` or nothing -> `[B, D width]`, for each dimension its
    /// numbers side by side.
    pub fn forward<T: Element>(&self, p: &Bound<T>, z: &Var<T>, y: Option<&Tensor<T>>) -> Var<T> {
        let count = z.shape()[0];
        let h = through(&self.dense, p, beside(z.clone(), y), self.bend);
        match &self.last {
            Last::Dense(last) => last.forward(p, &h),
            Last::Conv(last) => {
                let [height, width, channels] = self.smallest;
                let mut h = h.reshape([count, height, width, channels]);
                for stage in &self.stages {
                    h = stage.forward(p, &h);
                }
                let out = last.forward(p, &h);
                out.reshape([count, out.shape().elements() / count.max(1)])
            }
        }
    }
}

/// A transposed convolution that doubles rows and columns, `extra` more where the larger map is of
/// odd size.
pub(crate) fn up(b: &mut Builder, [from, to]: [usize; 2], extra: [usize; 2]) -> ConvTranspose {
    ConvTranspose::new(b, from, to, [4, 4])
        .stride([2, 2])
        .padding(Padding::uniform(1))
        .output_padding(extra)
}
