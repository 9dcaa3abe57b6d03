//! Tables of settings: read from text, and laid over one another.

use crate::error::Error;
use toml::{Table, Value};

/// The key that says what the other keys of its table mean.
const KIND: &str = "kind";

/// TOML text as a table, with the line of an error.
///
/// # Errors
/// If the text is no TOML.
pub fn parse(text: &str, origin: &str) -> Result<Table, Error> {
    text.parse::<Table>().map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        let line = before.matches('\n').count() + 1;
        Error::Config {
            origin: origin.into(),
            reason: format!("line {line}: {}", one_line(&error)),
        }
    })
}

/// Lays `layer` over `table`, key by key and level by level.
pub(crate) fn overlay(table: &mut Table, layer: Table) {
    for (key, value) in layer {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => {
                // Another optimiser or schedule: what the old one was set to means nothing to it.
                if (above.get(KIND)).is_some_and(|kind| below.get(KIND) != Some(kind)) {
                    let lr = below.remove("lr");
                    below.clear();
                    below.extend(lr.map(|lr| ("lr".to_owned(), lr)));
                }
                overlay(below, above);
            }
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// The message of a TOML error, which may have several lines, in one.
pub(crate) fn one_line(error: &(impl std::fmt::Display + ?Sized)) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    // A parse error draws the place; the last line says what is wrong.
    match lines[..] {
        [first, .., last] if first.starts_with("TOML parse error") => last.into(),
        _ => lines.join(" "),
    }
}
