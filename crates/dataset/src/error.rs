//! What can go wrong with bytes, files and names. Every message is one line.

use std::io;
use std::path::{Path, PathBuf};

/// Why a dataset could not be opened, imported or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried: `read`, `map`, ...
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file's bytes are not what its format demands.
    #[error("{}: {malformed}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it, what was expected and what was found.
        malformed: Malformed,
    },
    /// A directory or file in which no known format was found.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Unrecognised {
        /// The directory or file.
        path: PathBuf,
        /// The formats that are known.
        expected: String,
        /// What is there instead.
        found: String,
    },
    /// The files of a directory do not fit together.
    #[error("{}: {reason}", path.display())]
    Conflict {
        /// The directory.
        path: PathBuf,
        /// Which files, and why they do not fit.
        reason: String,
    },
    /// Neither a built-in dataset, nor a path, nor a name in the cache.
    #[error("no dataset {name:?}: it is neither a path nor one of {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that would have been understood.
        known: Vec<String>,
    },
    /// No place for the cache could be derived from the environment.
    #[error("no place for the cache: set GENZOO_CACHE to a directory")]
    NoCache,
}

/// A fault in a sequence of bytes, without the file's name.
///
/// The offset of a fault in a `.gz` file counts decompressed bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: expected {expected}, found {found}")]
pub struct Malformed {
    /// Offset of the first byte that is at fault.
    pub offset: u64,
    /// What the format demands there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Malformed {
    /// A fault at `offset`.
    pub fn new(offset: u64, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Malformed {
            offset,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The same fault, with the file it is in.
    pub fn at(self, path: &Path) -> Error {
        Error::Malformed {
            path: path.to_owned(),
            malformed: self,
        }
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

/// A text that names none of a fixed set of choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, found {found:?}")]
pub struct ParseNameError {
    /// The choices.
    pub expected: &'static str,
    /// What was given.
    pub found: String,
}
