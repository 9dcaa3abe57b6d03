//! Masked attention as a causal layer. Vaswani et al. 2017, arXiv:1706.03762, section 3.2; who sees
//! whom: Parmar et al. 2018, arXiv:1802.05751, section 3.3.

use super::{At, Begin, Cached, Causal, Masked, Pass, Steps};
use grad::kernels::attention::{self as kernel, Pattern, Query, Turn};
use grad::kernels::gemm::Activation::Identity;
use grad::{Element, Tensor, Var};
use nn::{Bound, Builder};
use std::sync::Arc;

/// Softmax attention of several heads over a sequence `[B, 1, T, C]` -> the same, between two
/// linear maps.
///
/// Parameters: `qkv.weight` `[1, 1, C, 3 C]`, whose outputs are the queries of all heads, then the
/// keys, then the values; `qkv.bias`; `out.weight` `[1, 1, C, C]` and `out.bias`.
pub struct Attention {
    qkv: Masked,
    out: Masked,
    heads: usize,
    channels: usize,
    pattern: Pattern,
    length: usize,
}

impl Attention {
    /// A layer for sequences of `length` positions.
    ///
    /// # Panics
    /// If the channels are no multiple of the heads.
    #[track_caller]
    pub fn new(
        b: &mut Builder,
        channels: usize,
        heads: usize,
        pattern: Pattern,
        length: usize,
    ) -> Attention {
        assert!(
            heads > 0 && channels.is_multiple_of(heads),
            "attention: {channels} channels for {heads} heads"
        );
        Attention {
            qkv: Masked::pointwise(&mut b.scope("qkv"), [channels, 3 * channels], Identity),
            out: Masked::pointwise(&mut b.scope("out"), [channels, channels], Identity),
            heads,
            channels,
            pattern,
            length,
        }
    }

    fn mixed<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        let &[batch, 1, length, channels] = &x.shape()[..] else {
            panic!("attention: expected x [B, 1, T, C], found {}", x.shape());
        };
        let depth = channels / self.heads;
        let qkv = self.qkv.whole(pass, x);
        let qkv = qkv.reshape([batch, length, 3, self.heads, depth]);
        if let Some(maps) = pass.maps {
            maps.borrow_mut().push(self.maps(&qkv));
        }
        let mixed = qkv.attention(self.pattern);
        mixed.reshape([batch, 1, length, channels])
    }

    /// The probabilities, `[B, heads, T, T]`: from query to key.
    fn maps<T: Element>(&self, qkv: &Var<T>) -> Tensor<T> {
        let &[batch, length, 3, heads, depth] = &qkv.shape()[..] else {
            unreachable!("shaped above");
        };
        let by_head = |i: usize| {
            let part = qkv.detach().slice(2, i..i + 1);
            (part.reshape([batch, length, heads, depth])).permute(&[0, 2, 1, 3])
        };
        let scores = by_head(0).matmul_with(&by_head(1), false, true);
        let scores = scores.scale(1.0 / (depth as f64).sqrt());
        let hidden = Tensor::from_fn([length, length], |i| {
            let sees = self.pattern.sees(i / length, i % length);
            T::from_f64(if sees { 0.0 } else { -1e30 })
        });
        (scores + Var::constant(hidden)).softmax().into_value()
    }
}

impl Causal for Attention {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        self.out.whole(pass, &self.mixed(pass, x))
    }

    fn whole_plus<T: Element>(&self, pass: &Pass<T>, x: &Var<T>, plus: &Var<T>) -> Var<T> {
        self.out.whole_plus(pass, &self.mixed(pass, x), plus)
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        let depth = self.channels / self.heads;
        let shape = [1, self.length, self.heads, depth];
        Box::new(AttentionSteps {
            qkv: self.qkv.steps(p),
            out: self.out.steps(p),
            kernel: kernel::Attention::new(shape, self.pattern),
            pitch: self.pattern.most_keys(self.length).next_multiple_of(16),
            turns: self.pattern.turns(self.length).into(),
        })
    }
}

