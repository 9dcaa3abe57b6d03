//! A run as those see it who evaluate or sample.

use crate::checkpoint;
use crate::config::Config;
use crate::directory::{self, RunDir};
use crate::error::Error;
use nn::Params;
use nn::model::{Entry, Model};

/// The configuration of a run.
///
/// # Errors
/// If the file cannot be read, is no TOML or lacks a key.
pub fn read_config(dir: &RunDir) -> Result<Config, Error> {
    let path = dir.config();
    let origin = path.display().to_string();
    let bytes = directory::read(&path)?;
    let text = String::from_utf8(bytes).map_err(|error| Error::Config {
        origin: origin.clone(),
        reason: format!(
            "expected text, found byte {} not to be UTF-8",
            error.utf8_error().valid_up_to()
        ),
    })?;
    Config::from_toml(&text, &origin)
}

/// A model with the parameters a run has found.
pub struct Trained {
    /// The model.
    pub model: Box<dyn Model>,
    /// The best on the validation split; without one, the last, or their moving average.
    pub params: Params<f32>,
    /// The step they are from.
    pub step: u64,
}

impl Trained {
    /// Reads them from the run's directory. `config` may differ from the run's own in what does
    /// not change the parameters, as the number of orderings that a likelihood averages over.
    ///
    /// # Errors
    /// If the configuration does not fit `entry`, or the file is missing or damaged.
    pub fn read(dir: &RunDir, entry: &Entry, config: &Config) -> Result<Trained, Error> {
        Trained::read_by(dir, entry, config, checkpoint::read_evaluated)
    }

    /// Reads the last parameters, or their moving average, whether or not they were the best.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_last(dir: &RunDir, entry: &Entry, config: &Config) -> Result<Trained, Error> {
        Trained::read_by(dir, entry, config, checkpoint::read_last)
    }

    fn read_by(
        dir: &RunDir,
        entry: &Entry,
        config: &Config,
        read: fn(&RunDir, &Config, &mut Params<f32>) -> Result<u64, Error>,
    ) -> Result<Trained, Error> {
        let (model, mut params) =
            entry.build_for(&config.hypers(entry)?, config.image, config.seed)?;
        let step = read(dir, &read_config(dir)?, &mut params)?;
        Ok(Trained {
            model,
            params,
            step,
        })
    }
}
