//! One dimension after the other: the inverse of a masked autoregressive layer.
//!
//! ```text
//! x_d = z_d exp(s_d(x_<d)) + m_d(x_<d)
//! ```
//!
//! A unit of the network is final as soon as all that feed it are; then, and only then, it adds to
//! those it feeds. So all dimensions together cost one pass through the network, in steps.
//!
//! Derivatives: let F(x) be the right-hand side and J its derivative by x, strictly lower
//! triangular. dx = J dx + d rhs, so a cotangent g of x becomes a = g + J^T a of the right-hand
//! side. That is solved from the last dimension to the first, again in one pass (implicit
//! differentiation); what the right-hand side depends on is left to the tape.

use grad::kernels::autoregressive::Staircase;
use grad::kernels::elementwise::axpy;
use grad::{Element, Op, Saves, Tensor, Var, Vjp};
use std::sync::Arc;

/// The values of a masked network with ReLUs, for rows of D numbers.
pub(crate) struct Network<T: Element> {
    /// Hidden layers from the input, then the two heads, shift and raw log-scale, which both read
    /// the last hidden layer: where a weight is not 0.
    pub(crate) stairs: Vec<Arc<Staircase>>,
    pub(crate) head: Arc<Staircase>,
    /// The weight `[in, out]` of each hidden layer.
    pub(crate) weights: Vec<Tensor<T>>,
    /// The weights of the heads.
    pub(crate) heads: [Tensor<T>; 2],
    /// What is added to each unit of a hidden layer: bias, and class. `[B, units]`.
    pub(crate) offsets: Vec<Tensor<T>>,
    /// The same for the heads, `[B, D]`.
    pub(crate) head_offsets: [Tensor<T>; 2],
    /// From raw log-scale to log-scale.
    pub(crate) log_scale: fn(f64) -> f64,
    /// Its derivative.
    pub(crate) slope: fn(f64) -> f64,
}

/// Adds value * row of w, from the stairs on, to the sums it feeds, for each image.
fn feed<T: Element>(stairs: &Staircase, w: &Tensor<T>, unit: usize, values: &[T], sums: &mut [T]) {
    let (columns, first) = (stairs.columns(), stairs.first_column(unit));
    let row = &w.data()[unit * columns..][first..columns];
    if row.is_empty() {
        return;
    }
    for (sums, &value) in sums.chunks_exact_mut(columns).zip(values) {
        if value != T::ZERO {
            axpy(value, row, &mut sums[first..]);
        }
    }
}

/// [`feed`] the other way: adds value * column of w, above the stairs, to the sums behind it. `wt`
/// is the transpose of w.
fn feed_back<T: Element>(
    stairs: &Staircase,
    wt: &Tensor<T>,
    unit: usize,
    values: &[T],
    sums: &mut [T],
) {
    let (rows, limit) = (stairs.rows(), stairs.limit(unit));
    let column = &wt.data()[unit * rows..][..limit];
    if column.is_empty() {
        return;
    }
    for (sums, &value) in sums.chunks_exact_mut(rows).zip(values) {
        if value != T::ZERO {
            axpy(value, column, &mut sums[..limit]);
        }
    }
}

/// The column `unit` of `[B, n]`.
fn column<T: Element>(of: &[T], n: usize, unit: usize) -> Vec<T> {
    of.chunks_exact(n).map(|row| row[unit]).collect()
}

impl<T: Element> Network<T> {
    fn layers(&self) -> usize {
        self.weights.len()
    }

    /// How many final inputs make unit `unit` of a layer final.
    fn needs(&self, layer: usize, unit: usize) -> usize {
        self.stairs[layer].limit(unit)
    }

    /// x `[B, D]` of z `[B, D]`.
    pub(crate) fn solve(&self, z: &Tensor<T>) -> Tensor<T> {
        let dims = self.head.columns();
        let copy = |t: &Tensor<T>| t.data().to_vec();
        let mut sums: Vec<Vec<T>> = self.offsets.iter().map(copy).collect();
        let mut heads = self.head_offsets.each_ref().map(copy);
        let mut done = vec![0; self.layers()];
        let mut x = vec![T::ZERO; z.len()];
        for d in 0..dims {
            self.advance(d, &mut done, &mut sums, &mut heads);
            for (row, x) in x.chunks_exact_mut(dims).enumerate() {
                let at = row * dims + d;
                let scale = (self.log_scale)(heads[1][at].to_f64()).exp();
                let moved = z.data()[at].to_f64() * scale + heads[0][at].to_f64();
                x[d] = T::from_f64(moved);
            }
            let values = column(&x, dims, d);
            feed(&self.stairs[0], &self.weights[0], d, &values, &mut sums[0]);
        }
        Tensor::new([z.shape()[0], dims], &x)
    }

