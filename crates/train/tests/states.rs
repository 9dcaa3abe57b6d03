//! States that are no parameters: chains whose rows the lanes of a step share out.

mod common;

use common::{StopAfter, data};
use dataset::Dataset;
use grad::{Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::model::*;
use nn::optim::Optimiser;
use nn::{Builder, ParamId, Params};
use std::sync::atomic::AtomicBool;
use toml::Table;
use train::{Config, Outcome, Pool, RunDir, Session};

/// Fewer than the images of a step, so that some lanes have none of them.
const CHAINS: usize = 7;

/// Chains of whole numbers that go on from step to step, each by a rule of its own, and a weight
/// whose gradient is a count. All sums are exact, so that lanes cannot change even their rounding.
const TOY: Entry = Entry::new("chains", "chains of whole numbers", build)
    .hypers(&[Hyper {
        name: "lane",
        meaning: "images a lane, 1000 for none",
        default: Value::Count(3),
    }])
    .recipe(recipe)
    .binary();

fn recipe(_: &Setup) -> Recipe {
    Recipe::new("loss", Optimiser::sgd(0.5))
        .batch_size(32)
        .epochs(3)
}

struct Toy {
    lane: usize,
    weight: ParamId,
    chains: ParamId,
    seen: ParamId,
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let dims = setup.image.dims();
    let model = Toy {
        lane: setup.hypers.count("lane"),
        weight: b.param("weight", [dims], |shape, _| Tensor::zeros(shape)),
        chains: b.state("chains", Tensor::from_fn([CHAINS, 2], |i| i as f32)),
        seen: b.state("seen", Tensor::zeros([1])),
    };
    Ok((Box::new(model), params))
}

/// The row of a chain after step `step`.
fn next(row: [f32; 2], step: u64) -> [f32; 2] {
    let [a, b] = row;
    [
        (3.0 * a + b + step as f32) % 101.0,
        (a + 2.0 * b + 1.0) % 89.0,
    ]
}

impl Model for Toy {
    fn loss(&self, step: &Step) -> Loss {
        let rows = step.rows(CHAINS);
        let old = step.p[self.chains].value();
        let new = Tensor::build([rows.len(), 2], |out| {
            let old = old.data()[2 * rows.start..2 * rows.end].chunks_exact(2);
            for (new, old) in out.chunks_exact_mut(2).zip(old) {
                new.copy_from_slice(&next([old[0], old[1]], step.step));
            }
        });
        step.p.update_rows(self.chains, rows.start, new);
        // Each lane has the same number, so the mean over the images is that number.
        let seen = step.p.latest(self.seen);
        step.p.update(self.seen, seen.map(|x| x + 1.0));
        let images = Var::constant(step.batch.rows());
        Loss::of((images * &step.p[self.weight]).sum())
    }

    fn spread(&self, _: usize) -> Spread {
        match self.lane {
            1000 => Spread::IntraOp,
            lane => Spread::Lanes(lane),
        }
    }
}

fn config(data: &Dataset, lane: usize) -> Config {
    let settings: Table = format!("binarize = \"static\"\nhypers.lane = {lane}")
        .parse()
        .unwrap();
    Config::resolve(&TOY, "toy-data", data, vec![(settings, "settings")]).unwrap()
}

/// All parameters and states of a run that is stopped after each of `stops` steps.
fn run(data: &Dataset, lane: usize, threads: [usize; 2], stops: &[u64]) -> Vec<(String, Vec<u32>)> {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let dir = RunDir::create(&path).unwrap();
    let mut session = Session::begin(dir, &TOY, config(data, lane), data).unwrap();
    let go = |session: &mut Session, threads: usize, steps: u64| {
        let stop = AtomicBool::new(false);
        let mut observer = StopAfter {
            steps,
            stop: &stop,
            events: Vec::new(),
        };
        session
            .run(&Pool::new(Some(threads)).unwrap(), &mut observer, &stop)
            .unwrap()
    };
    for &steps in stops {
        assert_eq!(go(&mut session, threads[0], steps), Outcome::Stopped);
        drop(session);
        session =
            Session::resume(RunDir::open(&path).unwrap(), &TOY, config(data, lane), data).unwrap();
    }
    assert_eq!(go(&mut session, threads[1], u64::MAX), Outcome::Finished);
    assert_eq!(session.engine().steps(), 12);
    let bits = |x: &Tensor<f32>| x.data().iter().map(|x| x.to_bits()).collect();
    let params = session.engine().params().iter();
    params
        .map(|param| (param.name.clone(), bits(&param.value)))
        .collect()
}

#[test]
fn chains_go_on_the_same_in_any_lanes_on_any_threads_and_resumed() {
    let data = data(0);
    let first = run(&data, 1, [1, 1], &[]);
    for lane in [1, 3, 5, 32, 1000] {
        for threads in [1, 2, 3] {
            assert!(
                first == run(&data, lane, [1, threads], &[]),
                "lanes of {lane}, {threads}"
            );
        }
        for stops in [&[1][..], &[4], &[5, 2]] {
            assert!(
                first == run(&data, lane, [2, 3], stops),
                "lanes of {lane}, stopped {stops:?}"
            );
        }
    }
    // 100 images in batches of 32 make 4 steps an epoch.
    let mut expected: Vec<[f32; 2]> = (0..CHAINS)
        .map(|i| [2.0 * i as f32, 2.0 * i as f32 + 1.0])
        .collect();
    for step in 0..12 {
        for row in &mut expected {
            *row = next(*row, step);
        }
    }
    let bits = |numbers: &[f32]| -> Vec<u32> { numbers.iter().map(|x| x.to_bits()).collect() };
    let (name, chains) = &first[1];
    assert_eq!(
        (&name[..], chains),
        ("chains", &bits(expected.as_flattened()))
    );
    assert_eq!(first[2], ("seen".into(), bits(&[12.0])));
}

#[test]
fn the_rows_of_parts_make_the_whole_state() {
    let (tape, params) = (grad::Tape::new(), Params::<f32>::new());
    let p = params.bind(&tape);
    for whole in 1..40 {
        for lane in 1..=whole {
            let mut next = 0;
            for start in (0..whole).step_by(lane) {
                let part = start..(start + lane).min(whole);
                let batch = Batch::new(Tensor::zeros([part.len(), 1, 1, 1]), vec![0; part.len()]);
                let rows = Step::new(&tape, &p, &batch).part(part, whole).rows(CHAINS);
                assert_eq!(rows.start, next, "{whole} in lanes of {lane}");
                next = rows.end;
            }
            assert_eq!(next, CHAINS, "{whole} in lanes of {lane}");
        }
    }
}
