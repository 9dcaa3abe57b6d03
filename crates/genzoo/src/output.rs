//! Standard output: results, and nothing else. Standard error: what is not a result. And the one
//! way to write a file that the user has named.

use anyhow::Context;
use serde::Serialize;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Prints a text and a line break. A reader that has gone away (`| head`) ends the program quietly.
pub(crate) fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Says something on standard error. Work goes on where nobody can hear it.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints what was written to `path`; on standard error if the bytes went to standard output.
pub(crate) fn print_about(path: &Path, text: impl std::fmt::Display) -> anyhow::Result<()> {
    if is_stdout(path) {
        note(text);
        return Ok(());
    }
    print(text)
}

/// The name that stands for standard output.
const STDOUT: &str = "-";

/// Whether a file of this name is standard output.
fn is_stdout(path: &Path) -> bool {
    path == Path::new(STDOUT)
}

/// Writes a file that the user has named. `-` is standard output; a link is followed; a pipe or a
/// device is written through; a regular file is replaced whole or not at all, and keeps its mode.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if is_stdout(path) {
        let mut out = std::io::stdout().lock();
        return match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
            result => Ok(result?),
        };
    }
    let place = || format!("{}", path.display());
    let path = followed(path).with_context(place)?;
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => {
            anyhow::bail!(
                "{}: expected a place for a file, found a directory",
                place()
            )
        }
        Ok(found) if !found.is_file() => {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .with_context(place)?;
            file.write_all(bytes).with_context(place)
        }
        _ => Ok(train::write_whole(&path, bytes)?),
    }
}

/// The most bytes of a file that is read whole.
const LARGEST: u64 = 1 << 32;

/// The bytes of a file that the user has named: a regular one of at most 4 GiB. Devices may never
/// end, and pipes may never begin.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let place = || format!("{}", path.display());
    let found = fs::metadata(path).with_context(place)?;
    if !found.is_file() {
        let what = if found.is_dir() {
            "a directory"
        } else {
            "a device or pipe"
        };
        anyhow::bail!("{}: expected a regular file, found {what}", place());
    }
    if found.len() > LARGEST {
        anyhow::bail!(
            "{}: expected at most 4 GiB, found {} bytes",
            place(),
            found.len()
        );
    }
    fs::read(path).with_context(place)
}

/// The most links that are followed, as systems have it.
const LINKS: usize = 40;

/// What a path leads to at the end of all links, there or not.
fn followed(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // No link, or nothing there.
            Err(_) => return Ok(path),
        }
    }
    Err(std::io::Error::other(
        "more than 40 links that lead to each other",
    ))
}

/// Prints one JSON object on a line of its own.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(serde_json::to_string(value)?)
}

/// A number with commas between thousands: 41,250.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: 1 thread, 2 threads.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Rows as lines with aligned columns, two spaces apart.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let all = [0, 12, 999, 1000, 652_824, 1_000_000].map(thousands);
        assert_eq!(all, ["0", "12", "999", "1,000", "652,824", "1,000,000"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_modes_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        symlink("file", at("link")).unwrap();
        write_file(&at("link"), b"one").unwrap();
        assert_eq!(fs::read(at("file")).unwrap(), b"one");
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o640)).unwrap();
        write_file(&at("link"), b"two").unwrap();
        assert_eq!(fs::read(at("file")).unwrap(), b"two");
        assert!(at("link").is_symlink());
        let mode = fs::metadata(at("file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        symlink("circle", at("circle")).unwrap();
        write_file(&at("circle"), b"").unwrap_err();
        write_file(root.path(), b"").unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_written_through() {
        write_file(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".into(), "bb".into()],
            vec!["ccc".into(), "d".into()],
        ];
        assert_eq!(table(&rows), "a    bb\nccc  d");
    }
}