    /// Lets every hidden unit that has become final with `known` dimensions feed the next layer.
    fn advance(
        &self,
        known: usize,
        done: &mut [usize],
        sums: &mut [Vec<T>],
        heads: &mut [Vec<T>; 2],
    ) {
        let mut before = known;
        for l in 0..self.layers() {
            let units = self.stairs[l].columns();
            let (own, next) = sums.split_at_mut(l + 1);
            while done[l] < units && self.needs(l, done[l]) <= before {
                let unit = done[l];
                let mut values = column(&own[l], units, unit);
                values
                    .iter_mut()
                    .for_each(|v| *v = if *v > T::ZERO { *v } else { T::ZERO });
                match next.first_mut() {
                    Some(next) => feed(
                        &self.stairs[l + 1],
                        &self.weights[l + 1],
                        unit,
                        &values,
                        next,
                    ),
                    None => {
                        for (w, sums) in self.heads.iter().zip(heads.iter_mut()) {
                            feed(&self.head, w, unit, &values, sums);
                        }
                    }
                }
                done[l] += 1;
            }
            before = done[l];
        }
    }

    /// a = g + J^T a at the solution x of z, all `[B, D]`.
    fn adjoint(&self, z: &Tensor<T>, x: &Tensor<T>, g: &Tensor<T>) -> Tensor<T> {
        let (dims, rows) = (self.head.columns(), z.shape()[0]);
        let last = self.layers() - 1;
        // The pass through the network at x: activations, and the raw log-scale.
        let mut activations: Vec<Tensor<T>> = Vec::new();
        let product = |stairs: &Staircase, from: &Tensor<T>, w: &Tensor<T>, offset: &Tensor<T>| {
            let none = grad::kernels::gemm::Epilogue::NONE;
            let y = Tensor::build(*offset.shape(), |y| {
                stairs.forward(from.data(), w.data(), none, y)
            });
            Tensor::from_fn(*y.shape(), |i| y.data()[i] + offset.data()[i])
        };
        for l in 0..=last {
            let from = if l == 0 { x } else { &activations[l - 1] };
            let h = product(&self.stairs[l], from, &self.weights[l], &self.offsets[l]);
            activations.push(h.map(|h| if h > T::ZERO { h } else { T::ZERO }));
        }
        let raw = product(
            &self.head,
            &activations[last],
            &self.heads[1],
            &self.head_offsets[1],
        );
        let transposed = |w: &Tensor<T>| Var::constant(w.clone()).transpose().into_value();
        let back: Vec<Tensor<T>> = self.weights.iter().map(transposed).collect();
        let heads_back = self.heads.each_ref().map(transposed);

        let mut sums: Vec<Vec<T>> = activations.iter().map(|h| vec![T::ZERO; h.len()]).collect();
        let mut a = g.data().to_vec();
        // Hidden units from here on have passed on what they got.
        let mut passed: Vec<usize> = self.stairs.iter().map(|s| s.columns()).collect();
        for d in (0..dims).rev() {
            // Units that read dimension d are fed by later outputs alone, all of which are done.
            let mut reads = d;
            let mut first_of: Vec<usize> = Vec::with_capacity(self.layers());
            for stairs in &self.stairs {
                reads = stairs.first_column(reads).min(stairs.columns());
                first_of.push(reads);
            }
            for l in (0..=last).rev() {
                let units = self.stairs[l].columns();
                while passed[l] > first_of[l] {
                    passed[l] -= 1;
                    let unit = passed[l];
                    let mut values = column(&sums[l], units, unit);
                    for (value, h) in values.iter_mut().zip(activations[l].data().chunks(units)) {
                        if h[unit] == T::ZERO {
                            *value = T::ZERO;
                        }
                    }
                    let behind = if l == 0 { &mut a } else { &mut sums[l - 1] };
                    feed_back(&self.stairs[l], &back[l], unit, &values, behind);
                }
            }
            let shift = column(&a, dims, d);
            let raw_scale: Vec<T> = (0..rows)
                .map(|row| {
                    let at = row * dims + d;
                    let raw = raw.data()[at].to_f64();
                    let moved = z.data()[at].to_f64() * (self.log_scale)(raw).exp();
                    T::from_f64(a[at].to_f64() * moved * (self.slope)(raw))
                })
                .collect();
            for (w, values) in heads_back.iter().zip([shift, raw_scale]) {
                feed_back(&self.head, w, d, &values, &mut sums[last]);
            }
        }
        Tensor::new([rows, dims], &a)
    }
}

/// The right-hand side at the solution, as the solution: the value is that of `rhs`, and gradients
/// are solved for on their way to it.
pub(crate) fn implicit<T: Element>(network: Network<T>, z: &Tensor<T>, rhs: &Var<T>) -> Var<T> {
    let op = Implicit {
        network,
        z: z.clone(),
    };
    Var::apply(op, &[rhs])
}

struct Implicit<T: Element> {
    network: Network<T>,
    z: Tensor<T>,
}

impl<T: Element> Op<T> for Implicit<T> {
    fn name(&self) -> &'static str {
        "implicit"
    }

    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }

    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        x[0].clone()
    }

    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let x = at.output().into_value();
        at.give(0, || {
            Var::constant(self.network.adjoint(&self.z, &x, g.value()))
        });
    }

    fn first_order_only(&self) -> bool {
        true
    }
}
