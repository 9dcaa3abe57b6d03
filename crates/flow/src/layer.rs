//! What a flow is made of: layers that go both ways and know how they change volumes.

use grad::{Element, Tensor, Var};
use nn::{Bound, Params};
use std::sync::Arc;

/// What a layer sees beside its input.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct At<'a, T: Element> {
    /// The parameters.
    pub p: &'a Bound<T>,
    /// The class of each row, where the flow is conditional.
    pub classes: Option<&'a Arc<[u32]>>,
    /// What else the networks of couplings see, `[B, H, W, K]`: the image that a variational
    /// dequantiser draws noise for.
    pub context: Option<&'a Var<T>>,
}

impl<'a, T: Element> At<'a, T> {
    /// With these parameters, without classes.
    pub fn new(p: &'a Bound<T>) -> At<'a, T> {
        At {
            p,
            classes: None,
            context: None,
        }
    }

    /// The same with the class of each row, where there are any.
    pub fn classes(self, classes: Option<&'a Arc<[u32]>>) -> At<'a, T> {
        At { classes, ..self }
    }

    /// The same with what the networks of couplings see beside their own half.
    pub fn context(self, context: &'a Var<T>) -> At<'a, T> {
        At {
            context: Some(context),
            ..self
        }
    }
}

/// An invertible map with a known Jacobian determinant, row by row: rows do not mix.
///
/// Batch normalisation in training is the exception: there a row depends on the batch.
pub trait Layer<T: Element>: Send + Sync {
    /// x `[B, ..]` -> (z `[B, ..]`, log |det dz/dx| `[B]`), in nats.
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>);

    /// z `[B, ..]` -> the x with `forward(x).0 == z`.
    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T>;

    /// Sets first values that follow the data, given what arrives at the layer of some training
    /// images, x `[n, ..]`, and their classes.
    fn begin(&self, _params: &mut Params<T>, _classes: Option<&Arc<[u32]>>, _x: &Var<T>) {}
}

/// A [`Layer`] in both precisions: f32 trains, f64 proves it.
pub trait FlowLayer: Layer<f32> + Layer<f64> {}

impl<L: Layer<f32> + Layer<f64>> FlowLayer for L {}

/// f32 or f64: finds a layer's face of this precision.
pub trait Precision: Element {
    /// The layer in this precision.
    fn face(layer: &dyn FlowLayer) -> &dyn Layer<Self>;
}

impl Precision for f32 {
    fn face(layer: &dyn FlowLayer) -> &dyn Layer<f32> {
        layer
    }
}

impl Precision for f64 {
    fn face(layer: &dyn FlowLayer) -> &dyn Layer<f64> {
        layer
    }
}

/// Layers one after the other: a layer itself.
#[derive(Default)]
pub struct Flow {
    layers: Vec<Box<dyn FlowLayer>>,
}

impl Flow {
    /// The identity.
    pub fn new() -> Flow {
        Flow::default()
    }

    /// The same with one more layer at the end, the side of the code.
    pub fn then(mut self, layer: impl FlowLayer + 'static) -> Flow {
        self.push(layer);
        self
    }

    /// Adds a layer at the end, the side of the code.
    pub fn push(&mut self, layer: impl FlowLayer + 'static) {
        self.layers.push(Box::new(layer));
    }

    /// The layers, from data to code.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = &dyn FlowLayer> {
        self.layers.iter().map(|layer| &**layer)
    }
}

impl<T: Precision> Layer<T> for Flow {
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let mut z = x.clone();
        let mut log_det: Option<Var<T>> = None;
        for layer in self.layers() {
            let (next, more) = T::face(layer).forward(at, &z);
            z = next;
            log_det = Some(match log_det {
                None => more,
                Some(sum) => sum + more,
            });
        }
        (z, log_det.unwrap_or_else(|| zeros(x)))
    }

    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T> {
        (self.layers.iter().rev()).fold(z.clone(), |z, layer| T::face(&**layer).inverse(at, &z))
    }

    fn begin(&self, params: &mut Params<T>, classes: Option<&Arc<[u32]>>, x: &Var<T>) {
        let mut x = x.clone();
        for (i, layer) in self.layers().enumerate() {
            let layer = T::face(layer);
            layer.begin(params, classes, &x);
            if i + 1 < self.layers.len() {
                x = layer
                    .forward(&At::new(&params.constants()).classes(classes), &x)
                    .0;
            }
        }
    }
}

/// A layer the other way round: its inverse is what training runs.
///
/// The log-determinant is that of the layer at the point its inverse finds, with the sign changed.
pub struct Inverse<L>(pub L);

impl<T: Element, L: Layer<T>> Layer<T> for Inverse<L> {
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let z = self.0.inverse(at, x);
        let (_, log_det) = self.0.forward(at, &z);
        (z, -log_det)
    }

    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T> {
        self.0.forward(at, z).0
    }
}

/// A log-determinant of 0 for each row of x: `[B]`.
pub(crate) fn zeros<T: Element>(x: &Var<T>) -> Var<T> {
    Var::constant(Tensor::zeros([x.shape()[0]]))
}

/// The sum over all axes but the first: `[B]`.
pub(crate) fn sum_rows<T: Element>(x: &Var<T>) -> Var<T> {
    let rows = x.shape()[0];
    x.reshape([rows, x.shape().elements() / rows.max(1)])
        .sum_axes(&[1])
}

/// One number, of shape `[]`, for each row of x: `[B]`.
pub(crate) fn each_row<T: Element>(number: &Var<T>, x: &Var<T>) -> Var<T> {
    number.reshape([1]).broadcast_to([x.shape()[0]])
}
