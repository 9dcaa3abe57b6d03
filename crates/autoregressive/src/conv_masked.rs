//! The masked convolution of the PixelCNN family.
//!
//! Van den Oord et al. 2016, arXiv:1601.06759, section 3.4. Pixels are ordered row by row, from
//! left to right; of one pixel's colours green comes after red and blue after both. A layer's
//! channels are cut into as many groups as a pixel has colours, and group g may know what colour
//! g may know.

use grad::kernels::conv::{Conv2d, Padding};
use grad::kernels::gemm::Activation;
use grad::{Element, Shape, Tensor, Var};
use nn::init::Init;
use nn::layers::sums;
use nn::masks::{Causal, causal_taps};
use nn::model::ImageSpec;
use nn::{Bound, Builder, ParamId};

/// How pixels enter: as numbers around 0 but none of them 0, which is what lies beside the image.
/// 2 x - 1, moved by half a level where the
/// number of levels is odd. Given as (scale, shift); the scale is a power of two, so it rounds
/// nothing.
pub(crate) fn centring(spec: &ImageSpec) -> (f64, f64) {
    let half_level = 1.0 / (spec.levels - 1) as f64;
    (
        2.0,
        if spec.levels.is_multiple_of(2) {
            -1.0
        } else {
            half_level - 1.0
        },
    )
}

/// The group of a channel out of `channels` that are cut into `groups` of nearly equal size.
fn group_of(channel: usize, channels: usize, groups: usize) -> usize {
    channel * groups / channels
}

/// y = x * w + b, where y at a pixel depends on that pixel's predecessors only ([`Causal::A`]), or
/// on the pixel itself, too ([`Causal::B`]). The image keeps its size.
///
/// Taps after the centre, and with one colour also type A's centre, are left out of the work.
/// With several colours the centre tap is needed by some pairs of groups, so a 0/1 mask is
/// multiplied to the weight for the others; the weight itself is never changed.
///
/// Parameters: `weight` [kh, kw, in, out] and `bias` [out].
pub(crate) struct MaskedConv {
    weight: ParamId,
    bias: ParamId,
    /// With the size of the image still open.
    geometry: Conv2d,
    groups: usize,
    /// The outputs are so many equal parts, each with channels of all groups.
    parts: usize,
    mask: Option<Tensor<f32>>,
}

impl MaskedConv {
    /// A layer from `inputs` to `outputs` channels with an odd kernel, for pixels of `groups`
    /// colours. It begins as a PyTorch layer whose fan-in counts the taps that are used.
    ///
    /// # Panics
    /// If a kernel size is even.
    #[track_caller]
    pub(crate) fn new(
        b: &mut Builder,
        io: [usize; 2],
        kernel: [usize; 2],
        causal: Causal,
        groups: usize,
    ) -> MaskedConv {
        MaskedConv::in_parts(b, io, kernel, causal, groups, 1)
    }

    /// A layer whose outputs are `parts` equal parts, one after another, each cut into groups: a
    /// gate has two.
    ///
    /// # Panics
    /// If a kernel size is even.
    #[track_caller]
    pub(crate) fn in_parts(
        b: &mut Builder,
        [inputs, outputs]: [usize; 2],
        kernel: [usize; 2],
        causal: Causal,
        groups: usize,
        parts: usize,
    ) -> MaskedConv {
        let [kh, kw] = kernel;
        let taps = causal_taps(kernel, if groups == 1 { causal } else { Causal::B });
        let padding = Padding {
            top: kh / 2,
            bottom: kh / 2,
            left: kw / 2,
            right: kw / 2,
        };
        let geometry = Conv2d::new([0, 0, 0, inputs], outputs, kernel)
            .with_padding(padding)
            .with_taps(taps);
        let bound = ((taps.count() * inputs) as f64).sqrt().recip();
        let init = Init::Uniform {
            low: -bound,
            high: bound,
        };
        let shape = Shape::from([kh, kw, inputs, outputs]);
        let centre = kh / 2 * kw + kw / 2;
        MaskedConv {
            weight: b.param("weight", shape, |shape, stream| init.draw(shape, stream)),
            bias: b.param("bias", [outputs], |shape, stream| init.draw(shape, stream)),
            geometry,
            groups,
            parts,
            mask: (groups > 1).then(|| {
                Tensor::from_fn(shape, |i| {
                    let (tap, from, to) = (i / outputs / inputs, i / outputs % inputs, i % outputs);
                    let from = group_of(from, inputs, groups);
                    let to = group_of(to % (outputs / parts), outputs / parts, groups);
                    let known = match causal {
                        Causal::A => from < to,
                        Causal::B => from <= to,
                    };
                    f32::from(tap < centre || tap == centre && known)
                })
            }),
        }
    }

    /// act(x * w + b): x [B, H, W, in] -> [B, H, W, out].
    ///
    /// # Panics
    /// If `x` has not this shape.
    #[track_caller]
    pub(crate) fn forward<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        activation: Activation,
    ) -> Var<T> {
        let with = [Some(&p[self.bias]), None];
        let (geometry, sums) = (self.geometry_for(x), sums(p.mode()));
        x.conv2d_with(&self.weight(p), with, activation, geometry, sums)
    }

    /// x * w + b + plus, in one pass: plus [B, H, W, out].
    ///
    /// # Panics
    /// If a shape is not as said.
    #[track_caller]
    pub(crate) fn forward_plus<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        plus: &Var<T>,
    ) -> Var<T> {
        let with = [Some(&p[self.bias]), Some(plus)];
        let (geometry, sums) = (self.geometry_for(x), sums(p.mode()));
        x.conv2d_with(&self.weight(p), with, Activation::Identity, geometry, sums)
    }

    #[track_caller]
    fn geometry_for<T: Element>(&self, x: &Var<T>) -> Conv2d {
        let [batch, in_height, in_width, _] = x.shape()[..] else {
            panic!(
                "masked convolution: expected x of shape [B, H, W, C], found {}",
                x.shape()
            );
        };
        Conv2d {
            batch,
            in_height,
            in_width,
            ..self.geometry
        }
    }

    /// The weight as it is used, with zeros where a group may not see another.
    pub(crate) fn weight<T: Element>(&self, p: &Bound<T>) -> Var<T> {
        match &self.mask {
            None => p[self.weight].clone(),
            Some(mask) => &p[self.weight] * &Var::constant(mask.cast()),
        }
    }

    /// The bias.
    pub(crate) fn bias<'p, T: Element>(&self, p: &'p Bound<T>) -> &'p Var<T> {
        &p[self.bias]
    }

    /// Sizes, padding and taps, with the size of the image still open.
    pub(crate) fn geometry(&self) -> &Conv2d {
        &self.geometry
    }

    /// How many colours a pixel has.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// The outputs of group `g`.
    pub(crate) fn outputs_of(&self, g: usize) -> Vec<usize> {
        let outputs = self.geometry.out_channels;
        let part = outputs / self.parts;
        (0..outputs)
            .filter(|o| group_of(o % part, part, self.groups) == g)
            .collect()
    }
}
