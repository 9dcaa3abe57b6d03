//! Who may use threads: kernels ask here before they split their work.
//!
//! Two ways of using the cores exist, and they must not be mixed: *lanes* run whole micro-batches
//! side by side with single-threaded kernels, *intra-op* splits each large kernel over rayon. A
//! lane says so by running inside [`serial`]; everything else is intra-op.
//!
//! Kernels cut their work by shape alone, never by the number of threads, so results are bitwise
//! the same on any number of them.

use rayon::prelude::*;
use std::cell::Cell;

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

/// Calls `job` for 0..count, on as many threads as kernels may use.
pub(crate) fn each(count: usize, job: impl Fn(usize) + Send + Sync) {
    if count > 1 && threads() > 1 {
        (0..count).into_par_iter().with_max_len(1).for_each(job);
    } else {
        (0..count).for_each(job);
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
