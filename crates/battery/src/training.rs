//! The loss, and what training promises: it learns, and gives the same bytes however it is run.

use crate::subject::{Subject, on};
use dataset::{Binarize, Dataset, Split};
use grad::Tape;
use nn::model::{Batch, Better, Kind, Scored, Step};
use nn::optim::Optimiser;
use nn::params::Params;
use nn::random::mix;
use nn::save::Metadata;
use std::f64::consts::LN_2;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use train::{
    Engine, Images, Observer, Outcome, Pace, Pool, Progress, RunDir, Session, Tally, Trained,
};

/// The loss of each phase is finite where training begins. For binary pixels a likelihood begins
/// near that of fair coins, D ln 2 nats: a loss that does not has a term too many or too few.
pub fn the_loss_begins_near_that_of_fair_coins(s: &Subject) {
    begins_near(s, 0.85..1.25);
}

/// The same at the default sizes, on images of 28x28 pixels: more units are nearer to their mean.
pub fn the_default_loss_begins_near_that_of_fair_coins(s: &Subject) {
    let full = Subject {
        image: s.image.with_size(28, 28),
        is_small: false,
        ..s.clone()
    };
    if s.set.is_none() && full.is_possible() {
        begins_near(&full, 0.96..1.04);
    }
}

fn begins_near(s: &Subject, range: Range<f64>) {
    let data = s.data();
    let (model, params) = s.build(1);
    let batch = s.batch(&data, 4);
    let coins = s.image.dims() as f64 * LN_2;
    let near = |nats: f64| range.contains(&(nats / coins));
    let scores = model.scores();
    let told = scores.iter().flat_map(Scored::about);
    let told = told.into_iter().find(|info| info.is_likelihood());
    let tells = told.is_some_and(|info| info.kind != Kind::Estimate) && s.image.is_binary();
    let recipe = s.entry.recipe_for(&s.hypers(), s.image);
    for (i, phase) in recipe.phases.iter().enumerate() {
        let tape = Tape::new();
        let p = params.bind_where(&tape, |param| param.name.starts_with(phase.prefix));
        let loss = model.loss(&Step::new(&tape, &p, &batch).phase(i));
        let each = f64::from(loss.sum.item()) / batch.len() as f64;
        let mut all = loss.parts.iter().map(|(_, sum)| *sum).chain([each]);
        assert!(
            all.all(f64::is_finite),
            "{s}, {}: {each}, {:?}",
            phase.name,
            loss.parts
        );
        if loss.is_nats && tells {
            assert!(near(each), "{s}: {each} nats, D ln 2 is {coins}");
        }
    }
    if !s.is_small {
        return;
    }
    let built = (model, params);
    for measured in on(2, || s.judge(&built, &data, &built.0.scores())) {
        let (info, value) = (measured.figure.info, measured.figure.value);
        assert!(value.is_finite(), "{s}: {} is {value}", info.name);
        if info.is_likelihood() && tells {
            assert!(near(value), "{s}: {value} nats, D ln 2 is {coins}");
        }
    }
}

/// Steps of the test that follows, and its images.
const STEPS: u64 = 250;
const ROUNDS: u64 = 8;
const FEW: usize = 8;

