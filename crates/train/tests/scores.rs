//! What parameters are selected by: any score, whichever way is better; or none.

mod common;

use common::data;
use dataset::Dataset;
use grad::{Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::model::*;
use nn::optim::Optimiser;
use nn::{Builder, ParamId, Params};
use std::sync::atomic::AtomicBool;
use toml::Table;
use train::{Config, Event, Observer, Outcome, Pool, Progress, RunDir, Session, Trained};

/// A clock: a state that counts steps, and scores that are best half way through.
const TOY: Entry = Entry::new("clock", "a clock", build)
    .hypers(&[Hyper {
        name: "scores",
        meaning: "what it is judged by",
        default: Value::Choice(&[
            "none",
            "accuracy,error",
            "error",
            "error,distance",
            "distance",
            "distance,error",
        ]),
    }])
    .recipe(recipe)
    .binary();

fn recipe(_: &Setup) -> Recipe {
    Recipe::new("loss", Optimiser::sgd(0.1))
        .batch_size(25)
        .epochs(5)
}

/// Steps after which the scores are best: two epochs of four.
const BEST: f64 = 8.0;

struct Toy {
    scores: String,
    weight: ParamId,
    clock: ParamId,
    accuracy: OfImages,
    error: OfImages,
    distance: OfSet,
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let weight = b.param("weight", [1], |shape, _| Tensor::ones(shape));
    let clock = b.state("clock", Tensor::zeros([1]));
    let of_images = |info| OfImages { info, clock };
    let model = Toy {
        scores: setup.hypers.choice("scores").into(),
        weight,
        clock,
        accuracy: of_images(ScoreInfo::metric("accuracy", "share", Better::Higher)),
        error: of_images(ScoreInfo::metric("error", "share", Better::Lower)),
        distance: OfSet { clock },
    };
    Ok((Box::new(model), params))
}

impl Model for Toy {
    fn loss(&self, step: &Step) -> Loss {
        let clock = step.p.latest(self.clock);
        step.p.update(self.clock, clock.map(|x| x + 1.0));
        let images = Var::constant(step.batch.rows()).sum_axes(&[1]);
        let sum = (images * &step.p[self.weight]).sum();
        Loss::of(sum).with("hundreds", 100.0 * step.batch.len() as f64)
    }

    fn spread(&self, _: usize) -> Spread {
        Spread::Lanes(10)
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        let one = |name: &str| match name {
            "accuracy" => Scored::Images(&self.accuracy),
            "error" => Scored::Images(&self.error),
            _ => Scored::Set(&self.distance),
        };
        let names = self.scores.split(',').filter(|&name| name != "none");
        names.map(one).collect()
    }
}

/// How far the clock is from its best, in twentieths; or how near.
fn share(better: Better, clock: f32) -> f64 {
    let away = (f64::from(clock) - BEST).abs() / 20.0;
    match better {
        Better::Lower => away,
        Better::Higher => 1.0 - away,
        Better::Neither => panic!("a clock is better one way or the other"),
    }
}

struct OfImages {
    info: ScoreInfo,
    clock: ParamId,
}

impl Score for OfImages {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![self.info]
    }

    /// What is needed once is told to each lane.
    fn prepare(&self, ask: &SetAsk) -> Prepared {
        Box::new(ask.train.len())
    }

    fn of(&self, step: &Step, ask: &Ask) -> Vec<Vec<f64>> {
        assert_eq!(*ask.prepared::<usize>(), 100);
        let clock = step.p[self.clock].value().item();
        vec![vec![share(self.info.better, clock); step.batch.len()]]
    }
}

struct OfSet {
    clock: ParamId,
}

impl SetScore for OfSet {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![ScoreInfo::metric("distance", "steps", Better::Lower)]
    }

    fn of(&self, ask: &SetAsk) -> Vec<Figure> {
        assert_eq!((ask.train.len(), ask.split.len()), (100, 20));
        vec![Figure {
            info: self.about()[0],
            value: 20.0 * share(Better::Lower, ask.params[self.clock].value.item()),
            standard_error: f64::NAN,
        }]
    }
}

