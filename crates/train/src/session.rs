//! A run: epochs over the training split, validation, checkpoints, until it is over or stopped.

use crate::checkpoint::{self, Place};
use crate::config::{Config, Limit};
use crate::directory::{self, Lock, RunDir};
use crate::engine::{Engine, Pace};
use crate::error::{Error, io};
use crate::evaluate::Evaluation;
use crate::images::Images;
use crate::metrics::{Event, Log, Opened};
use crate::pool::Pool;
use crate::start::Taken;
use dataset::{Dataset, Split};
use nn::model::{DataSummary, Entry, Figure, ScoreInfo, Scored, SetScore, Setup};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Steps between two training events.
const EVENT_STEPS: u64 = 100;
/// The longest time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

/// What a step leaves to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The epoch, 1 for the first.
    pub epoch: u64,
    /// Images of this step.
    pub images: usize,
    /// The loss of this step, per image.
    pub loss: f64,
    /// The share of the whole run that is done, 0 to 1.
    pub done: f64,
}

/// Watches a run.
pub trait Observer: Send {
    /// After each step.
    fn step(&mut self, progress: &Progress);
    /// After each event that went into `metrics.jsonl`.
    fn event(&mut self, _event: &Event) {}
    /// At the end of each epoch, and of the run if that is within one: the last training event
    /// and, where the model is judged, the figures of the validation split, the primary one first.
    fn epoch(&mut self, _train: Option<&Event>, _valid: &[Figure]) {}
    /// Something to worry about, in plain words: once for as long as it lasts.
    fn warning(&mut self, _text: &str) {}
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It reached its limit.
    Finished,
    /// It was stopped; a checkpoint was written.
    Stopped,
}

/// A run that can be set going.
pub struct Session<'d> {
    dir: RunDir,
    /// Held while this lives.
    _lock: Lock,
    config: Config,
    data: &'d Dataset,
    engine: Engine,
    place: Place,
    order: Vec<u32>,
    log: Log,
    judges: Vec<Box<dyn SetScore + Send>>,
    taken: Option<Taken>,
    warnings: Vec<String>,
    best: Option<f64>,
    last: Option<f64>,
    /// What was warned of and still holds, by the first words.
    warned: Vec<String>,
    validated: bool,
    /// The last training event, until the line of an epoch has shown it.
    reported: Option<Event>,
    clock: Clock,
}

/// Times that go into events.
struct Clock {
    /// Seconds before this process took over.
    before: f64,
    started: Instant,
    /// Images trained on since the last event, and how long that took.
    images: usize,
    training: Duration,
    saved: Instant,
}

impl Clock {
    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }
}

fn rate(images: usize, time: Duration) -> f64 {
    images as f64 / time.as_secs_f64().max(1e-9)
}

