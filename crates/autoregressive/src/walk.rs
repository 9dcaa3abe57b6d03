//! One driver for every network of causal layers: a model of whole images, and walks over images
//! one dimension after the other.

use crate::causal::{At, Begin, Cached, Causal, Pass, Steps};
use crate::density::Autoregressive;
use crate::sequential::{Ready, Walk};
use grad::{Element, Tensor, Var};
use nn::Bound;
use nn::dist::pixels::Pixels;
use nn::model::{Batch, ImageSpec, Spread};
use std::cell::RefCell;
use std::sync::Arc;

/// A network of [causal layers](crate::causal) as an autoregressive model. The values of the
/// parameters live in [`Params`](nn::Params).
///
/// The network takes images `[B, H, W, C]` with pixels in [0, 1], and gives the parameters of each
/// dimension's distribution, in the order of `[H, W, C]`: `[B, H, W, C K]`, or `[B, 1, H W C, K]`.
pub struct Network<N> {
    spec: ImageSpec,
    pixels: Pixels,
    layers: N,
    classes: Option<usize>,
    /// The dimension that comes i-th, if they do not come as they lie.
    order: Option<Arc<[u32]>>,
    lanes: usize,
    together: usize,
}

impl<N: Causal> Network<N> {
    /// A model of images of this kind whose dimensions come row by row, the colours of each pixel
    /// in turn.
    pub fn of(spec: ImageSpec, pixels: Pixels, layers: N) -> Network<N> {
        Network {
            spec,
            pixels,
            layers,
            classes: None,
            order: None,
            lanes: 1,
            together: 32,
        }
    }

    /// The same whose layers know the class of an image.
    pub fn classes(self, classes: Option<usize>) -> Network<N> {
        Network { classes, ..self }
    }

    /// The same whose dimensions come in this order, a permutation of positions in `[H, W, C]`.
    pub fn order(self, order: Arc<[u32]>) -> Network<N> {
        let order = Some(order);
        Network { order, ..self }
    }

    /// The same with micro-batches of so many images in training.
    pub fn lanes(self, lanes: usize) -> Network<N> {
        Network { lanes, ..self }
    }

    /// The same with so many images that walk together on a thread: so few that what they keep
    /// stays in cache. Results do not depend on it.
    pub fn together(self, together: usize) -> Network<N> {
        Network { together, ..self }
    }

    /// The layers.
    pub fn layers(&self) -> &N {
        &self.layers
    }

    fn pass<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        let y = self.layers.whole(pass, x);
        let batch = x.shape()[0];
        y.reshape([batch, y.shape().elements() / batch.max(1)])
    }
}

impl<N: Causal> Autoregressive for Network<N> {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn pixels(&self) -> Pixels {
        self.pixels
    }

    fn classes(&self) -> Option<usize> {
        self.classes
    }

    fn dimension(&self, _ordering: usize, i: usize) -> usize {
        self.order.as_ref().map_or(i, |order| order[i] as usize)
    }

    fn logits<T: Element>(&self, p: &Bound<T>, x: &Var<T>, ordering: usize) -> Var<T> {
        self.logits_of(p, x, None, ordering)
    }

    fn logits_of<T: Element>(
        &self,
        p: &Bound<T>,
        x: &Var<T>,
        labels: Option<&Arc<[u32]>>,
        _ordering: usize,
    ) -> Var<T> {
        let pass = Pass {
            labels,
            ..Pass::new(p)
        };
        self.pass(&pass, x)
    }

    /// With what is dropped in training.
    fn loss(&self, p: &Bound<f32>, batch: &Batch, _ordering: usize) -> Var<f32> {
        let pass = Pass {
            labels: batch.labels.as_ref(),
            noise: &batch.noise,
            ..Pass::new(p)
        };
        let logits = self.pass(&pass, &Var::constant(batch.images.clone()));
        self.pixels.nll(&logits, &batch.images).sum()
    }

    fn ready<'a>(&'a self, p: &Bound<f32>, _: usize) -> Box<dyn Ready + 'a> {
        Box::new(ReadyNetwork {
            of: self,
            layers: self.layers.steps(p),
        })
    }

    fn attention_maps(
        &self,
        p: &Bound<f32>,
        x: &Tensor<f32>,
        labels: Option<&Arc<[u32]>>,
    ) -> Vec<Tensor<f32>> {
        let maps = RefCell::default();
        let pass = Pass {
            labels,
            maps: Some(&maps),
            ..Pass::new(p)
        };
        self.pass(&pass, &Var::constant(x.clone()));
        maps.into_inner()
    }

    fn spread(&self, _batch_size: usize) -> Spread {
        Spread::Lanes(self.lanes)
    }
}

/// The layers with their parameters.
struct ReadyNetwork<'a, N> {
    of: &'a Network<N>,
    layers: Box<dyn Steps>,
}

impl<N: Causal> Ready for ReadyNetwork<'_, N> {
    fn together(&self) -> usize {
        self.of.together
    }

    fn begin(&self, count: usize, classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        let ImageSpec {
            height,
            width,
            channels,
            ..
        } = self.of.spec;
        let images = Begin {
            count,
            size: [height, width],
            classes,
        };
        Box::new(Walking {
            spec: self.of.spec,
            order: self.of.order.clone(),
            width: self.of.pixels.width(),
            layers: self.layers.begin(&images),
            known: 0,
            pixels: vec![0.0; count * channels],
            parameters: Vec::new(),
            count,
        })
    }
}

/// Images of which the first dimensions of the order are known.
struct Walking<'a> {
    spec: ImageSpec,
    order: Option<Arc<[u32]>>,
    /// K.
    width: usize,
    layers: Box<dyn Cached + 'a>,
    known: usize,
    /// The pixel at hand, `[count, C]`.
    pixels: Vec<f32>,
    /// `[count, K]`.
    parameters: Vec<f32>,
    count: usize,
}

impl Walking<'_> {
    fn at(&self) -> At {
        let turn = self.known;
        let dimension = self
            .order
            .as_ref()
            .map_or(turn, |order| order[turn] as usize);
        let (pixel, colour) = (
            dimension / self.spec.channels,
            dimension % self.spec.channels,
        );
        At {
            pixel: [pixel / self.spec.width, pixel % self.spec.width],
            colour,
            dimension,
            turn,
        }
    }
}

impl Walk for Walking<'_> {
    fn conditional(&mut self) -> &[f32] {
        let at = self.at();
        let parameters = self.layers.step(at, &self.pixels);
        let of_image = parameters.len() / self.count.max(1);
        let first = if of_image == self.width {
            0
        } else {
            at.colour * self.width
        };
        self.parameters.clear();
        for parameters in parameters.chunks_exact(of_image.max(1)) {
            self.parameters
                .extend_from_slice(&parameters[first..][..self.width]);
        }
        &self.parameters
    }

    fn fix(&mut self, values: &[f32]) {
        assert!(
            self.known < self.spec.dims() && values.len() == self.count,
            "fix: {} values for {} images, {} of {} dimensions known",
            values.len(),
            self.count,
            self.known,
            self.spec.dims()
        );
        let at = self.at();
        let pixels = self.pixels.chunks_exact_mut(self.spec.channels);
        for (pixel, &value) in pixels.zip(values) {
            pixel[at.colour] = value;
        }
        self.layers.fix(at, &self.pixels);
        self.known += 1;
    }
}