/// What a run has told.
#[derive(Default)]
struct Told {
    events: Vec<Event>,
    /// Epoch lines: the figures' names and values.
    epochs: Vec<Vec<(&'static str, f64)>>,
}

impl Observer for Told {
    fn step(&mut self, _: &Progress) {}

    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }

    fn epoch(&mut self, train: Option<&Event>, valid: &[Figure]) {
        assert_eq!(train.unwrap().parts["hundreds"], 100.0);
        let figures = valid.iter().map(|figure| (figure.info.name, figure.value));
        self.epochs.push(figures.collect());
    }
}

/// A run of five epochs of four steps, judged so: what it told, and what it kept.
fn run(data: &Dataset, settings: &str) -> (Told, Trained, Option<(ScoreInfo, f64)>) {
    let settings: Table = format!("binarize = \"static\"\n{settings}")
        .parse()
        .unwrap();
    let config = Config::resolve(&TOY, "toy-data", data, vec![(settings, "settings")]).unwrap();
    let root = tempfile::tempdir().unwrap();
    let dir = RunDir::create(&root.path().join("run")).unwrap();
    let mut session = Session::begin(dir, &TOY, config.clone(), data).unwrap();
    let (mut told, pool) = (Told::default(), Pool::new(Some(2)).unwrap());
    let outcome = session
        .run(&pool, &mut told, &AtomicBool::new(false))
        .unwrap();
    assert_eq!(outcome, Outcome::Finished);
    let best = session.best();
    assert_eq!(session.dir().best().exists(), best.is_some());
    let trained = Trained::read(session.dir(), &TOY, &config).unwrap();
    (told, trained, best)
}

fn clock(trained: &Trained) -> f32 {
    let id = trained.params.find("clock").unwrap();
    trained.params[id].value.item()
}

#[test]
fn the_best_by_any_score_is_kept_whichever_way_is_better() {
    let data = data(0);
    for (scores, value) in [
        ("accuracy,error", 1.0),
        ("error", 0.0),
        ("error,distance", 0.0),
    ] {
        let (told, trained, best) = run(&data, &format!("hypers.scores = {scores:?}"));
        assert_eq!((trained.step, clock(&trained)), (8, 8.0), "{scores}");
        let (info, found) = best.unwrap();
        let first = scores.split(',').next();
        assert_eq!((Some(info.name), found), (first, value), "{scores}");
        for (i, figures) in told.epochs.iter().enumerate() {
            let names: Vec<&str> = figures.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.join(","), scores);
            let away = (4.0 * (i + 1) as f64 - BEST).abs() / 20.0;
            let error = figures.iter().find(|(name, _)| *name == "error").unwrap();
            assert!((error.1 - away).abs() < 1e-12, "{scores}: {figures:?}");
        }
        assert_eq!(told.epochs.len(), 5);
        let valid = told.events.iter().filter(|event| event.is_valid());
        for event in valid {
            assert_eq!(event.nats, None, "{scores}");
            assert!(event.parts.contains_key("error"), "{scores}: {event:?}");
        }
    }
}

#[test]
fn a_model_without_a_score_keeps_its_last_parameters() {
    let data = data(0);
    let (told, trained, best) = run(&data, "hypers.scores = \"none\"");
    assert!(best.is_none());
    assert_eq!((trained.step, clock(&trained)), (20, 20.0));
    // Its epoch lines come all the same, with the loss under its own name.
    assert_eq!(told.epochs, vec![Vec::new(); 5]);
    for event in &told.events {
        assert!(!event.is_valid() && event.nats.is_none());
        assert!(event.parts.contains_key("loss"), "{event:?}");
    }
    // With an average, the average of the last.
    let (_, averaged, _) = run(&data, "hypers.scores = \"none\"\nema = 0.5");
    assert_eq!(averaged.step, 20);
    let weight = |trained: &Trained| {
        let id = trained.params.find("weight").unwrap();
        trained.params[id].value.item()
    };
    assert!(
        weight(&averaged) > weight(&trained),
        "an average lags behind"
    );
}

