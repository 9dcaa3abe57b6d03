//! MADE one dimension after the other. A unit is final as soon as all that feed it are; then, and
//! only then, it adds to those it feeds. A whole image costs one pass through the network.

use super::{Made, Mask};
use crate::sequential::{Ready, Walk};
use grad::Tensor;
use grad::kernels::autoregressive::Staircase;
use grad::kernels::elementwise::axpy;
use nn::Bound;

/// The weights between units sorted by degree.
pub(super) struct Weights<'a> {
    model: &'a Made,
    mask: &'a Mask,
    /// (weight, bias) of each layer.
    layers: Vec<(Tensor<f32>, Vec<f32>)>,
    direct: Option<Tensor<f32>>,
}

impl<'a> Weights<'a> {
    pub(super) fn new(model: &'a Made, p: &Bound<f32>, ordering: usize) -> Weights<'a> {
        let mask = &model.masks[ordering];
        let last = model.layers.len();
        let sorted = |id, from, to| mask.sort(&p[id].detach(), from, to).into_value();
        let layers = (model.layers.iter().enumerate()).map(|(l, layer)| {
            let bias = layer.bias().expect("the layers of MADE have biases");
            let bias = p[bias].value().data();
            let bias = match &mask.sorted[l + 1] {
                Some(order) => order.iter().map(|&unit| bias[unit as usize]).collect(),
                None => bias.to_vec(),
            };
            (sorted(layer.weight(), l, l + 1), bias)
        });
        Weights {
            layers: layers.collect(),
            direct: (model.direct.as_ref()).map(|layer| sorted(layer.weight(), 0, last)),
            model,
            mask,
        }
    }
}

impl Ready for Weights<'_> {
    fn begin(&self, count: usize, _classes: Option<&[u32]>) -> Box<dyn Walk + '_> {
        let mut network = Network {
            of: self,
            sums: (self.layers.iter())
                .map(|(_, bias)| bias.repeat(count))
                .collect(),
            done: vec![0; self.layers.len()],
            known: 0,
            next: vec![0.0; count],
        };
        network.advance();
        Box::new(network)
    }
}

/// The sums into each unit of some images, as far as final units have added to them.
struct Network<'a> {
    of: &'a Weights<'a>,
    /// For each layer the sums into its units, `[count, units]`.
    sums: Vec<Vec<f32>>,
    /// How many units of each hidden layer are final.
    done: Vec<usize>,
    known: usize,
    next: Vec<f32>,
}

/// Adds value * row of w to the sums it feeds, for each image.
fn feed(stairs: &Staircase, w: &Tensor<f32>, unit: usize, values: &[f32], sums: &mut [f32]) {
    let (columns, first) = (stairs.columns(), stairs.first_column(unit));
    let row = &w.data()[unit * columns..][first..columns];
    if row.is_empty() {
        return;
    }
    for (sums, &value) in sums.chunks_exact_mut(columns).zip(values) {
        if value != 0.0 {
            axpy(value, row, &mut sums[first..]);
        }
    }
}

impl Network<'_> {
    /// Lets every hidden unit that has become final feed the next layer.
    fn advance(&mut self) {
        let mut final_before = self.known;
        for l in 0..self.of.layers.len() - 1 {
            let (own, next) = self.sums.split_at_mut(l + 1);
            let (own, next) = (&own[l], &mut next[0]);
            let (stairs, onward) = (&self.of.mask.stairs[l], &self.of.mask.stairs[l + 1]);
            let units = stairs.columns();
            while self.done[l] < units && stairs.limit(self.done[l]) <= final_before {
                let unit = self.done[l];
                let rows = own.chunks_exact(units).zip(&mut self.next);
                rows.for_each(|(sums, value)| *value = sums[unit].max(0.0));
                feed(onward, &self.of.layers[l + 1].0, unit, &self.next, next);
                self.done[l] += 1;
            }
            final_before = self.done[l];
        }
    }
}

impl Walk for Network<'_> {
    fn conditional(&mut self) -> &[f32] {
        let dims = self.of.model.spec.dims();
        let logits = self.sums.last().expect("there is an output layer");
        for (next, logits) in self.next.iter_mut().zip(logits.chunks_exact(dims)) {
            *next = logits[self.known];
        }
        &self.next
    }

    fn fix(&mut self, values: &[f32]) {
        assert_eq!(values.len(), self.next.len(), "fix: a value for each image");
        let mask = self.of.mask;
        feed(
            &mask.stairs[0],
            &self.of.layers[0].0,
            self.known,
            values,
            &mut self.sums[0],
        );
        if let Some(direct) = &self.of.direct {
            let logits = self.sums.last_mut().expect("there is an output layer");
            feed(&mask.direct, direct, self.known, values, logits);
        }
        self.known += 1;
        self.advance();
    }
}
