//! How many floating-point operations the matrix products, convolutions, attentions, LSTMs and
//! NADEs of a run do.
//!
//! Counted where the work is asked for, as two for each multiply-add of the operation itself:
//! tails of vectors and masked taps do not count, and where minimal filtering saves products
//! ([`Sums::Fast`](crate::conv::Sums::Fast)), only those that are left do. The border of a convolution does, as everywhere
//! ([`Conv2d::flops`](crate::conv::Conv2d::flops)). What is counted over the time it took, held
//! against [`crate::peak`], is the share of the machine that was put to use.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Adds to the count, if anyone is counting.
#[inline]
pub(crate) fn add(operations: impl FnOnce() -> u64) {
    if COUNTING.load(Relaxed) {
        COUNT.fetch_add(operations(), Relaxed);
    }
}

/// Runs `f` and counts what all threads do meanwhile. Only one count runs at a time.
pub fn count<R>(f: impl FnOnce() -> R) -> (R, u64) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            COUNTING.store(false, Relaxed);
        }
    }
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    COUNT.store(0, Relaxed);
    COUNTING.store(true, Relaxed);
    let stop = Stop;
    let result = f();
    drop(stop);
    (result, COUNT.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_while_asked_to() {
        add(|| panic!("nobody counts"));
        let (result, operations) = count(|| {
            add(|| 40);
            std::thread::scope(|scope| scope.spawn(|| add(|| 2)).join().unwrap());
            "done"
        });
        // Other tests of this process may have run a product meanwhile.
        assert!(result == "done" && operations >= 42);
    }
}
