//! Training steps, once warm, do not allocate tensors: an allocator that counts says so.

mod common;
#[path = "../../grad/tests/common/counting.rs"]
mod counting;

use common::{TOY, config, data};
use counting::requests;
use std::sync::Mutex;
use train::{Engine, Images, Pace, Pool, Synthetic, Tally};

/// Less than any activation or weight of the toy below, more than its lists of names, indices and
/// nodes.
const TENSOR: usize = 8 << 10;
/// Less than the activations of one lane of `vae`, more than any list.
const LANE: usize = 16 << 10;

/// Held by each test, since one counts what all threads ask for.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_warm_step_allocates_no_tensor() {
    let _alone = ALONE.lock();
    let data = data(0);
    // 12 x 400 weights and 64 x 400 activations: 19 KB and 102 KB.
    for lane in [64, 1000] {
        let config = config(&data, &format!("hypers.hidden = 400\nhypers.lane = {lane}"));
        let hypers = config.hypers(&TOY).unwrap();
        let (model, params) = TOY.build_for(&hypers, config.image, 0).unwrap();
        let mut engine = Engine::new(model, params, config.recipe(&TOY).unwrap());
        let images = Images::training(&data, config.binarize, 0, 0);
        let indices: Vec<u32> = (0..96).collect();
        let counted = Pool::new(Some(1)).unwrap().run(|| {
            let part = |range: std::ops::Range<usize>| images.batch(&indices[range]);
            let mut tally = Tally::default();
            let mut step = || engine.step(96, &part, Pace::STEADY, &mut tally).unwrap();
            for _ in 0..3 {
                step();
            }
            let before = requests(TENSOR).0;
            for _ in 0..10 {
                step();
            }
            requests(TENSOR).0 - before
        });
        assert_eq!(counted, 0, "large allocations in 10 steps, lanes of {lane}");
    }
}

#[test]
fn warm_steps_allocate_no_tensors_on_any_number_of_threads() {
    let _alone = ALONE.lock();
    const STEPS: usize = 60;
    let entry = &vae::MODELS[0];
    let size = 64;
    let input = Synthetic::binary_mnist(size);
    for threads in [1, 2, 3] {
        let (hypers, spec) = (entry.defaults(), *input.spec());
        let (model, params) = entry.build_for(&hypers, spec, 0).unwrap();
        let mut engine = Engine::new(model, params, entry.recipe_for(&hypers, spec));
        let (first, warm) = Pool::new(Some(threads)).unwrap().run(|| {
            let mut steps = |count: usize| {
                let before = requests(LANE).1;
                for _ in 0..count {
                    let images = |range| input.batch(range);
                    let loss = engine.step(size, &images, Pace::STEADY, &mut Tally::default());
                    assert!(loss.unwrap().is_finite());
                }
                requests(LANE).1 - before
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
