//! From what the user calls a data set to the data.

use crate::failure;
use dataset::{Cache, Dataset, Source};
use std::path::PathBuf;

/// Opens the data set that `text` names: `glyphs`, a directory or file, or one imported before.
/// Gives the name by which any later command finds it from any directory, and the data.
pub(crate) fn open(text: &str) -> anyhow::Result<(String, Dataset)> {
    let source = Source::parse(text)?;
    let name = match &source {
        // A configuration is text, so what it names must be.
        Source::Path(path) => absolute(path.clone())
            .into_os_string()
            .into_string()
            .map_err(|path| {
                let message = format!("{}: expected a path of UTF-8", path.display());
                failure::failed(message, "rename the directory, or make a link to it")
            })?,
        other => other.to_string(),
    };
    let cache = Cache::from_environment()?;
    let data = Dataset::open(&source, &cache)?;
    Ok((name, data))
}

fn absolute(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}
