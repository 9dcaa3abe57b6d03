//! What a user calls a dataset.

use std::fmt;
use std::path::PathBuf;

use crate::error::Error;

/// Where a dataset comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The built-in generator.
    Glyphs,
    /// A directory of data files, or one such file.
    Path(PathBuf),
    /// A dataset that is in the cache already, by its name. Whether its files have changed since
    /// is not asked.
    Imported(String),
}

impl Source {
    /// The name of the built-in dataset.
    pub const GLYPHS: &'static str = "glyphs";

    /// `glyphs`; else a path, where it exists; else the name of an imported dataset.
    ///
    /// (`./glyphs` is a path.)
    ///
    /// # Errors
    /// Where the text looks like a path (it has a separator) and there is nothing.
    pub fn parse(text: &str) -> Result<Source, Error> {
        let path = PathBuf::from(text);
        if text == Source::GLYPHS {
            return Ok(Source::Glyphs);
        }
        if path.exists() {
            return Ok(Source::Path(path));
        }
        if text.is_empty() || text.contains(['/', std::path::MAIN_SEPARATOR]) {
            let missing = std::io::ErrorKind::NotFound.into();
            return Err(crate::error::io(&path, "open")(missing));
        }
        Ok(Source::Imported(text.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Glyphs => f.write_str(Source::GLYPHS),
            Source::Path(path) => path.display().fmt(f),
            Source::Imported(name) => f.write_str(name),
        }
    }
}
