//! Weights in the orders kernels read them, made once for all calls with the same numbers.
//!
//! A training step cuts its batch into lanes, and every lane multiplies with the same weights.
//! Whoever owns the weights owns an [`Arranged`] beside them and clears it when they change; the
//! first call that wants an order makes it and the others find it.

use super::Conv2d;
use crate::buffer::{Buffer, Plain};
use crate::simd::Isa;
use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

/// The weights of a convolution, `[kh, kw, in_channels, out_channels]`.
#[derive(Clone, Copy)]
pub struct Weights<'a, T: Plain> {
    pub(super) data: &'a [T],
    kept: Option<&'a Arranged<T>>,
}

impl<'a, T: Plain> Weights<'a, T> {
    /// Weights that are arranged anew in each call.
    pub fn new(data: &'a [T]) -> Self {
        Weights { data, kept: None }
    }

    /// Weights whose arrangements are kept in `kept`, which holds those of the same numbers or
    /// none: it is [cleared](Arranged::clear) when a number changes.
    pub fn kept(data: &'a [T], kept: &'a Arranged<T>) -> Self {
        let kept = Some(kept);
        Weights { data, kept }
    }

    /// The arrangement that `way` names: the one that is kept, if it was made for a convolution
    /// like `g`, else a new one. `make` fills a buffer of `len` numbers.
    pub(super) fn arranged(
        self,
        way: Way,
        g: &Conv2d,
        isa: Isa,
        len: usize,
        make: impl Fn(&mut [T]),
    ) -> Found<'a, T> {
        let made = |mut data: Buffer<T>| {
            make(&mut data);
            data
        };
        if let Some(kept) = self.kept {
            let made_for = (Conv2d { batch: 0, ..*g }, isa);
            let entry = kept.0.get_or_init(Box::default)[way as usize]
                .get_or_init(|| Box::new((made_for, made(Buffer::recycled(len)))));
            if entry.0 == made_for {
                return Found::Kept(&entry.1);
            }
        }
        Found::Own(made(Buffer::recycled(len)))
    }
}

/// What a kernel reads the weights for.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Forward,
    InputGradient,
    WinogradForward,
    WinogradInputGradient,
}

/// An arrangement, kept or not.
pub(super) enum Found<'a, T: Plain> {
    Kept(&'a [T]),
    Own(Buffer<T>),
}

impl<T: Plain> Deref for Found<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Found::Kept(data) => data,
            Found::Own(data) => data,
        }
    }
}

/// An arrangement and the convolution it was made for, without its batch.
type Entry<T> = Box<((Conv2d, Isa), Buffer<T>)>;

/// Room for the arrangements of one tensor of weights: two for the forward convolution, two for
/// the gradient of its input. Threads may ask at the same time: one makes it, the others wait.
/// Most tensors are no weights: until it is needed, the room itself is not there.
pub struct Arranged<T: Plain>(OnceLock<Box<[OnceLock<Entry<T>>; 4]>>);

impl<T: Plain> Arranged<T> {
    /// Nothing yet.
    #[inline]
    pub const fn new() -> Self {
        Arranged(OnceLock::new())
    }

    /// Forgets what was made: the weights are about to change.
    #[inline]
    pub fn clear(&mut self) {
        self.0.take();
    }
}

impl<T: Plain> Default for Arranged<T> {
    fn default() -> Self {
        Arranged::new()
    }
}

impl<T: Plain> fmt::Debug for Arranged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = (self.0.get()).map(|room| room.each_ref().map(|entry| entry.get().is_some()));
        f.debug_tuple("Arranged").field(&made).finish()
    }
}
