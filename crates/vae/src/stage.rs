//! The stages of convolutional networks: from one size of the map to half or twice of it.

use crate::network::up;
use grad::kernels::gemm::Activation;
use grad::{Element, Var};
use nn::layers::{Conv, ConvTranspose, Padding};
use nn::{Bound, Builder};

/// h + conv1x1(relu(conv3x3(relu(h)))), half as many channels within. He et al. 2016,
/// arXiv:1603.05027.
struct Residual {
    inner: Conv,
    outer: Conv,
}

impl Residual {
    fn new(b: &mut Builder, channels: usize) -> Residual {
        let within = channels.div_ceil(2);
        let inner = Conv::new(&mut b.scope(0), channels, within, [3, 3]);
        Residual {
            inner: inner.padding(Padding::uniform(1)),
            outer: Conv::new(&mut b.scope(1), within, channels, [1, 1]),
        }
    }

    fn forward<T: Element>(&self, p: &Bound<T>, h: &Var<T>) -> Var<T> {
        let inner = self.inner.forward_with(p, &h.relu(), Activation::Relu);
        h + self.outer.forward(p, &inner)
    }
}

/// Residual blocks one after the other. What comes in has been through a ReLU only where there are
/// none of them, so that what goes out has in any case.
struct Blocks(Vec<Residual>);

impl Blocks {
    fn new(b: &mut Builder, channels: usize, count: usize) -> Blocks {
        let mut b = b.scope("blocks");
        let block = |i| Residual::new(&mut b.scope(i), channels);
        Blocks((0..count).map(block).collect())
    }

    /// The activation of the layer before.
    fn before(&self) -> Activation {
        match self.0.is_empty() {
            true => Activation::Relu,
            false => Activation::Identity,
        }
    }

    fn forward<T: Element>(&self, p: &Bound<T>, h: Var<T>) -> Var<T> {
        if self.0.is_empty() {
            return h;
        }
        self.0
            .iter()
            .fold(h, |h, block| block.forward(p, &h))
            .relu()
    }
}

/// A 4x4 convolution with stride 2, then residual blocks.
pub(crate) struct Down {
    conv: Conv,
    blocks: Blocks,
}

impl Down {
    pub(crate) fn new(b: &mut Builder, from: usize, to: usize, blocks: usize) -> Down {
        let conv = Conv::new(&mut b.scope("conv"), from, to, [4, 4]);
        Down {
            conv: conv.stride([2, 2]).padding(Padding::uniform(1)),
            blocks: Blocks::new(b, to, blocks),
        }
    }

    /// `[B, H, W, from]` -> `[B, H / 2, W / 2, to]`, rounded down, after a ReLU.
    pub(crate) fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        let h = self.conv.forward_with(p, x, self.blocks.before());
        self.blocks.forward(p, h)
    }
}

/// Residual blocks, then a 4x4 transposed convolution with stride 2.
pub(crate) struct Up {
    blocks: Blocks,
    conv: ConvTranspose,
}

impl Up {
    pub(crate) fn new(
        b: &mut Builder,
        [from, to]: [usize; 2],
        blocks: usize,
        extra: [usize; 2],
    ) -> Up {
        Up {
            blocks: Blocks::new(b, from, blocks),
            conv: up(&mut b.scope("conv"), [from, to], extra),
        }
    }

    /// `[B, h, w, from]` -> `[B, 2 h, 2 w, to]`, one more where the map was of odd size, after a
    /// ReLU.
    pub(crate) fn forward<T: Element>(&self, p: &Bound<T>, x: &Var<T>) -> Var<T> {
        let h = self.blocks.forward(p, x.clone());
        self.conv.forward(p, &h).relu()
    }
}
