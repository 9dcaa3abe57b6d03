//! A run: epochs over the training split, validation, checkpoints, until it is over or stopped.

use crate::checkpoint::{self, Place};
use crate::config::{Config, Limit};
use crate::directory::{self, RunDir};
use crate::engine::Engine;
use crate::error::Error;
use crate::evaluate;
use crate::images::Images;
use crate::metrics::{Event, Log};
use crate::pool::Pool;
use dataset::{Dataset, Split};
use nn::model::Entry;
use nn::stats::Estimate;
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
    fn event(&mut self, event: &Event);
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
    config: Config,
    data: &'d Dataset,
    engine: Engine,
    place: Place,
    order: Vec<u32>,
    log: Log,
    best: Option<f64>,
    validated: bool,
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
    /// A new run in `dir`: writes its configuration and its first checkpoint.
    ///
    /// # Errors
    /// If the configuration does not fit the model or the data, or a file cannot be written.
    pub fn begin(
        dir: RunDir,
        entry: &Entry,
        config: Config,
        data: &'d Dataset,
    ) -> Result<Session<'d>, Error> {
        let engine = build(entry, &config, data)?;
        directory::write_whole(&dir.config(), config.to_toml().as_bytes())?;
        let session = Session::new(dir, config, data, engine, Place::default())?;
        checkpoint::write(
            &session.dir,
            &session.config,
            &session.engine,
            &session.place,
        )?;
        Ok(session)
    }

    /// A run that goes on where its checkpoint was written. `config` may differ from the run's own
    /// in when it is over, and nothing else.
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
        let mut engine = build(entry, &config, data)?;
        let place = checkpoint::read(&dir, &config, &mut engine)?;
        let session = Session::new(dir, config, data, engine, place)?;
        let text = session.config.to_toml();
        directory::write_whole(&session.dir.config(), text.as_bytes())?;
        Ok(session)
    }

    fn new(
        dir: RunDir,
        config: Config,
        data: &'d Dataset,
        engine: Engine,
        place: Place,
    ) -> Result<Session<'d>, Error> {
        let (log, last) = Log::open(&dir.metrics(), engine.steps())?;
        Ok(Session {
            best: checkpoint::best_nats(&dir)?,
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

    /// -log p on the validation split, in nats, of the best parameters so far.
    pub fn best(&self) -> Option<f64> {
        self.best
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
        self.report_training(observer)?;
        let whole = self.validated || self.validate(observer, stop)?;
        self.save()?;
        Ok(if whole {
            Outcome::Finished
        } else {
            Outcome::Stopped
        })
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let begun = Instant::now();
        let factor = self
            .config
            .schedule
            .factor(self.engine.steps(), self.total_steps());
        let start = self.place.position as usize;
        let end = (start + self.config.batch_size).min(self.order.len());
        let indices = &self.order[start..end];
        let images = self.images();
        let part = |range: std::ops::Range<usize>| images.batch(&indices[range]);
        let loss = self
            .engine
            .step(indices.len(), &part, factor, &mut self.place.tally)?;
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
        self.report_training(observer)?;
        if !self.validated && !self.validate(observer, stop)? {
            return Ok(false);
        }
        self.place.epoch += 1;
        self.place.position = 0;
        self.order = order(self.data, &self.config, &self.place);
        self.save()?;
        Ok(true)
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
        Ok(())
    }

    /// Evaluates the validation split and keeps the parameters if they are the best so far; false
    /// if it was stopped before. A model that cannot tell a likelihood has nothing to select by.
    fn validate(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<bool, Error> {
        let images = Images::evaluation(self.data, Split::Valid, self.config.binarize);
        if images.is_empty() || self.engine.model().likelihood().is_none() {
            return Ok(true);
        }
        let begun = Instant::now();
        let (model, params) = (self.engine.model(), self.engine.evaluated());
        let Some(nats) = evaluate::nats(model, params, &images, self.config.batch_size, 1, stop)
        else {
            return Ok(false);
        };
        let estimate = Estimate::of(&nats);
        if !estimate.mean.is_finite() {
            return Err(Error::NotFinite {
                step: self.engine.steps(),
                what: "mean of nats over the validation split".into(),
                found: estimate.mean,
            });
        }
        if self.best.is_none_or(|best| estimate.mean < best) {
            checkpoint::write_best(&self.dir, &self.engine, estimate.mean)?;
            self.best = Some(estimate.mean);
        }
        let event = Event {
            step: self.engine.steps(),
            epoch: self.place.epoch + 1,
            split: Split::Valid.name().into(),
            nats: Some(estimate.mean),
            images_per_second: rate(images.len(), begun.elapsed()),
            seconds: self.clock.seconds(),
            parts: BTreeMap::from([("nats_standard_error".into(), estimate.standard_error)]),
        };
        self.validated = true;
        self.log.write(&event)?;
        observer.event(&event);
        Ok(true)
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

/// The model of a run on these data, untrained.
fn build(entry: &Entry, config: &Config, data: &Dataset) -> Result<Engine, Error> {
    config.check_data(data)?;
    let recipe = config.recipe(entry)?;
    let (model, params) = (entry.build)(&config.hypers(entry)?, &config.image, config.seed)?;
    Ok(Engine::new(model, params, recipe))
}