/// Trained on the same few images again and again, a model becomes clearly better at them: by its
/// first score, or by its loss where it has no score of images. Players whose losses oppose each
/// other and whom no score of images judges are not asked.
pub fn one_batch_can_be_overfitted(s: &Subject) {
    let data = s.data_of([FEW; 3]);
    let (model, params) = s.build_on(&data, 4);
    let mut recipe = s.entry.recipe_for(&s.hypers(), s.image);
    let by_score = matches!(model.scores().first(), Some(Scored::Images(_)));
    if !by_score && recipe.phases.len() > 1 {
        return;
    }
    for phase in &mut recipe.phases {
        phase.optimiser = Optimiser::adam(0.01);
    }
    (recipe.ema, recipe.clip_norm, recipe.batch_size) = (None, None, FEW);
    let (before, better) = value(s, &data, &params, by_score);
    let mut engine = Engine::new(model, params, recipe);
    // Of binary pixels there is much less to know than of many levels.
    let share = if s.image.is_binary() { 0.3 } else { 0.15 };
    let mut after = before;
    // Most models need the first of these rounds only, those with noisy gradients more.
    for round in 0..ROUNDS {
        on(2, || {
            for step in 0..STEPS {
                let done = step as f64 / STEPS as f64;
                let pace = Pace {
                    lr_factor: 1.0 - done,
                    done,
                };
                let batch = |part| few(s, &data, part, round * STEPS + step);
                let stepped = engine.step(FEW, &batch, pace, &mut Tally::default());
                stepped.unwrap_or_else(|error| panic!("{s}: {error}"));
            }
        });
        (after, _) = value(s, &data, engine.params(), by_score);
        let gain = match better {
            Better::Lower => before - after,
            Better::Higher => after - before,
            Better::Neither => panic!("{s}: a primary score has a direction"),
        };
        if gain > share * before.abs() {
            return;
        }
    }
    panic!("{s}: {before} before, {after} after {ROUNDS} rounds of {STEPS} steps");
}

/// Some of the few images, with noise of this step.
fn few(s: &Subject, data: &Dataset, part: Range<usize>, step: u64) -> Batch {
    let whole = s.batch(data, FEW);
    let dims = s.image.dims();
    let pixels = &whole.images.data()[part.start * dims..part.end * dims];
    let images = grad::Tensor::new(s.image.shape(part.len()), pixels);
    let noise: Vec<u64> = part.clone().map(|i| mix(&[step, i as u64])).collect();
    let labels = whole.labels.as_ref().expect("labelled images");
    Batch::new(images, noise).with_labels(&labels[part])
}

/// The first score of the few images, or the mean loss over some draws of noise; and which way is
/// better.
fn value(s: &Subject, data: &Dataset, params: &Params<f32>, by_score: bool) -> (f64, Better) {
    let (model, _) = s.build_on(data, 4);
    let built = (model, params.clone());
    if by_score {
        let first = &built.0.scores()[..1];
        let measured = on(2, || s.judge(&built, data, first));
        return (measured[0].figure.value, measured[0].figure.info.better);
    }
    let draws = 16;
    let loss = |draw: u64| {
        let (tape, p) = (Tape::new(), built.1.constants());
        let batch = few(s, data, 0..FEW, draw);
        f64::from(built.0.loss(&Step::new(&tape, &p, &batch)).sum.item())
    };
    let sum: f64 = (0..draws).map(loss).sum();
    (sum / (draws as usize * FEW) as f64, Better::Lower)
}

/// Stops a run after so many steps.
struct StopAfter<'a>(u64, &'a AtomicBool);