struct AttentionSteps {
    qkv: Box<dyn Steps>,
    out: Box<dyn Steps>,
    kernel: kernel::Attention,
    /// The distance between rows of keys.
    pitch: usize,
    turns: Arc<[Turn]>,
}

struct AttentionCache<'a> {
    of: &'a AttentionSteps,
    qkv: Box<dyn Cached + 'a>,
    out: Box<dyn Cached + 'a>,
    /// Of the block at hand, with its memory: keys `[images, heads, depth, pitch]`, values
    /// `[images, heads, pitch, depth]`.
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Keys and values of all positions so far, `[T, images, 2, heads, depth]`, where later blocks
    /// see some of them; else empty.
    past: Vec<f32>,
    mixed: Vec<f32>,
}

impl Steps for AttentionSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        let [_, length, heads, depth] = self.kernel.shape();
        let block = images.count * heads * depth * self.pitch;
        let remembers = self.turns.iter().any(|turn| {
            turn.memory
                .as_ref()
                .is_some_and(|memory| !memory.is_empty())
        });
        let past = 2 * length * images.count * heads * depth;
        Box::new(AttentionCache {
            of: self,
            qkv: self.qkv.begin(images),
            out: self.out.begin(images),
            keys: vec![0.0; block],
            values: vec![0.0; block],
            past: vec![0.0; if remembers { past } else { 0 }],
            mixed: vec![0.0; images.count * heads * depth],
        })
    }
}

/// Puts keys and values, `[2, heads, depth]` of each image, where a block has place `slot`.
fn put<'x>(
    [_, _, heads, depth]: [usize; 4],
    pitch: usize,
    slot: usize,
    images: impl Iterator<Item = &'x [f32]>,
    keys: &mut [f32],
    values: &mut [f32],
) {
    let block = depth * pitch;
    let mut blocks = keys
        .chunks_exact_mut(block)
        .zip(values.chunks_exact_mut(block));
    for image in images {
        let (k, v) = image.split_at(heads * depth);
        let by_head = k.chunks_exact(depth).zip(v.chunks_exact(depth));
        for ((k, v), (keys, values)) in by_head.zip(&mut blocks) {
            for (row, &k) in keys.chunks_exact_mut(pitch).zip(k) {
                row[slot] = k;
            }
            values[slot * depth..][..depth].copy_from_slice(v);
        }
    }
}

impl Cached for AttentionCache<'_> {
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32] {
        let AttentionSteps {
            kernel,
            pitch,
            turns,
            ..
        } = self.of;
        let (turn, shape) = (&turns[at.turn], kernel.shape());
        let row = shape[2] * shape[3];
        let images = self.mixed.len() / row;
        let (keys, values) = (&mut self.keys, &mut self.values);
        for (slot, &position) in turn.memory.iter().flatten().enumerate() {
            let past = &self.past[position * images * 2 * row..][..images * 2 * row];
            put(
                shape,
                *pitch,
                slot,
                past.chunks_exact(2 * row),
                keys,
                values,
            );
        }
        let qkv = self.qkv.step(at, x);
        let new = || qkv.chunks_exact(3 * row).map(|qkv| &qkv[row..]);
        put(shape, *pitch, turn.own(), new(), keys, values);
        if !self.past.is_empty() {
            let past = &mut self.past[turn.position * images * 2 * row..][..images * 2 * row];
            let past = past.chunks_exact_mut(2 * row);
            past.zip(new())
                .for_each(|(past, new)| past.copy_from_slice(new));
        }
        let [_, _, heads, depth] = shape;
        let block = depth * pitch;
        for (i, o) in self.mixed.chunks_exact_mut(depth).enumerate() {
            let query = Query {
                q: &qkv[i / heads * 3 * row + i % heads * depth..][..depth],
                keys: &keys[i * block..][..block],
                pitch: *pitch,
                values: &values[i * block..][..block],
            };
            kernel.step(turn, query, o);
        }
        self.out.step(at, &self.mixed)
    }
}
