//! The masked convolution as a causal layer.

use super::{At, Begin, Cached, Causal, Pass, Steps};
use crate::conv_cache::{Rows, Step};
use crate::conv_masked::MaskedConv;
use grad::kernels::gemm::Activation;
use grad::{Element, Var};
use nn::masks::Causal as Mask;
use nn::{Bound, Builder};

/// act(x * w + b), a masked convolution: see `conv_masked` for the mask and `conv_cache` for the
/// steps.
pub struct Masked {
    conv: MaskedConv,
    activation: Activation,
}

impl Masked {
    /// A layer from `inputs` to `outputs` channels with an odd kernel, for pixels of `colours`
    /// colours.
    ///
    /// Parameters: `weight` `[kh, kw, inputs, outputs]` and `bias` `[outputs]`.
    ///
    /// # Panics
    /// If a kernel size is even.
    #[track_caller]
    pub fn new(
        b: &mut Builder,
        io: [usize; 2],
        kernel: [usize; 2],
        mask: Mask,
        colours: usize,
        activation: Activation,
    ) -> Masked {
        Masked {
            conv: MaskedConv::new(b, io, kernel, mask, colours),
            activation,
        }
    }

    /// A layer that sees each place by itself, its channels not cut into groups.
    pub fn pointwise(b: &mut Builder, io: [usize; 2], activation: Activation) -> Masked {
        Masked::new(b, io, [1, 1], Mask::B, 1, activation)
    }
}

impl From<MaskedConv> for Masked {
    fn from(conv: MaskedConv) -> Masked {
        Masked {
            conv,
            activation: Activation::Identity,
        }
    }
}

impl Causal for Masked {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        self.conv.forward(pass.p, x, self.activation)
    }

    fn whole_plus<T: Element>(&self, pass: &Pass<T>, x: &Var<T>, plus: &Var<T>) -> Var<T> {
        match self.activation {
            Activation::Identity => self.conv.forward_plus(pass.p, x, plus),
            _ => self.whole(pass, x) + plus,
        }
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        Box::new(MaskedSteps {
            step: Step::new(&self.conv, p),
            activation: self.activation,
        })
    }
}

struct MaskedSteps {
    step: Step,
    activation: Activation,
}

struct MaskedCache<'a> {
    of: &'a MaskedSteps,
    /// What the kernel sees beside its own place; none of a kernel of 1.
    rows: Option<Rows>,
    y: Vec<f32>,
}

impl Steps for MaskedSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        let reach = self.step.reach();
        let is_wide = reach.above > 0 || reach.columns > 1;
        Box::new(MaskedCache {
            of: self,
            rows: is_wide.then(|| Rows::new(reach, images.count, images.size[1])),
            y: vec![0.0; images.count * self.step.outputs()],
        })
    }
}

impl Cached for MaskedCache<'_> {
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32] {
        let MaskedSteps { step, activation } = self.of;
        let seen = match &mut self.rows {
            None => x,
            Some(rows) => {
                rows.put(at.pixel, x);
                rows.window(at.pixel)
            }
        };
        step.run(at.colour, seen, &mut self.y, *activation);
        &self.y
    }

    fn fix(&mut self, at: At, x: &[f32]) {
        if let Some(rows) = &mut self.rows {
            rows.put(at.pixel, x);
        }
    }
}
