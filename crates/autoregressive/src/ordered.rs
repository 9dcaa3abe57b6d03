//! A model in one of its orderings, as sampling, completion and coding need it: the quick way, by
//! the walks that the model itself begins, and the slow way, to hold them against.

use crate::density::Autoregressive;
use crate::sequential::{Conditionals, Ready, Walk};
use grad::{Tensor, Var};
use nn::Bound;
use nn::model::ImageSpec;
use nn::random::Stream;
use std::sync::Arc;

/// A model in one of its orderings, ready to walk.
pub(crate) struct Ordered<'a, M> {
    model: &'a M,
    ready: Box<dyn Ready + 'a>,
    ordering: usize,
}

impl<'a, M: Autoregressive> Ordered<'a, M> {
    pub(crate) fn new(model: &'a M, ready: Box<dyn Ready + 'a>, ordering: usize) -> Self {
        Ordered {
            model,
            ready,
            ordering,
        }
    }
}

impl<M: Autoregressive> Ready for Ordered<'_, M> {
    fn together(&self) -> usize {
        self.ready.together()
    }

    fn begin(&self, count: usize, classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        self.ready.begin(count, classes)
    }
}

/// [`Conditionals`] the slow way: all logits computed anew for each dimension. What the models'
/// own are held against.
pub struct Naive<'a, M> {
    model: &'a M,
    parameters: Vec<Tensor<f32>>,
    ordering: usize,
}

impl<'a, M: Autoregressive> Naive<'a, M> {
    /// The model with these parameters.
    pub fn new(model: &'a M, p: &nn::Params<f32>, ordering: usize) -> Naive<'a, M> {
        let parameters = p.iter().map(|param| param.value.clone()).collect();
        Naive {
            model,
            parameters,
            ordering,
        }
    }
}

impl<M: Autoregressive> Ready for Naive<'_, M> {
    fn begin(&self, count: usize, classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        let ImageSpec {
            height,
            width,
            channels,
            ..
        } = self.model.spec();
        Box::new(NaiveWalk {
            of: self,
            p: Bound::from_vars(self.parameters.iter().cloned().map(Var::constant)),
            x: Tensor::zeros([count, height, width, channels]),
            labels: classes.map(Arc::from),
            known: 0,
            row: Vec::new(),
        })
    }
}

/// What a model says of itself, the same for [`Ordered`] and [`Naive`].
macro_rules! conditionals {
    ($Type:ident) => {
        impl<M: Autoregressive> Conditionals for $Type<'_, M> {
            fn spec(&self) -> ImageSpec {
                self.model.spec()
            }

            fn dimension(&self, i: usize) -> usize {
                self.model.dimension(self.ordering, i)
            }

            fn classes(&self) -> Option<usize> {
                self.model.classes()
            }

            fn draw(&self, parameters: &[f32], temperature: f32, stream: &mut Stream) -> f32 {
                (self.model.pixels()).draw(parameters, temperature, stream)
            }
        }
    };
}

conditionals!(Ordered);
conditionals!(Naive);

struct NaiveWalk<'a, M> {
    of: &'a Naive<'a, M>,
    p: Bound<f32>,
    x: Tensor<f32>,
    labels: Option<Arc<[u32]>>,
    known: usize,
    row: Vec<f32>,
}

impl<M: Autoregressive> Walk for NaiveWalk<'_, M> {
    fn conditional(&mut self) -> &[f32] {
        let dims = self.of.model.spec().dims();
        let d = self.of.model.dimension(self.of.ordering, self.known);
        let width = self.of.model.pixels().width();
        let x = Var::constant(self.x.clone());
        let labels = self.labels.as_ref();
        let logits = (self.of.model).logits_of(&self.p, &x, labels, self.of.ordering);
        self.row.clear();
        for row in logits.value().data().chunks_exact(dims * width) {
            self.row.extend_from_slice(&row[d * width..(d + 1) * width]);
        }
        &self.row
    }

    fn fix(&mut self, values: &[f32]) {
        let dims = self.of.model.spec().dims();
        let d = self.of.model.dimension(self.of.ordering, self.known);
        for (image, &value) in self.x.make_mut().chunks_exact_mut(dims).zip(values) {
            image[d] = value;
        }
        self.known += 1;
    }
}
