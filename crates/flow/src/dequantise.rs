//! From levels to real numbers: noise that fills the steps between levels.
//!
//! A density over real numbers can be made infinite on a grid, so a pixel of level v out of L
//! becomes y = (v + u) / L with u in [0, 1). For any distribution q(u | x)
//!
//! ```text
//! -log P(x) <= E_q[-log p(y) + log q(u | x)] + D log L        p a density over y in [0, 1]^D
//! ```
//!
//! Uniform noise has log q = 0 (L. Theis, A. van den Oord and M. Bethge 2016, arXiv:1511.01844,
//! section 3.1); a flow that sees the image gives a tighter bound (J. Ho et al. 2019, "Flow++",
//! arXiv:1902.00275, section 3.1).

use crate::coupling::{Coupling, Partition, Transform};
use crate::layer::{At, Flow, Layer, Precision, zeros};
use crate::net::{ConvSizes, Net};
use crate::prior::Prior;
use crate::shape::Squeeze;
use grad::{Tensor, Var};
use nn::Builder;
use nn::hyper::{Hyper, HyperError, Hypers, Value};
use nn::model::ImageSpec;

/// How a model's table says which noise it is to have.
pub(crate) const KIND: Hyper = Hyper {
    name: "dequantise",
    meaning: "noise between the levels of a pixel: `uniform`, or `variational`, which is learned",
    default: Value::Choice(&["uniform", "variational"]),
};

/// Noise between the levels.
pub enum Dequantise {
    /// Each place between two levels is equally likely.
    Uniform,
    /// A flow from logistic noise makes it, given the image; it begins as uniform.
    Variational(Box<Flow>),
}

/// Couplings of the learned noise, and channels of their networks.
const COUPLINGS: usize = 4;
const CHANNELS: usize = 16;

impl Dequantise {
    /// What the hyper-parameter `dequantise` says, for images of this kind.
    ///
    /// # Errors
    /// If learned noise is asked for and the sides are odd.
    pub fn chosen(
        hypers: &Hypers,
        b: &mut Builder,
        spec: &ImageSpec,
    ) -> Result<Dequantise, HyperError> {
        if hypers.choice(KIND.name) == "uniform" {
            return Ok(Dequantise::Uniform);
        }
        if spec.height % 2 + spec.width % 2 > 0 {
            return Err(hypers.unfit(format!(
                "dequantise=variational: expected images of even sides, found {} x {}",
                spec.height, spec.width
            )));
        }
        Ok(Dequantise::variational(&mut b.scope("dequantise"), spec))
    }

    /// Learned noise for images of even sides.
    pub fn variational(b: &mut Builder, spec: &ImageSpec) -> Dequantise {
        let channels = 4 * spec.channels;
        let sizes = ConvSizes {
            channels: CHANNELS,
            blocks: 0,
            classes: None,
            context: channels,
        };
        let mut flow = Flow::new().then(Squeeze);
        for i in 0..COUPLINGS {
            let board = Partition::checkerboard(channels);
            let partition = if i % 2 == 0 { board } else { board.swapped() };
            let (inputs, outputs) = (partition.count(false), 2 * partition.count(true));
            let net = Net::convolution(&mut b.scope(i), inputs, outputs, sizes);
            flow.push(Coupling::new(partition, Transform::Affine, net));
        }
        Dequantise::Variational(Box::new(flow))
    }

    /// y `[B, H, W, C]` in [0, 1) and log q(u | x) in nats, `[B]`, of images x `[B, H, W, C]` in
    /// [0, 1] of so many levels, from uniform noise of the same shape.
    pub fn noisy<T: Precision>(
        &self,
        at: &At<T>,
        x: &Tensor<T>,
        levels: usize,
        noise: &Tensor<T>,
    ) -> (Var<T>, Var<T>) {
        let (top, share) = ((levels - 1) as f64, 1.0 / levels as f64);
        let level = |i: usize| T::from_f64((x.data()[i].to_f64() * top).round() * share);
        let floor = Var::constant(Tensor::from_fn(*x.shape(), level));
        let Dequantise::Variational(flow) = self else {
            let y = floor + Var::constant(noise.reshape(*x.shape())) * share;
            let log_q = zeros(&y);
            return (y, log_q);
        };
        let logistic = |u: T| {
            let u = u.to_f64().clamp(EDGE, 1.0 - EDGE);
            T::from_f64((u / (1.0 - u)).ln())
        };
        let begin = Var::constant(noise.map(logistic).reshape(*x.shape()));
        let image = Var::constant(x.clone()).affine(2.0, -1.0);
        let context = Squeeze.forward(&At::new(at.p), &image).0;
        let (moved, log_det) = flow.forward(&At::new(at.p).context(&context), &begin);
        let moved = Squeeze.inverse(at, &moved);
        let rows =
            |x: &Var<T>| x.reshape([x.shape()[0], x.shape().elements() / x.shape()[0].max(1)]);
        // u = sigmoid(moved) has the derivative of the logistic distribution function: its density.
        let log_density = |x: &Var<T>| Prior::Logistic.log_density(&rows(x));
        let log_q = log_density(&begin) - log_det - log_density(&moved);
        (floor + moved.sigmoid() * share, log_q)
    }
}

/// Uniform noise is kept this far from 0 and 1, where a logit has no end.
const EDGE: f64 = 1e-6;