#[test]
fn scores_of_sets_are_asked_every_so_many_epochs_and_at_the_end() {
    let data = data(0);
    let asked = |settings: &str| {
        let (told, trained, best) = run(&data, settings);
        let with = told
            .events
            .iter()
            .filter(|event| event.parts.contains_key("distance"));
        let epochs: Vec<u64> = with.map(|event| event.epoch).collect();
        (
            epochs,
            trained.step,
            best.map(|(info, value)| (info.name, value)),
        )
    };
    // By it alone: epoch 2 would be the best, and is seen only where it is asked.
    let set = "hypers.scores = \"distance\"";
    assert_eq!(
        asked(set),
        (vec![1, 2, 3, 4, 5], 8, Some(("distance", 0.0)))
    );
    let every = |n: usize| format!("judge_every = {n}\n{set}");
    assert_eq!(
        asked(&every(2)),
        (vec![2, 4, 5], 8, Some(("distance", 0.0)))
    );
    assert_eq!(asked(&every(3)), (vec![3, 5], 12, Some(("distance", 4.0))));
    assert_eq!(asked(&every(9)), (vec![5], 20, Some(("distance", 12.0))));
    // Beside a score of images, which is asked in every epoch: the first of them selects.
    let both = |n: usize, scores: &str| format!("judge_every = {n}\nhypers.scores = {scores:?}");
    let found = asked(&both(3, "error,distance"));
    assert_eq!(found, (vec![3, 5], 8, Some(("error", 0.0))));
    let found = asked(&both(3, "distance,error"));
    assert_eq!(found, (vec![3, 5], 12, Some(("distance", 4.0))));
}

#[test]
fn a_judge_from_outside_selects_where_the_model_has_no_score() {
    let data = data(0);
    for (own, expected) in [("none", "distance"), ("error", "error")] {
        let settings: Table = format!("binarize = \"static\"\nhypers.scores = {own:?}")
            .parse()
            .unwrap();
        let config =
            Config::resolve(&TOY, "toy-data", &data, vec![(settings, "settings")]).unwrap();
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::create(&root.path().join("run")).unwrap();
        let session = Session::begin(dir, &TOY, config.clone(), &data).unwrap();
        let clock = session.engine().params().find("clock").unwrap();
        let mut session = session.judged_by(Box::new(OfSet { clock })).unwrap();
        let (mut told, pool) = (Told::default(), Pool::new(Some(1)).unwrap());
        session
            .run(&pool, &mut told, &AtomicBool::new(false))
            .unwrap();
        let (info, value) = session.best().unwrap();
        assert_eq!((info.name, value), (expected, 0.0));
        assert_eq!(Trained::read(session.dir(), &TOY, &config).unwrap().step, 8);
        let names = |figures: &Vec<(&'static str, f64)>| {
            figures.iter().any(|(name, _)| *name == "distance")
        };
        assert!(
            told.epochs.len() == 5 && told.epochs.iter().all(names),
            "{own}"
        );
        // Without that judge the run has been selected by nothing that it knows.
        let dir = session.dir().path().to_owned();
        drop(session);
        let resumed = Session::resume(RunDir::open(&dir).unwrap(), &TOY, config, &data);
        assert_eq!(
            resumed.unwrap().best().map(|(info, _)| info.name),
            (own == "error").then_some("error")
        );
    }
}

/// An epoch that ends where a training event was due shows that event.
#[test]
fn every_epoch_tells_how_training_went() {
    for scores in ["error", "none"] {
        let settings = format!("batch_size = 1\nepochs = 2\nhypers.scores = {scores:?}");
        let (told, ..) = run(&data(0), &settings);
        assert_eq!(told.epochs.len(), 2, "{scores:?}");
    }
}
