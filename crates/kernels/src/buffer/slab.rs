//! Where large blocks come from: stretches of anonymous memory on huge pages.
//!
//! The tensors of a training step span far more pages of 4 KiB than a core can remember the
//! places of, and under a hypervisor looking one up takes two tables. Huge pages of 2 MiB are
//! given where the system hands them out on request; blocks are smaller than that, so many of
//! them share a slab. A slab goes back to the system with the last of its blocks.

use memmap2::{MmapMut, MmapOptions};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Smaller blocks are left to the allocator.
const LEAST: usize = 32 << 10;
/// Bytes of a slab, of which only touched pages take up memory. Blocks above a quarter of this
/// have a slab to themselves.
const SLAB: usize = 16 << 20;
const HUGE_PAGE: usize = 2 << 20;
/// Left free between two blocks. Without it the rows of all tensors of a net would begin at the
/// same places of a page and of the caches' sets.
const GAP: usize = 4096 + 5 * super::ALIGN;

/// Memory that blocks are cut from, zero at first.
pub(super) struct Slab {
    /// Unmaps when it is dropped.
    _map: MmapMut,
}

/// The slab that is being cut up: the free part of it.
struct Free {
    slab: Arc<Slab>,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it owns the free part, as a `Vec` would own its spare capacity.
unsafe impl Send for Free {}

static FREE: Mutex<Option<Free>> = Mutex::new(None);

/// How many blocks were cut, by any thread and by each.
static ANYWHERE: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// How many blocks this thread, and how many any thread, has cut.
pub(super) fn cuts() -> (usize, usize) {
    (HERE.get(), ANYWHERE.load(Relaxed))
}

/// Zeroed memory of so many bytes, aligned to [`ALIGN`](super::ALIGN), and what keeps it mapped.
/// None if the allocator should be asked instead.
pub(super) fn cut(bytes: usize) -> Option<(NonNull<u8>, Arc<Slab>)> {
    if bytes < LEAST {
        return None;
    }
    ANYWHERE.fetch_add(1, Relaxed);
    HERE.set(HERE.get() + 1);
    if bytes > SLAB / 4 {
        return Free::new(bytes)?.cut(bytes);
    }
    // A panic while the lock is held leaves the free part as it was.
    let mut free = FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(block) = free.as_mut().and_then(|free| free.cut(bytes)) {
        return Some(block);
    }
    free.insert(Free::new(SLAB)?).cut(bytes)
}

impl Free {
    /// A new slab. None if the system has no memory of this kind.
    fn new(bytes: usize) -> Option<Free> {
        // A mapping begins at any page; the first whole huge page is at most one further.
        let len = bytes
            .checked_next_multiple_of(HUGE_PAGE)?
            .checked_add(HUGE_PAGE)?;
        let mut map = MmapOptions::new().len(len).map_anon().ok()?;
        // Where there are no huge pages, ordinary ones are as right.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = map.as_mut_ptr();
        let skipped = start.align_offset(HUGE_PAGE);
        Some(Free {
            start: NonNull::new(start.wrapping_add(skipped))?,
            bytes: len - skipped,
            slab: Arc::new(Slab { _map: map }),
        })
    }

    /// The first part of it, if there is so much.
    fn cut(&mut self, bytes: usize) -> Option<(NonNull<u8>, Arc<Slab>)> {
        let rest = self.bytes.checked_sub(bytes)?;
        let block = self.start;
        let used = (bytes + GAP).min(self.bytes);
        self.bytes = rest.saturating_sub(GAP);
        // SAFETY: `used` bytes were free, so this ends inside the map or at its end.
        self.start = unsafe { self.start.add(used) };
        Some((block, self.slab.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::ALIGN;

    #[test]
    fn blocks_are_apart_aligned_and_zero() {
        let sizes = [
            LEAST,
            100 << 10,
            SLAB / 4,
            SLAB / 4,
            SLAB / 4,
            SLAB / 4,
            SLAB + 64,
        ];
        let blocks = sizes.map(|bytes| (cut(bytes).expect("memory"), bytes));
        for (i, ((start, _slab), bytes)) in blocks.iter().enumerate() {
            assert_eq!(start.as_ptr().addr() % ALIGN, 0);
            // SAFETY: the block is this test's alone and as long as asked for.
            let block = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), *bytes) };
            assert!(block.iter().all(|&byte| byte == 0), "block {i}");
            block.fill(i as u8 + 1);
        }
    }

    #[test]
    fn a_slab_ends_with_its_last_block() {
        let (_, slab) = cut(SLAB).expect("memory");
        let watched = Arc::downgrade(&slab);
        assert_eq!(watched.strong_count(), 1);
        drop(slab);
        assert_eq!(watched.strong_count(), 0);
    }

    #[test]
    fn small_blocks_and_impossible_ones_are_for_the_allocator() {
        assert!(cut(LEAST - 1).is_none());
        assert!(cut(usize::MAX).is_none());
    }
}