impl<'d> Session<'d> {
    /// A new run in `dir`: writes its first checkpoint and, last, its configuration.
    ///
    /// # Errors
    /// If the configuration does not fit the model or the data, or a file cannot be written.
    pub fn begin(
        (dir, lock): (RunDir, Lock),
        entry: &Entry,
        config: Config,
        data: &'d Dataset,
    ) -> Result<Session<'d>, Error> {
        let (engine, taken) = build(entry, &config, data, true)?;
        // What a run left there that died before it began.
        for path in [dir.metrics(), dir.best()] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io(&path, "remove")(error));
                }
                _ => {}
            }
        }
        let mut session = Session::new(dir, lock, config, data, engine, Place::default())?;
        session.taken = taken;
        checkpoint::write(
            &session.dir,
            &session.config,
            &session.engine,
            &session.place,
        )?;
        let text = session.config.to_toml();
        directory::write_whole(&session.dir.config(), text.as_bytes())?;
        Ok(session)
    }

    /// A run that goes on where its checkpoint was written. `config` may differ from the run's own
    /// in when it is over and in learning rates, which are then noted as changed at this step
    /// ([`Config::changes`]), and in nothing else.
    ///
    /// # Errors
    /// If the checkpoint is missing, damaged or of another configuration, or the data are not those
    /// the run began with.
    pub fn resume(
        dir: RunDir,
        entry: &Entry,
        config: Config,
        data: &'d Dataset,
    ) -> Result<Session<'d>, Error> {
        let lock = dir.lock()?;
        let (mut engine, _) = build(entry, &config, data, false)?;
        let (place, before) = checkpoint::read(&dir, &config, &mut engine)?;
        let config = config.changed_since(&before, engine.steps());
        let session = Session::new(dir, lock, config, data, engine, place)?;
        let text = session.config.to_toml();
        directory::write_whole(&session.dir.config(), text.as_bytes())?;
        Ok(session)
    }

    fn new(
        dir: RunDir,
        lock: Lock,
        config: Config,
        data: &'d Dataset,
        engine: Engine,
        place: Place,
    ) -> Result<Session<'d>, Error> {
        let Opened { log, last, strange } = Log::open(&dir.metrics(), engine.steps())?;
        let path = dir.metrics();
        let warnings = (strange.iter()).map(|line| {
            format!(
                "{} line {line}: expected an event, found something else; it stays as it is",
                path.display()
            )
        });
        Ok(Session {
            warnings: warnings.collect(),
            best: checkpoint::best(&dir, &config, engine.model().primary().map(|it| it.name))?,
            judges: Vec::new(),
            taken: None,
            last: None,
            warned: Vec::new(),
            reported: None,
            validated: last
                .as_ref()
                .is_some_and(|e| e.is_valid() && e.step == engine.steps()),
            clock: Clock {
                before: last.map_or(0.0, |event| event.seconds),
                started: Instant::now(),
                images: 0,
                training: Duration::ZERO,
                saved: Instant::now(),
            },
            order: order(data, &config, &place),
            dir,
            _lock: lock,
            config,
            data,
            engine,
            place,
            log,
        })
    }

    /// The directory of the run.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The configuration of the run.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The model and its parameters.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same session with another score of samples, after the model's own. For a model that
    /// has none of its own it is the primary one.
    ///
    /// # Errors
    /// If the best parameters so far were chosen by another score.
    pub fn judged_by(mut self, judge: Box<dyn SetScore + Send>) -> Result<Session<'d>, Error> {
        self.judges.push(judge);
        let primary = self.primary().map(|info| info.name);
        self.best = checkpoint::best(&self.dir, &self.config, primary)?;
        Ok(self)
    }

    /// What parameters are selected by, if by anything.
    pub fn primary(&self) -> Option<ScoreInfo> {
        let own = self.engine.model().primary();
        own.or_else(|| Some(self.judges.first()?.about()[0]))
    }

    /// The primary score on the validation split of the best parameters so far.
    pub fn best(&self) -> Option<(ScoreInfo, f64)> {
        self.primary().zip(self.best)
    }

    /// The same of the last parameters that were judged since this session began.
    pub fn last(&self) -> Option<f64> {
        self.last
    }

    /// What was strange about the run's files, a line each; nothing of it was changed.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What became of another run's parameters that this one began with.
    pub fn taken(&self) -> Option<&Taken> {
        self.taken.as_ref()
    }

    /// The share of the whole run that is done, 0 to 1.
    pub fn done(&self) -> f64 {
        match self.config.limit() {
            Limit::Time(limit) => (self.clock.seconds() / limit.as_secs_f64()).min(1.0),
            _ => (self.engine.steps() as f64 / self.total_steps().max(1) as f64).min(1.0),
        }
    }

    /// Steps of the whole run; if its time is limited instead, what they will be at this pace.
    fn total_steps(&self) -> u64 {
        let images = self.data.split(Split::Train).len();
        match self.config.limit() {
            Limit::Epochs(epochs) => epochs * images.div_ceil(self.config.batch_size) as u64,
            Limit::Steps(steps) => steps,
            Limit::Time(limit) => {
                let done = (self.clock.seconds() / limit.as_secs_f64()).clamp(1e-9, 1.0);
                (self.engine.steps() as f64 / done) as u64
            }
        }
    }

    fn is_over(&self) -> bool {
        match self.config.limit() {
            Limit::Epochs(epochs) => self.place.epoch >= epochs,
            Limit::Steps(steps) => self.engine.steps() >= steps,
            Limit::Time(limit) => self.clock.seconds() >= limit.as_secs_f64(),
        }
    }

    /// Trains until the run is over or `stop` is raised, and writes a checkpoint either way.
    ///
    /// # Errors
    /// If a loss or a parameter is not finite, or a file cannot be written. The last checkpoint
    /// stays as it is.
    pub fn run(
        &mut self,
        pool: &Pool,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Outcome, Error> {
        pool.run(|| self.run_here(observer, stop))
    }

    fn run_here(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Outcome, Error> {
        loop {
            // The last step of a run that is over and ends an epoch ends that epoch, too.
            if self.place.position as usize >= self.order.len() {
                if !self.end_epoch(observer, stop)? {
                    self.save()?;
                    return Ok(Outcome::Stopped);
                }
            } else if self.is_over() {
                break;
            } else if stop.load(Ordering::Relaxed) {
                self.save()?;
                return Ok(Outcome::Stopped);
            } else {
                self.step(observer)?;
            }
        }
        let train = self.training_so_far(observer)?;
        let mut whole = true;
        if !self.validated {
            whole = self.judge(train.as_ref(), true, observer, stop)?;
        }
        self.save()?;
        Ok(if whole {
            Outcome::Finished
        } else {
            Outcome::Stopped
        })
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let begun = Instant::now();
        let (steps, total) = (self.engine.steps(), self.total_steps());
        let pace = Pace {
            lr_factor: self.config.schedule.factor(steps, total),
            done: (steps as f64 / total.max(1) as f64).min(1.0),
        };
        let start = self.place.position as usize;
        let end = (start + self.config.batch_size).min(self.order.len());
        let indices = &self.order[start..end];
        let images = self.images();
        let part = |range: std::ops::Range<usize>| images.batch(&indices[range]);
        let loss = self
            .engine
            .step(indices.len(), &part, pace, &mut self.place.tally)?;
        let images = indices.len();
        self.place.position = end as u64;
        self.validated = false;
        self.clock.images += images;
        self.clock.training += begun.elapsed();
        observer.step(&Progress {
            step: self.engine.steps(),
            epoch: self.place.epoch + 1,
            images,
            loss,
            done: self.done(),
        });
        if self.engine.steps().is_multiple_of(EVENT_STEPS) {
            self.report_training(observer)?;
        }
        if self.clock.saved.elapsed() > CHECKPOINT_EVERY {
            self.save()?;
        }
        Ok(())
    }

    fn images(&self) -> Images<'d> {
        Images::training(
            self.data,
            self.config.binarize,
            self.config.seed,
            self.place.epoch,
        )
    }

    /// Reports, validates, saves and turns to the next epoch; false if it was stopped before.
    fn end_epoch(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<bool, Error> {
        let train = self.training_so_far(observer)?;
        let epoch = self.place.epoch + 1;
        let last = match self.config.limit() {
            Limit::Epochs(epochs) => epoch >= epochs,
            _ => self.is_over(),
        };
        let dear = last || epoch.is_multiple_of(self.config.judge_every);
        if !self.validated && !self.judge(train.as_ref(), dear, observer, stop)? {
            return Ok(false);
        }
        self.place.epoch = epoch;
        self.place.position = 0;
        self.order = order(self.data, &self.config, &self.place);
        self.save()?;
        Ok(true)
    }

    /// What training came to for the line of an epoch that ends here, once.
    fn training_so_far(&mut self, observer: &mut dyn Observer) -> Result<Option<Event>, Error> {
        self.report_training(observer)?;
        let step = self.engine.steps();
        Ok(self.reported.take().filter(|event| event.step == step))
    }

    fn report_training(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let tally = std::mem::take(&mut self.place.tally);
        if tally.is_empty() {
            return Ok(());
        }
        let parts = tally.means().filter(|(name, _)| *name != "nats");
        let event = Event {
            step: self.engine.steps(),
            epoch: self.place.epoch + 1,
            split: Split::Train.name().into(),
            nats: tally.mean("nats"),
            images_per_second: rate(self.clock.images, self.clock.training),
            seconds: self.clock.seconds(),
            parts: parts.map(|(name, mean)| (name.into(), mean)).collect(),
        };
        (self.clock.images, self.clock.training) = (0, Duration::ZERO);
        self.log.write(&event)?;
        observer.event(&event);
        let mean = |name: &str| match name {
            "nats" => event.nats,
            name => event.parts.get(name).copied(),
        };
        let warnings = self.engine.model().warnings(&mean);
        self.warn("training", warnings, observer);
        self.reported = Some(event);
        Ok(())
    }

    /// Passes on what was not said already of the same `origin`. Numbers differ from time to time,
    /// so what is said is known by its words before the first digit or colon.
    fn warn(&mut self, origin: &str, warnings: Vec<String>, observer: &mut dyn Observer) {
        let known = |text: &str| {
            let head = text.split(|c: char| c.is_ascii_digit() || c == ':').next();
            format!("{origin}: {}", head.unwrap_or_default())
        };
        let now: Vec<String> = warnings.iter().map(|text| known(text)).collect();
        for (text, words) in warnings.iter().zip(&now) {
            if !self.warned.contains(words) {
                observer.warning(text);
            }
        }
        self.warned
            .retain(|words| !words.starts_with(&format!("{origin}: ")));
        self.warned.extend(now);
    }

    /// Judges the parameters on the validation split and tells the observer of the epoch; false if
    /// it was stopped before. Scores of whole sets are asked only where it may take long (`dear`).
    fn judge(
        &mut self,
        train: Option<&Event>,
        dear: bool,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<bool, Error> {
        let Some(figures) = self.validate(dear, observer, stop)? else {
            return Ok(false);
        };
        // At the end of a run that ends with an epoch there may be nothing left to tell.
        if train.is_some() || !figures.is_empty() {
            observer.epoch(train, &figures);
        }
        Ok(true)
    }

    /// The figures of the validation split; keeps the parameters if they are the best so far.
    /// Nothing if it was stopped before. A model that has no score has nothing to select by.
    fn validate(
        &mut self,
        dear: bool,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Vec<Figure>>, Error> {
        let images = Images::evaluation(self.data, Split::Valid, self.config.binarize);
        let mut scores = self.engine.model().scores();
        scores.extend(self.judges.iter().map(|judge| Scored::Set(&**judge)));
        scores.retain(|score| dear || matches!(score, Scored::Images(_)));
        if images.is_empty() || scores.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let begun = Instant::now();
        let evaluation = Evaluation {
            model: self.engine.model(),
            params: self.engine.evaluated(),
            train: &Images::evaluation(self.data, Split::Train, self.config.binarize),
            split: &images,
            batch_size: self.config.batch_size,
            samples: 1,
            seed: self.config.seed,
            thorough: false,
        };
        let Some(measured) = evaluation.run(&scores, stop) else {
            return Ok(None);
        };
        let figures: Vec<Figure> = measured.iter().map(|of| of.figure).collect();
        let step = self.engine.steps();
        let primary = self.primary().map(|info| info.name);
        let is_primary = |figure: &&Figure| Some(figure.info.name) == primary;
        // The others may be infinite in a model that has not learned yet; the epoch's line shows it.
        if let Some(figure) = (figures.iter().find(is_primary)).filter(|it| !it.value.is_finite()) {
            return Err(Error::NotFinite {
                step,
                what: format!("mean of {} over the validation split", figure.info.name),
                found: figure.value,
            });
        }
        let chosen = (figures.first()).filter(|figure| Some(figure.info.name) == primary);
        if let Some(figure) = chosen {
            let better = figure.info.better;
            self.last = Some(figure.value);
            if self
                .best
                .is_none_or(|best| better.is_better(figure.value, best))
            {
                checkpoint::write_best(&self.dir, &self.config, &self.engine, figure)?;
                self.best = Some(figure.value);
            }
        }
        let mut event = Event {
            step,
            epoch: self.place.epoch + 1,
            split: Split::Valid.name().into(),
            nats: None,
            images_per_second: rate(images.len(), begun.elapsed()),
            seconds: self.clock.seconds(),
            parts: BTreeMap::new(),
        };
        for Figure {
            info,
            value,
            standard_error,
        } in &figures
        {
            if info.is_likelihood() && event.nats.is_none() {
                event.nats = Some(*value);
            } else if value.is_finite() {
                event.parts.insert(info.name.into(), *value);
            }
            if standard_error.is_finite() {
                let name = format!("{}_standard_error", info.name);
                event.parts.insert(name, *standard_error);
            }
        }
        self.validated = true;
        self.log.write(&event)?;
        observer.event(&event);
        if dear {
            let told = self
                .judges
                .iter()
                .flat_map(|judge| judge.warnings(&figures));
            let told = told.collect();
            self.warn("samples", told, observer);
        }
        Ok(Some(figures))
    }

    fn save(&mut self) -> Result<(), Error> {
        checkpoint::write(&self.dir, &self.config, &self.engine, &self.place)?;
        self.clock.saved = Instant::now();
        Ok(())
    }
}

/// The order in which the epoch of `place` visits the training split.
fn order(data: &Dataset, config: &Config, place: &Place) -> Vec<u32> {
    dataset::permutation(data.split(Split::Train).len(), config.seed, place.epoch)
}

/// The model of a run on these data, untrained; at the beginning of a run with what it takes over
/// from another one.
fn build(
    entry: &Entry,
    config: &Config,
    data: &Dataset,
    begins: bool,
) -> Result<(Engine, Option<Taken>), Error> {
    config.check_data(data)?;
    let recipe = config.recipe(entry)?;
    let hypers = config.hypers(entry)?;
    let images = Images::evaluation(data, Split::Train, config.binarize);
    let summary = DataSummary::of(&images);
    let setup = Setup::new(&hypers, config.image, &summary, config.seed);
    let (model, mut params) = entry.make(&setup)?;
    let start = config.from.as_ref().filter(|_| begins);
    let taken = start.map(|start| start.take(&mut params)).transpose()?;
    Ok((Engine::new(model, params, recipe), taken))
}
