//! The masked autoregressive layer, on the masked linear layers of MADE.

use crate::coupling::{MOST, bounded};
use crate::layer::{At, Layer, sum_rows};
use crate::solve::{Network, implicit};
use autoregressive::masked::masked_linear;
use grad::kernels::autoregressive::Staircase;
use grad::kernels::gemm::Activation::Identity;
use grad::{Element, Tensor, Var};
use nn::init::Init;
use nn::layers::{Embedding, Linear};
use nn::{Bound, Builder};
use std::sync::Arc;

/// z_d = (x_d - m_d(x_<d)) exp(-s_d(x_<d)), all of m and s from one masked network.
///
/// G. Papamakarios, T. Pavlakou and I. Murray 2017, "Masked Autoregressive Flow for Density
/// Estimation", arXiv:1705.07057, section 3. Forward is one pass; the inverse goes from dimension
/// to dimension. [`Inverse`](crate::Inverse) of this layer is the inverse autoregressive flow of
/// D. P. Kingma et al. 2016, arXiv:1606.04934.
///
/// In a conditional flow a vector of the class is added to every hidden unit and to m and s
/// themselves: the first dimension has no hidden unit to learn it from.
pub struct Masked {
    dims: usize,
    hidden: Vec<Linear>,
    /// Shift m and raw log-scale; s is bounded by [`MOST`].
    heads: [Linear; 2],
    /// A class's vectors: for each hidden layer, then for the heads.
    classes: Option<(Vec<Embedding>, [Embedding; 2])>,
    stairs: Vec<Arc<Staircase>>,
    head: Arc<Staircase>,
}

/// What the class of each row adds.
struct OfClass<T: Element> {
    /// To each hidden layer, `[B, units]`.
    hidden: Vec<Var<T>>,
    /// To shift and raw log-scale, `[B, D]`.
    heads: [Var<T>; 2],
}

impl Masked {
    /// For rows of `dims` numbers, with these hidden layers. It begins as the identity.
    ///
    /// # Panics
    /// If there is no hidden layer.
    #[track_caller]
    pub fn new(b: &mut Builder, dims: usize, hidden: &[usize], classes: Option<usize>) -> Masked {
        assert!(!hidden.is_empty(), "masked: expected a hidden layer");
        let sizes = [&[dims], hidden].concat();
        // Sorted: a unit of degree m sees the first m dimensions.
        let degrees = |layer: usize| -> Vec<usize> {
            match layer {
                0 => (1..=dims).collect(),
                layer => {
                    let units = sizes[layer];
                    (0..units).map(|k| 1 + k * (dims - 1) / units).collect()
                }
            }
        };
        let last = hidden.len();
        let stairs = (0..last).map(|l| Staircase::by_degree(&degrees(l), &degrees(l + 1), false));
        let width = hidden[last - 1];
        let zero = |b: &mut Builder, name: &str| {
            Linear::with(&mut b.scope(name), width, dims, Init::ZEROS, true)
        };
        let table = |b: &mut Builder, name: String, count: usize, width: usize, init: Init| {
            Embedding::with(&mut b.scope(name), count, width, init)
        };
        let drawn = Init::Normal {
            mean: 0.0,
            std: 0.1,
        };
        Masked {
            dims,
            hidden: (sizes.windows(2).enumerate())
                .map(|(i, io)| Linear::new(&mut b.scope(i), io[0], io[1]))
                .collect(),
            heads: [zero(b, "shift"), zero(b, "log_scale")],
            classes: classes.map(|count| {
                let inside = (hidden.iter().enumerate())
                    .map(|(i, &width)| table(b, format!("class{i}"), count, width, drawn));
                let inside = inside.collect();
                let heads = ["class_shift", "class_log_scale"]
                    .map(|name| table(b, name.into(), count, dims, Init::ZEROS));
                (inside, heads)
            }),
            stairs: stairs.map(Arc::new).collect(),
            head: Arc::new(Staircase::by_degree(&degrees(last), &degrees(0), true)),
        }
    }

    /// The vectors of the classes at hand, if the layer has any.
    #[track_caller]
    fn class_rows<T: Element>(&self, at: &At<T>) -> Option<OfClass<T>> {
        let (inside, heads) = self.classes.as_ref()?;
        let classes = at
            .classes
            .expect("a conditional flow needs the class of each row");
        let row = |table: &Embedding| table.forward(at.p, classes.clone());
        Some(OfClass {
            hidden: inside.iter().map(row).collect(),
            heads: heads.each_ref().map(row),
        })
    }

    /// (m, s) of x `[B, D]`.
    fn motion<T: Element>(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let classes = self.class_rows(at);
        let apply = |stairs: &Arc<Staircase>, layer: &Linear, x: &Var<T>, add: Option<&Var<T>>| {
            let bias = layer.bias().map(|bias| &at.p[bias]);
            let y = masked_linear(stairs, x, &at.p[layer.weight()], bias, Identity);
            match add {
                Some(add) => y + add,
                None => y,
            }
        };
        let mut h = x.clone();
        for (l, layer) in self.hidden.iter().enumerate() {
            let add = classes.as_ref().map(|of| &of.hidden[l]);
            h = apply(&self.stairs[l], layer, &h, add).relu();
        }
        let head = |i: usize| {
            let add = classes.as_ref().map(|of| &of.heads[i]);
            apply(&self.head, &self.heads[i], &h, add)
        };
        (head(0), bounded(&head(1)))
    }

    /// The network as numbers, for `rows` rows.
    fn network<T: Element>(&self, at: &At<T>, rows: usize) -> Network<T> {
        let classes = self.class_rows(at);
        let value = |p: &Bound<T>, layer: &Linear| p[layer.weight()].value().clone();
        let offset = |layer: &Linear, class: Option<&Var<T>>| {
            let bias = layer.bias().expect("masked layers have biases");
            let bias = at.p[bias].detach().broadcast_to([rows, layer.outputs()]);
            match class {
                Some(class) => (bias + class.detach()).into_value(),
                None => bias.into_value(),
            }
        };
        Network {
            stairs: self.stairs.clone(),
            head: self.head.clone(),
            weights: self.hidden.iter().map(|layer| value(at.p, layer)).collect(),
            heads: self.heads.each_ref().map(|layer| value(at.p, layer)),
            offsets: (self.hidden.iter().enumerate())
                .map(|(l, layer)| offset(layer, classes.as_ref().map(|of| &of.hidden[l])))
                .collect(),
            head_offsets: [0, 1]
                .map(|i| offset(&self.heads[i], classes.as_ref().map(|of| &of.heads[i]))),
            log_scale: |raw| MOST * (raw / MOST).tanh(),
            slope: |raw| 1.0 - (raw / MOST).tanh().powi(2),
        }
    }
}

impl<T: Element> Layer<T> for Masked {
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let (shift, s) = self.motion(at, x);
        ((x - shift) * (-&s).exp(), -sum_rows(&s))
    }

    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T> {
        let network = self.network(at, z.shape()[0]);
        let x: Tensor<T> = network.solve(z.value());
        let recorded = at.p.recorded().next().is_some() || z.is_recorded();
        if !recorded || self.dims == 0 {
            return Var::constant(x);
        }
        // What the solution depends on beside itself; see [`implicit`].
        let (shift, s) = self.motion(at, &Var::constant(x));
        implicit(network, z.value(), &(z * s.exp() + shift))
    }
}
