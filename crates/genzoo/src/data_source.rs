//! From what the user calls a data set to the data.

use dataset::{Cache, Dataset, Source};
use std::path::PathBuf;

/// Opens the data set that `text` names: `glyphs`, a directory or file, or one imported before.
/// Gives the name by which any later command finds it from any directory, and the data.
pub(crate) fn open(text: &str) -> anyhow::Result<(String, Dataset)> {
    let source = Source::parse(text)?;
    let cache = Cache::from_environment()?;
    let data = Dataset::open(&source, &cache)?;
    let name = match source {
        Source::Path(path) => absolute(path).to_string_lossy().into_owned(),
        other => other.to_string(),
    };
    Ok((name, data))
}

fn absolute(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}
