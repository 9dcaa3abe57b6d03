//! Who may use threads: kernels ask here before they split their work.
//!
//! Two ways of using the cores exist, and they must not be mixed: *lanes* run whole micro-batches
//! side by side with single-threaded kernels, *intra-op* splits each large kernel over rayon. A
//! lane says so by running inside [`serial`]; everything else is intra-op.
//!
//! Kernels cut their work by shape alone, never by the number of threads, so results are bitwise
//! the same on any number of them.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static SERIAL: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with kernels on this thread only.
pub fn serial<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            SERIAL.set(self.0);
        }
    }
    let _restore = Restore(SERIAL.replace(true));
    f()
}

/// How many threads a kernel called here may use: 1 inside [`serial`].
pub fn threads() -> usize {
    if SERIAL.get() {
        1
    } else {
        rayon::current_num_threads()
    }
}

/// A pointer that jobs share; each writes elements of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub(crate) *mut T);
// SAFETY: whoever uses it says why no element is written by two jobs.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

/// How often a thread that has no more to do looks whether the others are done before it sleeps:
/// about a tenth of a millisecond, several times what falling asleep and being woken cost.
const SPINS: usize = 2000;

/// Calls `job` for 0..count, on as many threads as kernels may use.
///
/// Jobs are handed out one by one, and whoever finds none left waits awake for those that still
/// run: jobs are cut so that all threads end together, and waking a sleeping thread takes longer
/// than many a kernel.
pub(crate) fn each(count: usize, job: impl Fn(usize) + Send + Sync) {
    let threads = threads().min(count);
    if threads <= 1 {
        return (0..count).for_each(job);
    }
    struct Done<'a>(&'a AtomicUsize);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Release);
        }
    }
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return;
            }
            let _done = Done(&done);
            job(i);
        }
    };
    rayon::scope(|scope| {
        (1..threads).for_each(|_| scope.spawn(|_| work()));
        work();
        for _ in 0..SPINS {
            if done.load(Ordering::Acquire) == count {
                break;
            }
            std::hint::spin_loop();
        }
    });
}

/// Calls `run` for pieces of at most `piece` that make up a range, each on any thread: the range is
/// halved at multiples of `piece` from its start. Compiled once, whatever `run` is.
pub(crate) fn halves(range: Range<usize>, piece: usize, run: &(dyn Fn(Range<usize>) + Sync)) {
    if range.len() <= piece {
        return run(range);
    }
    let middle = range.start + range.len().div_ceil(piece) / 2 * piece;
    rayon::join(
        || halves(range.start..middle, piece, run),
        || halves(middle..range.end, piece, run),
    );
}

/// Runs both, side by side if kernels called here may use threads.
pub fn join<A: Send, B: Send>(
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if threads() == 1 {
        (a(), b())
    } else {
        rayon::join(a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_nests_and_ends() {
        serial(|| {
            serial(|| assert_eq!(threads(), 1));
            assert_eq!(threads(), 1);
        });
        assert_eq!(threads(), rayon::current_num_threads());
    }
}
