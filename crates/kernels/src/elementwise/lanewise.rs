//! The loop under every elementwise kernel.

use crate::element::Element;
use crate::parallel::{self, Shared};
use crate::simd::{Isa, Kernel, Vector, dispatch};
use std::ops::Range;

/// A computation on corresponding elements of `M` slices it reads and writes and `N` it reads.
///
/// The body must be `#[inline(always)]` (see [`Kernel`]). A slice that is only written is among
/// the `M`: a body that ignores its old value does not read it.
pub trait Lanewise<const M: usize, const N: usize>: Copy + Send + Sync {
    /// The new values of the written slices, from the old ones and those of the read slices.
    fn apply<V: Vector>(self, written: [V; M], read: [V; N]) -> [V; M];
}

/// Slices are handed to threads in pieces of this many elements, whatever the number of threads.
const CHUNK: usize = 1 << 15;
/// Below this, starting threads costs more than it saves.
const PARALLEL: usize = 1 << 16;

/// Runs `kernel` over slices of one length; on several threads if they are long.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn lanewise<T: Element, K: Lanewise<M, N>, const M: usize, const N: usize>(
    kernel: K,
    written: [&mut [T]; M],
    read: [&[T]; N],
) {
    let slices = Slices::new(written, read);
    let isa = Isa::current();
    // SAFETY: pieces lie inside the slices and do not overlap.
    let run = |piece: Range<usize>| unsafe {
        let slices = slices.part(piece);
        dispatch(isa, Run { kernel, slices });
    };
    if slices.len >= PARALLEL && parallel::threads() > 1 {
        parallel::halves(0..slices.len, CHUNK, &run);
    } else {
        run(0..slices.len);
    }
}

/// Slices of one length, some of them written. What is done to them is a function of their types
/// alone where it can be: a kernel is compiled for each instruction set, and there are many.
struct Slices<'a, T, const M: usize, const N: usize> {
    written: [Shared<T>; M],
    read: [&'a [T]; N],
    len: usize,
}

impl<'a, T: Element, const M: usize, const N: usize> Slices<'a, T, M, N> {
    #[inline]
    #[track_caller]
    fn new(written: [&'a mut [T]; M], read: [&'a [T]; N]) -> Self {
        let len = written.first().map_or(0, |y| y.len());
        let lengths = || {
            let written = written.iter().map(|y| y.len());
            written.chain(read.iter().map(|x| x.len()))
        };
        assert!(
            lengths().all(|n| n == len),
            "elementwise kernel: slices of one length expected, found lengths {:?}",
            lengths().collect::<Vec<_>>()
        );
        Slices {
            written: written.map(|y| Shared(y.as_mut_ptr())),
            read,
            len,
        }
    }

    /// # Safety
    /// It lies inside these, and no other part that is used at the same time overlaps it.
    unsafe fn part(&self, at: Range<usize>) -> Slices<'a, T, M, N> {
        Slices {
            // SAFETY: the caller's.
            written: self
                .written
                .map(|y| Shared(unsafe { y.get().add(at.start) })),
            read: self.read.map(|x| &x[at.clone()]),
            len: at.len(),
        }
    }

    /// One vector of each, from element `i`.
    ///
    /// # Safety
    /// There are `i + LANES` elements or more.
    #[inline(always)]
    unsafe fn load<V: Vector<Element = T>>(&self, i: usize) -> ([V; M], [V; N]) {
        let (mut y, mut x) = ([V::zero(); M], [V::zero(); N]);
        for (y, written) in y.iter_mut().zip(&self.written) {
            // SAFETY: the caller's promise.
            *y = unsafe { V::load_ptr(written.get().add(i)) };
        }
        for (x, read) in x.iter_mut().zip(&self.read) {
            // SAFETY: the caller's promise.
            *x = unsafe { V::load_ptr(read.as_ptr().add(i)) };
        }
        (y, x)
    }

    /// # Safety
    /// As [`load`](Self::load), and nobody else uses these elements.
    #[inline(always)]
    unsafe fn store<V: Vector<Element = T>>(&self, y: [V; M], i: usize) {
        for (y, written) in y.into_iter().zip(&self.written) {
            // SAFETY: the caller's promise.
            unsafe { y.store_ptr(written.get().add(i)) };
        }
    }

    /// As [`load`](Self::load), what is left from element `i` on.
    ///
    /// # Safety
    /// Those are less than a vector.
    #[inline(always)]
    unsafe fn load_rest<V: Vector<Element = T>>(&self, i: usize) -> ([V; M], [V; N]) {
        let (mut y, mut x) = ([V::zero(); M], [V::zero(); N]);
        for (y, written) in y.iter_mut().zip(&self.written) {
            // SAFETY: the caller's promise.
            *y = unsafe { V::load_ptr_partial(written.get().add(i), self.len - i) };
        }
        for (x, read) in x.iter_mut().zip(&self.read) {
            // SAFETY: the caller's promise.
            *x = unsafe { V::load_ptr_partial(read.as_ptr().add(i), self.len - i) };
        }
        (y, x)
    }

    /// # Safety
    /// As [`load_rest`](Self::load_rest), and nobody else uses these elements.
    #[inline(always)]
    unsafe fn store_rest<V: Vector<Element = T>>(&self, y: [V; M], i: usize) {
        for (y, written) in y.into_iter().zip(&self.written) {
            // SAFETY: the caller's promise.
            unsafe { y.store_ptr_partial(written.get().add(i), self.len - i) };
        }
    }
}

struct Run<'a, T, K, const M: usize, const N: usize> {
    kernel: K,
    slices: Slices<'a, T, M, N>,
}

impl<T: Element, K: Lanewise<M, N>, const M: usize, const N: usize> Kernel<T>
    for Run<'_, T, K, M, N>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        // SAFETY: whoever made the part vouches for it.
        unsafe { over::<V, K, M, N>(self.kernel, &self.slices) };
    }
}

/// The loop itself, for a kernel that is already inside [`dispatch`]. All slices have one length.
#[inline(always)]
pub(super) fn line<V: Vector, K: Lanewise<M, N>, const M: usize, const N: usize>(
    kernel: K,
    written: [&mut [V::Element]; M],
    read: [&[V::Element]; N],
) {
    let slices = Slices::new(written, read);
    // SAFETY: the slices are this function's.
    unsafe { over::<V, K, M, N>(kernel, &slices) };
}

/// # Safety
/// Nobody else uses the elements of the slices.
#[inline(always)]
unsafe fn over<V: Vector, K: Lanewise<M, N>, const M: usize, const N: usize>(
    kernel: K,
    slices: &Slices<'_, V::Element, M, N>,
) {
    let mut i = 0;
    // SAFETY: every slice has `len` elements; for the rest as the caller says.
    unsafe {
        while i + V::Wide::LANES <= slices.len {
            let (y, x) = slices.load::<V::Wide>(i);
            slices.store(kernel.apply(y, x), i);
            i += V::Wide::LANES;
        }
        while i + V::LANES <= slices.len {
            let (y, x) = slices.load::<V>(i);
            slices.store(kernel.apply(y, x), i);
            i += V::LANES;
        }
        if i < slices.len {
            let (y, x) = slices.load_rest::<V>(i);
            slices.store_rest(kernel.apply(y, x), i);
        }
    }
}
