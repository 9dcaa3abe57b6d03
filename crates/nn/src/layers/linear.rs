//! The fully connected layer.

use crate::init::Init;
use crate::params::{Bound, Builder, ParamId};
use grad::kernels::gemm::Activation;
use grad::{Element, Shape, Var};

/// y = x W + b.
///
/// Parameters: `weight: [in, out]` and, unless left out, `bias: [out]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// A layer with a bias that begins as PyTorch's: [`Init::FanIn`].
    pub fn new(builder: &mut Builder, inputs: usize, outputs: usize) -> Linear {
        Linear::with(builder, inputs, outputs, Init::FanIn, true)
    }

    /// A layer whose weight begins as `init`, the bias, if it has one, as [`Init::of_bias`].
    pub fn with(
        builder: &mut Builder,
        inputs: usize,
        outputs: usize,
        init: Init,
        bias: bool,
    ) -> Linear {
        let shape = Shape::from([inputs, outputs]);
        Linear {
            weight: builder.param("weight", shape, |shape, stream| init.draw(shape, stream)),
            bias: bias.then(|| {
                let init = init.of_bias(&shape);
                builder.param("bias", [outputs], |shape, stream| init.draw(shape, stream))
            }),
            inputs,
            outputs,
        }
    }

    /// x: `[.., in]` -> `[.., out]`.
    ///
    /// # Panics
    /// If the last extent of `x` is not `in`.
    #[track_caller]
    pub fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        self.forward_with(p, x, Activation::Identity)
    }

    /// As [`forward`](Self::forward), with an activation computed in the same pass.
    ///
    /// # Panics
    /// If the last extent of `x` is not `in`.
    #[track_caller]
    pub fn forward_with<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        activation: Activation,
    ) -> Var<T> {
        self.apply(p, x, &p[self.weight], activation)
    }

    /// As [`forward`](Self::forward) with the weight multiplied by `mask`, [in, out]: the masked
    /// layer of MADE. The weight itself stays as it is, so masks may change from call to call.
    ///
    /// # Panics
    /// Also if the mask has not the shape of the weight.
    #[track_caller]
    pub fn forward_masked<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        mask: &Var<T>,
        activation: Activation,
    ) -> Var<T> {
        assert_eq!(
            mask.shape()[..],
            [self.inputs, self.outputs],
            "linear: the mask must have the shape of the weight"
        );
        self.apply(p, x, &(&p[self.weight] * mask), activation)
    }

    #[track_caller]
    fn apply<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        weight: &Var<T>,
        activation: Activation,
    ) -> Var<T> {
        let shape = *x.shape();
        assert!(
            shape.rank() > 0 && shape.last_extent() == self.inputs,
            "linear: expected x of shape [.., {}], found {shape}",
            self.inputs
        );
        x.linear(weight, self.bias.map(|bias| &p[bias]), activation)
    }

    /// The weight, `[in, out]`.
    pub fn weight(&self) -> ParamId {
        self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<ParamId> {
        self.bias
    }

    /// The extent of the last axis of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The extent of the last axis of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}
