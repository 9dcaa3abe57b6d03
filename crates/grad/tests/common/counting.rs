//! An allocator that counts what is asked of the system's. A test that includes this file has it
//! as its global allocator. Large blocks of tensors, which do not come from an allocator, count,
//! too.
#![allow(unsafe_code)]

use grad::kernels::buffer::large_blocks;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Requests by the logarithm of their size to base 2, of all threads.
static ANYWHERE: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];

thread_local! {
    /// The same, of one thread.
    static HERE: [Cell<usize>; 64] = const { [const { Cell::new(0) }; 64] };
}

/// How often this thread, and how often any thread, has asked for at least so many bytes, which
/// must be a power of two.
pub(crate) fn requests(bytes: usize) -> (usize, usize) {
    assert!(bytes.is_power_of_two(), "{bytes} is not a power of two");
    let from = bytes.ilog2() as usize;
    let here: usize = HERE.with(|here| here[from..].iter().map(Cell::get).sum());
    let anywhere: usize = ANYWHERE[from..].iter().map(|n| n.load(Relaxed)).sum();
    let blocks = large_blocks();
    (here + blocks.0, anywhere + blocks.1)
}

struct Counting;

fn count(bytes: usize) {
    let size = bytes.max(1).ilog2() as usize;
    ANYWHERE[size].fetch_add(1, Relaxed);
    HERE.with(|here| here[size].set(here[size].get() + 1));
}

// SAFETY: every call goes to `System` as it came; counting touches numbers that need no
// allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        count(new);
        // SAFETY: as above, for `ptr` and `new`, too.
        unsafe { System.realloc(ptr, layout, new) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
