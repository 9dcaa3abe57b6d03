//! Training steps, once warm, do not allocate tensors, on any number of threads: an allocator that
//! counts says so.
#![allow(unsafe_code)]

use nn::hyper::Hypers;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use train::{Engine, Pool, Synthetic, Tally};

/// What counts as a tensor's size: less than the activations of one lane, more than any list.
const LARGE: usize = 16 << 10;

static LARGE_ONES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting large requests of all threads.
struct Counting;

fn count(bytes: usize) {
    if bytes >= LARGE {
        LARGE_ONES.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call goes to `System` as it came; counting touches an atomic number alone.
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

#[test]
fn warm_steps_allocate_no_tensors_on_any_number_of_threads() {
    const STEPS: usize = 60;
    let entry = &vae::MODELS[0];
    let size = 64;
    let input = Synthetic::binary_mnist(size);
    for threads in [1, 2, 3] {
        let hypers = Hypers::defaults(entry.name, entry.hypers);
        let (model, params) = (entry.build)(&hypers, input.spec(), 0).unwrap();
        let mut engine = Engine::new(model, params, (entry.recipe)());
        let (first, warm) = Pool::new(Some(threads)).unwrap().run(|| {
            let mut steps = |count: usize| {
                let before = LARGE_ONES.load(Relaxed);
                for _ in 0..count {
                    let images = |range| input.batch(range);
                    let loss = engine.step(size, &images, 1.0, &mut Tally::default());
                    assert!(loss.unwrap().is_finite());
                }
                LARGE_ONES.load(Relaxed) - before
            };
            let first = steps(1);
            // Which thread frees what another one made changes from step to step, and so, for a
            // while, does how much memory lies ready on each.
            steps(STEPS);
            (first, steps(STEPS))
        });
        assert!(first >= 10, "a first step allocates: found {first}");
        if threads == 1 {
            assert_eq!(warm, 0, "1 thread");
        }
        assert!(
            warm <= STEPS / 10,
            "{threads} threads: {warm} in {STEPS} steps"
        );
    }
}
