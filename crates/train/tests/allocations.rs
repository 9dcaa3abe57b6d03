//! A training step whose memory is warm allocates nothing of a tensor's size.

mod common;

use common::{TOY, config, data};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use train::{Engine, Images, Pool, Tally};

/// The smallest allocation that is counted: less than any activation or weight of the toy below,
/// more than its lists of names, indices and nodes.
const LARGE: usize = 8 << 10;

static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator with its arguments unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(usize::from(layout.size() >= LARGE), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(usize::from(layout.size() >= LARGE), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from the system's allocator with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_step_allocates_no_tensor() {
    let data = data(0);
    // 12 x 400 weights and 64 x 400 activations: 19 KB and 102 KB.
    for lane in [64, 1000] {
        let config = config(&data, &format!("hypers.hidden = 400\nhypers.lane = {lane}"));
        let hypers = config.hypers(&TOY).unwrap();
        let (model, params) = (TOY.build)(&hypers, &config.image, 0).unwrap();
        let mut engine = Engine::new(model, params, config.recipe(&TOY).unwrap());
        let images = Images::training(&data, config.binarize, 0, 0);
        let indices: Vec<u32> = (0..96).collect();
        let counted = Pool::new(Some(1)).unwrap().run(|| {
            let part = |range: std::ops::Range<usize>| images.batch(&indices[range]);
            let mut tally = Tally::default();
            let mut step = || engine.step(96, &part, 1.0, &mut tally).unwrap();
            for _ in 0..3 {
                step();
            }
            let before = COUNT.load(Ordering::Relaxed);
            for _ in 0..10 {
                step();
            }
            COUNT.load(Ordering::Relaxed) - before
        });
        assert_eq!(counted, 0, "large allocations in 10 steps, lanes of {lane}");
    }
}
