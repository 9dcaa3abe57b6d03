//! The loop under every elementwise kernel.

use crate::element::Element;
use crate::parallel;
use crate::simd::{Isa, Kernel, Vector, dispatch};

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
    let len = written.first().map_or(0, |y| y.len());
    let lengths = || {
        written
            .iter()
            .map(|y| y.len())
            .chain(read.iter().map(|x| x.len()))
    };
    assert!(
        lengths().all(|n| n == len),
        "elementwise kernel: slices of one length expected, found lengths {:?}",
        lengths().collect::<Vec<_>>()
    );
    let run = Run {
        kernel,
        written,
        read,
    };
    if len >= PARALLEL && parallel::threads() > 1 {
        run.parallel(Isa::current());
    } else {
        dispatch(Isa::current(), run);
    }
}

struct Run<'a, T, K, const M: usize, const N: usize> {
    kernel: K,
    written: [&'a mut [T]; M],
    read: [&'a [T]; N],
}

impl<T: Element, K: Lanewise<M, N>, const M: usize, const N: usize> Run<'_, T, K, M, N> {
    fn len(&self) -> usize {
        self.written.first().map_or(0, |y| y.len())
    }

    /// Halves at multiples of `CHUNK` until pieces are small enough.
    fn parallel(self, isa: Isa) {
        let len = self.len();
        if len <= CHUNK {
            return dispatch(isa, self);
        }
        let middle = len.div_ceil(CHUNK) / 2 * CHUNK;
        let Run {
            kernel,
            written,
            read,
        } = self;
        let mut left: [&mut [T]; M] = std::array::from_fn(|_| &mut [][..]);
        let mut right = written;
        for (left, right) in left.iter_mut().zip(&mut right) {
            let whole = std::mem::take(right);
            (*left, *right) = whole.split_at_mut(middle);
        }
        let left = Run {
            kernel,
            written: left,
            read: read.map(|x| &x[..middle]),
        };
        let right = Run {
            kernel,
            written: right,
            read: read.map(|x| &x[middle..]),
        };
        rayon::join(|| left.parallel(isa), || right.parallel(isa));
    }
}

impl<T: Element, K: Lanewise<M, N>, const M: usize, const N: usize> Kernel<T>
    for Run<'_, T, K, M, N>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        line::<V, K, M, N>(self.kernel, self.written, self.read);
    }
}

/// The loop itself, for a kernel that is already inside [`dispatch`]. All slices have one length.
#[inline(always)]
pub(super) fn line<V: Vector, K: Lanewise<M, N>, const M: usize, const N: usize>(
    kernel: K,
    mut written: [&mut [V::Element]; M],
    read: [&[V::Element]; N],
) {
    let len = written.first().map_or(0, |y| y.len());
    assert!(written.iter().all(|y| y.len() == len) && read.iter().all(|x| x.len() == len));
    let mut i = 0;
    while i + V::Wide::LANES <= len {
        // SAFETY: every slice has `len` elements (asserted above).
        unsafe { step::<V::Wide, K, M, N>(kernel, &mut written, read, i) };
        i += V::Wide::LANES;
    }
    while i + V::LANES <= len {
        // SAFETY: as above.
        unsafe { step::<V, K, M, N>(kernel, &mut written, read, i) };
        i += V::LANES;
    }
    if i < len {
        let mut y = [V::zero(); M];
        let mut x = [V::zero(); N];
        for (y, written) in y.iter_mut().zip(&written) {
            *y = V::load_partial(&written[i..]);
        }
        for (x, read) in x.iter_mut().zip(&read) {
            *x = V::load_partial(&read[i..]);
        }
        let y = kernel.apply(y, x);
        for (y, written) in y.into_iter().zip(&mut written) {
            y.store_partial(&mut written[i..]);
        }
    }
}

/// One vector of each slice, from element `i`.
///
/// # Safety
/// Every slice has `i + LANES` elements or more.
#[inline(always)]
unsafe fn step<V: Vector, K: Lanewise<M, N>, const M: usize, const N: usize>(
    kernel: K,
    written: &mut [&mut [V::Element]; M],
    read: [&[V::Element]; N],
    i: usize,
) {
    let mut y = [V::zero(); M];
    let mut x = [V::zero(); N];
    for (y, written) in y.iter_mut().zip(&*written) {
        // SAFETY: the caller's promise.
        *y = unsafe { V::load_ptr(written.as_ptr().add(i)) };
    }
    for (x, read) in x.iter_mut().zip(&read) {
        // SAFETY: the caller's promise.
        *x = unsafe { V::load_ptr(read.as_ptr().add(i)) };
    }
    let y = kernel.apply(y, x);
    for (y, written) in y.into_iter().zip(written) {
        // SAFETY: the caller's promise.
        unsafe { y.store_ptr(written.as_mut_ptr().add(i)) };
    }
}
