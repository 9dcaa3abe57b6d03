#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod checkpoint;
mod config;
mod directory;
mod engine;
mod error;
mod evaluate;
mod images;
mod layers;
mod metrics;
mod pool;
mod session;
mod settings;
mod start;
mod synthetic;
mod trained;

pub use config::{Change, Config, Limit};
pub use directory::{Lock, RunDir, write_whole};
pub use engine::{Engine, Images as BatchImages, Pace};
pub use error::Error;
pub use evaluate::{Evaluation, Measured};
pub use images::{Images, spec};
pub use layers::parse;
pub use metrics::{Event, Tally};
pub use pool::Pool;
pub use session::{Observer, Outcome, Progress, Session};
pub use settings::parse_time;
pub use start::{Start, Taken, read_file, take};
pub use synthetic::Synthetic;
pub use trained::{Trained, read_config};