impl Observer for StopAfter<'_> {
    fn step(&mut self, progress: &Progress) {
        if progress.step >= self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

fn go(session: &mut Session, threads: usize, until: u64) -> Outcome {
    let stop = AtomicBool::new(false);
    let pool = Pool::new(Some(threads)).expect("threads");
    let outcome = session.run(&pool, &mut StopAfter(until, &stop), &stop);
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

fn same(a: &Params<f32>, b: &Params<f32>) -> bool {
    let bits = |params: &Params<f32>| -> Vec<u32> {
        let values = params.iter().flat_map(|param| param.value.data());
        values.map(|x| x.to_bits()).collect()
    };
    bits(a) == bits(b)
}

/// A run on one thread, one on two, and one that is stopped half way on three threads and resumed
/// on two leave the same bytes; and what they leave is what they had.
pub fn runs_leave_the_same_bytes_on_any_threads_and_resumed(s: &Subject) {
    let data = s.data();
    // Epochs of four steps, the last of three images.
    let config = s.config(&data, "steps = 7\nbatch_size = 5");
    let root = tempfile::tempdir().expect("a directory");
    let place = |name: &str| RunDir::create(&root.path().join(name)).expect("a directory");
    let begin = |name| {
        let session = Session::begin(place(name), s.entry, config.clone(), &data);
        session.unwrap_or_else(|error| panic!("{s}: {error}"))
    };
    let mut whole = begin("whole");
    assert_eq!(go(&mut whole, 1, u64::MAX), Outcome::Finished, "{s}");
    assert_eq!(go(&mut begin("two"), 2, u64::MAX), Outcome::Finished, "{s}");
    assert_eq!(go(&mut begin("parts"), 3, 3), Outcome::Stopped, "{s}");
    let dir = RunDir::open(&root.path().join("parts")).expect("a run");
    let mut parts = Session::resume(dir, s.entry, config.clone(), &data)
        .unwrap_or_else(|error| panic!("{s}: {error}"));
    assert_eq!(go(&mut parts, 2, u64::MAX), Outcome::Finished, "{s}");
    let bytes = |run: &str, file: &str| fs::read(root.path().join(run).join(file)).ok();
    for file in ["checkpoint.safetensors", "best.safetensors"] {
        for other in ["two", "parts"] {
            assert!(
                bytes("whole", file) == bytes(other, file),
                "{s}: {file} of {other}"
            );
        }
    }
    come_back(s, whole, &data, &root.path().join("whole"));
}

/// What a run has written is what it had: parameters with all that optimisers remember, those to
/// evaluate, and parameters as a file of their own.
fn come_back(s: &Subject, session: Session, data: &Dataset, path: &Path) {
    let dir = || RunDir::open(path).expect("a run");
    let config = train::read_config(&dir()).expect("a configuration");
    let trained = Trained::read(&dir(), s.entry, &config);
    let trained = trained.unwrap_or_else(|error| panic!("{s}: {error}"));
    let engine = session.engine();
    let (params, evaluated) = (engine.params().clone(), engine.evaluated().clone());
    if trained.step == engine.steps() {
        assert!(
            same(&trained.params, &evaluated),
            "{s}: the parameters to evaluate"
        );
    }
    // A run has one writer.
    drop(session);
    let again = Session::resume(dir(), s.entry, config, data).expect("a run");
    assert!(
        same(again.engine().params(), &params),
        "{s}: the parameters"
    );
    let bytes = params.to_bytes(&Metadata::new());
    let (_, mut other) = s.build(99);
    other
        .restore(&bytes)
        .unwrap_or_else(|error| panic!("{s}: {error}"));
    assert!(same(&other, &params), "{s}: the parameters as a file");
}

/// Scores do not depend on the threads, nor on how the images are cut into batches beyond rounding.
pub fn scores_are_the_same_on_any_threads(s: &Subject) {
    let data = s.data();
    let built = s.shaken(5);
    let judged = |threads: usize| on(threads, || s.judge(&built, &data, &built.0.scores()));
    let told = |threads: usize| -> Vec<(f64, Option<Vec<f64>>)> {
        let measured = judged(threads).into_iter();
        measured.map(|of| (of.figure.value, of.values)).collect()
    };
    let names: Vec<_> = judged(1).iter().map(|of| of.figure.info).collect();
    for info in built.0.scores().iter().flat_map(Scored::about) {
        assert!(
            names.contains(&info),
            "{s}: no figure is called {}",
            info.name
        );
    }
    let one = told(1);
    for (i, info) in names.iter().enumerate() {
        let distinct = names[..i].iter().all(|other| other.name != info.name);
        assert!(distinct, "{s}: two figures are called {}", info.name);
        assert!(one[i].0.is_finite(), "{s}: {} is {}", info.name, one[i].0);
    }
    let images = Images::evaluation(&data, Split::Test, Binarize::None).len();
    for values in one.iter().filter_map(|(_, values)| values.as_ref()) {
        assert_eq!(values.len(), images, "{s}: a number for each image");
    }
    assert!(
        one == told(2) && one == told(3),
        "{s}: threads change a score"
    );
}
