//! Softmax attention, masked and blocked: o = softmax(scale q k^T) v, forward and backward, without
//! the matrix of probabilities.
//!
//! The structure is that of Dao et al. 2022, arXiv:2205.14135 (FlashAttention): blocks of scores
//! live in the cache, the forward pass keeps the logsumexp of each row, the backward pass computes
//! probabilities again from it.

mod ahead;
mod backward;
mod exp2;
mod forward;
mod pack;
mod pass;
mod pattern;
mod product;
mod step;
mod tile;
mod view;

pub use pattern::Pattern;
pub use step::{Query, Turn};
pub use view::{Rows, RowsMut, Strides};

use crate::element::Element;
use crate::flops;
use crate::parallel;
use pattern::Group;

/// A head and a group of its queries.
type Next = ((usize, usize), Group);

/// Sizes and mask of an attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// How many examples.
    pub batch: usize,
    /// How many positions an example has.
    pub length: usize,
    /// How many heads.
    pub heads: usize,
    /// How many numbers a query, key or value of one head has.
    pub depth: usize,
    /// Who sees whom.
    pub pattern: Pattern,
    /// What <q, k> is multiplied by.
    pub scale: f64,
}

/// What the forward pass reads and writes.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// Queries.
    pub q: Rows<'a, T>,
    /// Keys.
    pub k: Rows<'a, T>,
    /// Values.
    pub v: Rows<'a, T>,
    /// Outputs.
    pub o: RowsMut<'a, T>,
}

/// What the backward pass reads and writes.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// Queries.
    pub q: Rows<'a, T>,
    /// Keys.
    pub k: Rows<'a, T>,
    /// Values.
    pub v: Rows<'a, T>,
    /// Outputs, from the forward pass.
    pub o: Rows<'a, T>,
    /// From the forward pass: `[batch, heads, length]`.
    pub logsumexp: &'a [T],
    /// The gradient by the outputs.
    pub go: Rows<'a, T>,
    /// The gradient by the queries.
    pub gq: RowsMut<'a, T>,
    /// The gradient by the keys.
    pub gk: RowsMut<'a, T>,
    /// The gradient by the values.
    pub gv: RowsMut<'a, T>,
}

impl Attention {
    /// Attention with the scale 1 / sqrt(depth).
    pub fn new([batch, length, heads, depth]: [usize; 4], pattern: Pattern) -> Attention {
        Attention {
            batch,
            length,
            heads,
            depth,
            pattern,
            scale: 1.0 / (depth as f64).sqrt(),
        }
    }

    /// [batch, length, heads, depth].
    pub fn shape(&self) -> [usize; 4] {
        [self.batch, self.length, self.heads, self.depth]
    }

    /// Pairs of a query and a key that it sees, times depth: multiply-adds of one product.
    pub fn products(&self) -> u64 {
        let pairs = self.pattern.pairs(self.length) as u64;
        (self.batch * self.heads * self.depth) as u64 * pairs
    }

    /// o = softmax(scale q k^T) v over the keys that a query sees, and the logsumexp of its scores
    /// in nats: `[batch, heads, length]`. A query that sees no key has o = 0 and logsumexp -inf.
    ///
    /// # Panics
    /// If the depth is 0, rows lie outside their buffer or outputs overlap, or the pattern does not fit.
    #[track_caller]
    #[inline]
    pub fn forward<T: Element>(&self, x: Forward<T>, logsumexp: &mut [T]) {
        T::attention_forward(self, x, logsumexp)
    }

    #[track_caller]
    pub(crate) fn forward_body<T: Element>(&self, x: Forward<T>, logsumexp: &mut [T]) {
        self.check([&x.q, &x.k, &x.v], [&x.o], logsumexp.len());
        flops::add(|| 4 * self.products());
        if self.rows() > 0 {
            forward::run(self, x, logsumexp);
        }
    }

    /// The gradients by q, k and v of <o, go>; they are overwritten.
    ///
    /// # Panics
    /// If the depth is 0, rows lie outside their buffer or gradients overlap, or the pattern does not fit.
    #[track_caller]
    #[inline]
    pub fn backward<T: Element>(&self, x: Backward<T>) {
        T::attention_backward(self, x)
    }

    #[track_caller]
    pub(crate) fn backward_body<T: Element>(&self, x: Backward<T>) {
        let read = [&x.q, &x.k, &x.v, &x.o, &x.go];
        self.check(read, [&x.gq, &x.gk, &x.gv], x.logsumexp.len());
        flops::add(|| 10 * self.products());
        if self.rows() > 0 {
            backward::run(self, x);
        }
    }

    fn rows(&self) -> usize {
        self.batch * self.length * self.heads
    }

    fn groups(&self) -> impl Iterator<Item = Group> + use<> {
        self.pattern.groups(self.length)
    }

    /// The example and the head of a job.
    fn at(&self, job: usize) -> (usize, usize) {
        (job / self.heads, job % self.heads)
    }

    /// Calls `each` with every group of a job, and with where this thread will most likely go on:
    /// the head and the group.
    fn each_group(&self, job: usize, mut each: impl FnMut(Group, Option<Next>)) {
        let later = job + parallel::threads();
        let mut groups = self.groups().peekable();
        while let Some(group) = groups.next() {
            let here = groups.peek().map(|&group| (self.at(job), group));
            let there = || Some((self.at(later), self.groups().next()?));
            let jobs = self.batch * self.heads;
            each(group, here.or_else(|| there().filter(|_| later < jobs)));
        }
    }

    #[track_caller]
    fn check<T, const N: usize, const M: usize>(
        &self,
        read: [&Rows<T>; N],
        written: [&RowsMut<T>; M],
        logsumexp: usize,
    ) {
        assert!(self.depth > 0, "attention: the depth is 0");
        self.pattern.check(self.length);
        let shape = self.shape();
        for x in read {
            assert!(
                x.strides.span(shape).is_some_and(|n| n <= x.data.len()),
                "attention: {} elements, too few for {shape:?} with {:?}",
                x.data.len(),
                x.strides
            );
        }
        for y in written {
            assert!(
                y.fits(shape),
                "attention: rows of {shape:?} overlap or lie outside of {y}"
            );
        }
        assert!(
            logsumexp == self.rows(),
            "attention: logsumexp has {logsumexp} elements for {shape:?}"
        );
    }
}
