//! Softmax attention over queries, keys and values that one projection made.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::attention::{Attention as Sizes, Backward, Forward, Pattern, Rows, RowsMut, Strides};
use kernels::buffer::Buffer;
use std::cell::OnceCell;

pub(super) const ATTENTION: Entry = Entry {
    name: "attention",
    formula: "softmax(q k^T / sqrt(D)) v over the keys that a pattern lets a query see, (q, k, v) packed",
    samples: || {
        vec![
            sample!(
                "causal, two heads",
                [uniform([2, 4, 3, 2, 2], -1.0, 1.0)],
                |x| x[0].attention(Pattern::Causal { strict: false })
            ),
            sample!(
                "strictly causal: the first sees nothing",
                [uniform([1, 4, 3, 1, 3], -1.0, 1.0)],
                |x| x[0].attention(Pattern::Causal { strict: true })
            ),
            sample!(
                "local blocks of a picture",
                [uniform([1, 6, 3, 1, 2], -1.0, 1.0)],
                |x| {
                    x[0].attention(Pattern::Local2d {
                        size: [2, 3],
                        query: [1, 2],
                        flange: [1, 1],
                    })
                }
            ),
        ]
    },
};

/// Input `[B, T, 3, H, D]`.
struct Attention<T: Element> {
    pattern: Pattern,
    /// `[B, H, T]`, for the backward pass.
    logsumexp: OnceCell<Buffer<T>>,
}

impl<T: Element> Attention<T> {
    #[track_caller]
    fn sizes(&self, x: &Shape) -> Sizes {
        let [batch, length, 3, heads, depth] = x[..] else {
            panic!("attention: expected [B, T, 3, H, D], found {x}")
        };
        Sizes::new([batch, length, heads, depth], self.pattern)
    }
}

impl<T: Element> Op<T> for Attention<T> {
    fn name(&self) -> &'static str {
        "attention"
    }
    fn saves(&self) -> Saves {
        Saves {
            output: true,
            ..Saves::INPUTS
        }
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let a = self.sizes(x[0].shape());
        let mut logsumexp = Buffer::recycled(a.batch * a.heads * a.length);
        let o = Tensor::build(Shape::new(&a.shape()), |o| {
            let [q, k, v] = Rows::packed(x[0].data(), a.length, a.heads, a.depth);
            let o = RowsMut::new(o, Strides::contiguous(a.length, 1, a.heads, a.depth));
            a.forward(Forward { q, k, v, o }, &mut logsumexp);
        });
        let _ = self.logsumexp.set(logsumexp);
        o
    }
    fn vjp(&self, at: &Vjp<'_, T>, go: Var<T>) {
        let a = self.sizes(&at.input_shape(0));
        if at.records() {
            return at.give(0, || recorded(&a, &at.input(0), &go));
        }
        at.give(0, || {
            let (x, o) = (at.input(0), at.output());
            let strides = Strides::contiguous(a.length, 1, a.heads, a.depth);
            let [q, k, v] = Rows::packed(x.value().data(), a.length, a.heads, a.depth);
            Var::constant(Tensor::build(*x.shape(), |gx| {
                let [gq, gk, gv] = RowsMut::packed(gx, a.length, a.heads, a.depth);
                a.backward(Backward {
                    q,
                    k,
                    v,
                    o: Rows::new(o.value().data(), strides),
                    logsumexp: self.logsumexp.get().expect("set by the forward pass"),
                    go: Rows::new(go.value().data(), strides),
                    gq,
                    gk,
                    gv,
                })
            }))
        });
    }
}

/// The gradient by x in ordinary operations, with all probabilities in memory.
fn recorded<T: Element>(a: &Sizes, x: &Var<T>, go: &Var<T>) -> Var<T> {
    let Sizes {
        batch,
        length,
        heads,
        depth,
        ..
    } = *a;
    let shape = [batch, length, heads, depth];
    let by_head = |x: Var<T>| x.reshape(shape).permute(&[0, 2, 1, 3]);
    let [q, k, v] = [0, 1, 2].map(|i| by_head(x.slice(2, i..i + 1)));
    let go = by_head(go.clone());
    let seen = Tensor::from_fn([length, length], |i| {
        let seen = a.pattern.sees(i / length, i % length);
        T::from_f64(f64::from(u8::from(seen)))
    });
    let hidden = Var::constant(seen.map(|seen| (T::ONE - seen) * T::from_f64(-1e30)));
    // Who sees nothing has no probabilities; all others already have none where they do not see.
    let p = (q.matmul_with(&k, false, true).scale(a.scale) + hidden).softmax();
    let p = p * Var::constant(seen);
    let gp = go.matmul_with(&v, false, true);
    let gs = (&p * (&gp - (&gp * &p).sum_axes_keep(&[3]))).scale(a.scale);
    let gq = gs.matmul(&k);
    let gk = gs.matmul_with(&q, true, false);
    let gv = p.matmul_with(&go, true, false);
    let parts = [gq, gk, gv].map(|g| g.permute(&[0, 2, 1, 3]));
    Var::stack(&parts.each_ref(), 2)
}

impl<T: Element> Var<T> {
    /// softmax(q k^T / sqrt(D)) v, each head by itself, over the keys that each position sees; 0
    /// for a position that sees none.
    ///
    /// Shapes: self `[B, T, 3, H, D]` holds q, k and v, as one product of `[B, T, C]` with a weight
    /// `[C, 3 H D]` makes them; the result is `[B, T, H, D]`. The probabilities are never in
    /// memory, unless the backward pass is recorded.
    ///
    /// # Panics
    /// If the shape is not such, D is 0, or the pattern does not fit T.
    #[track_caller]
    pub fn attention(&self, pattern: Pattern) -> Var<T> {
        let logsumexp = OnceCell::new();
        Var::apply(Attention { pattern, logsumexp }, &[self])
    }
}
