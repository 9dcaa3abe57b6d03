//! A dimension at a time.

use super::forward::{PAD, ROWS, absorb, begin, dots};
use super::{Act, Activation, ReluAct, SigmoidAct, with_act};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// The hidden layers of some images on their way through the dimensions: for sampling, where an
/// input is known only after its logit.
#[derive(Clone)]
pub struct Running<T: Element> {
    activation: Activation,
    hidden: usize,
    /// a and act(a) of each image, rows of `stride`.
    a: Buffer<T>,
    h: Buffer<T>,
}

impl<T: Element> Running<T> {
    /// `images` hidden layers that have seen nothing: a = b, `[H]`.
    pub fn new(images: usize, b: &[T], activation: Activation) -> Running<T> {
        let stride = b.len().next_multiple_of(PAD);
        let mut running = Running {
            activation,
            hidden: b.len(),
            a: Buffer::filled(images * stride, T::ZERO),
            h: Buffer::filled(images * stride, T::ZERO),
        };
        T::nade_begin(activation, b, &mut running.a, &mut running.h);
        running
    }

    /// The logit of the next dimension for each image, with its row of v, `[H]`, and its c.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn logits(&self, v: &[T], c: T, logits: &mut [T]) {
        let stride = self.hidden.next_multiple_of(PAD);
        assert!(
            v.len() == self.hidden && logits.len() * stride == self.h.len(),
            "nade: expected {} hidden units, found {}",
            self.hidden,
            v.len()
        );
        T::nade_next(v, c, &self.h, logits);
    }

    /// Takes in the next dimension: its value in each image, and its row of w, `[H]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn absorb(&mut self, w: &[T], x: &[T]) {
        let stride = self.hidden.next_multiple_of(PAD);
        assert!(
            w.len() == self.hidden && x.len() * stride == self.h.len(),
            "nade: expected {} hidden units, found {}",
            self.hidden,
            w.len()
        );
        T::nade_absorb(self.activation, w, x, &mut self.a, &mut self.h);
    }
}

/// See [`Running::new`].
pub(crate) fn start<T: Element>(act: Activation, b: &[T], a: &mut [T], h: &mut [T]) {
    dispatch(Isa::current(), Begin { act, b, a, h });
}

/// See [`Running::logits`].
pub(crate) fn next<T: Element>(v: &[T], c: T, h: &[T], logits: &mut [T]) {
    dispatch(Isa::current(), Next { v, c, h, logits });
}

/// See [`Running::absorb`].
pub(crate) fn take_in<T: Element>(act: Activation, w: &[T], x: &[T], a: &mut [T], h: &mut [T]) {
    dispatch(Isa::current(), Absorb { act, w, x, a, h });
}

struct Begin<'a, T> {
    act: Activation,
    b: &'a [T],
    a: &'a mut [T],
    h: &'a mut [T],
}

impl<T: Element> Kernel<T> for Begin<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        with_act!(self.act, A => begin::<V, A>(self.b, self.a, self.h));
    }
}

struct Next<'a, T> {
    v: &'a [T],
    c: T,
    h: &'a [T],
    logits: &'a mut [T],
}

impl<T: Element> Kernel<T> for Next<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let stride = self.v.len().next_multiple_of(PAD);
        let mut blocks = self.logits.chunks_exact_mut(ROWS);
        let mut from = 0;
        for logits in &mut blocks {
            let sums = dots::<V, ROWS>(self.v, &self.h[from..]);
            for (logit, sum) in logits.iter_mut().zip(sums) {
                *logit = sum + self.c;
            }
            from += ROWS * stride;
        }
        for logit in blocks.into_remainder() {
            let [sum] = dots::<V, 1>(self.v, &self.h[from..]);
            *logit = sum + self.c;
            from += stride;
        }
    }
}

struct Absorb<'a, T> {
    act: Activation,
    w: &'a [T],
    x: &'a [T],
    a: &'a mut [T],
    h: &'a mut [T],
}

impl<T: Element> Absorb<'_, T> {
    #[inline(always)]
    fn with<V: Vector<Element = T>, A: Act>(self) {
        let stride = self.w.len().next_multiple_of(PAD).max(1);
        let rows = (self.a.chunks_exact_mut(stride)).zip(self.h.chunks_exact_mut(stride));
        for ((a, h), &x) in rows.zip(self.x) {
            if x != T::ZERO {
                absorb::<V, A>(self.w, x, a, h);
            }
        }
    }
}

impl<T: Element> Kernel<T> for Absorb<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        with_act!(self.act, A => self.with::<V, A>());
    }
}
