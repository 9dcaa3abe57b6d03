//! What can go wrong with files, configuration and numbers. Every message is one line.

use nn::hyper::HyperError;
use nn::save::ParamsError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a run could not begin, go on or be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The directory of a new run holds a run already.
    #[error("{}: expected a place for a new run, found a run", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that should hold a run does not.
    #[error("{}: expected a run, found {found}", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A configuration that cannot be used.
    #[error("{origin}: {reason}")]
    Config {
        /// Where it came from: a file, or the command line.
        origin: String,
        /// Expected and found, in a line.
        reason: String,
    },
    /// A file of tensors that is damaged or holds other tensors than the model's.
    #[error("{}: {source}", path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParamsError,
    },
    /// A checkpoint whose metadata is not what it should be.
    #[error("{}: {key}: expected {expected}, found {found:?}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Which of the metadata.
        key: &'static str,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The data do not go with the run or the model.
    #[error("{data}: expected {expected}, found {found}")]
    Data {
        /// What the data are called.
        data: String,
        /// What the run or the model needs.
        expected: String,
        /// What the data are.
        found: String,
    },
    /// A hyper-parameter that cannot be.
    #[error(transparent)]
    Hyper(#[from] HyperError),
    /// Another run's parameters have nothing in common with the model's.
    #[error(
        "{source_run}: expected parameters of this model{}, found none that fit: {found}",
        under(prefix)
    )]
    NothingTaken {
        /// The run or file they were to come from.
        source_run: String,
        /// How their names were to begin.
        prefix: String,
        /// What became of those that are there.
        found: String,
    },
    /// Training left the finite numbers. Nothing was written since.
    #[error("step {step}: expected a finite {what}, found {found}")]
    NotFinite {
        /// The step, 1 for the first.
        step: u64,
        /// Loss or parameter.
        what: String,
        /// The value.
        found: f64,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

fn under(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix => format!(" under {prefix:?}"),
    }
}

/// `result.map_err(io(path, "read"))`.
pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        path,
        action,
        source,
    }
}
