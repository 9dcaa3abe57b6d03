//! The engine from a program of one's own: a run with its directory, stopped and resumed.
//!
//! ```sh
//! cargo run --release -p genzoo-train --example session
//! ```
//! The model is the autoencoder of `genzoo-vae`; any other entry would do. The data are the
//! built-in glyphs.

use dataset::{Cache, Dataset, Source};
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use train::{Config, Event, Observer, Pool, Progress, RunDir, Session, Trained, read_config};

/// Shows each event of the run, and stops it after so many steps.
struct Watch<'a> {
    left: u64,
    stop: &'a AtomicBool,
}

impl Observer for Watch<'_> {
    fn step(&mut self, _: &Progress) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn event(&mut self, event: &Event) {
        println!("{event:?}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let entry = &vae::MODELS[0];
    let source = Source::parse(Source::GLYPHS)?;
    let data = Dataset::open(&source, &Cache::from_environment()?)?;
    let settings = "epochs = 2\nhypers.hidden = [100]\nhypers.latents = 8".parse()?;
    let config = Config::resolve(entry, Source::GLYPHS, &data, vec![(settings, "settings")])?;

    let place = tempfile::tempdir()?;
    let path = place.path().join("run");
    let pool = Pool::new(None)?;

    // Stopped in the second epoch ..
    let stop = AtomicBool::new(false);
    let mut watch = Watch {
        left: 200,
        stop: &stop,
    };
    let mut session = Session::begin(RunDir::create(&path)?, entry, config, &data)?;
    let outcome = session.run(&pool, &mut watch, &stop)?;
    println!("{outcome:?} after {} steps", session.engine().steps());
    drop(session);

    // .. and resumed from its directory alone, to the bytes of a run that was not stopped.
    let stop = AtomicBool::new(false);
    let mut watch = Watch {
        left: u64::MAX,
        stop: &stop,
    };
    let dir = RunDir::open(&path)?;
    let config = read_config(&dir)?;
    let mut session = Session::resume(dir.clone(), entry, config.clone(), &data)?;
    let outcome = session.run(&pool, &mut watch, &stop)?;
    println!("{outcome:?} after {} steps", session.engine().steps());

    let trained = Trained::read(&dir, entry, &config)?;
    println!(
        "{} parameters, of step {}",
        trained.params.count(),
        trained.step
    );
    Ok(())
}
