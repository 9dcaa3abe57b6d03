//! Which files of a source are data, by content first and by name second.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, io};
use crate::formats::{FORMATS, Format, HEAD, Part};
use crate::gz;
use crate::listing::{Directory, Listed};

/// A data file, decompressed.
pub(crate) struct DataFile {
    pub(crate) path: PathBuf,
    pub(crate) format: &'static Format,
    bytes: Vec<u8>,
}

/// The file's name in lower case, without `.gz`.
pub(crate) fn plain_name(path: &Path) -> String {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    name.strip_suffix(".gz").map(str::to_owned).unwrap_or(name)
}

/// Find the data files and read them; tells the names of files that begin like data and are none.
pub(crate) fn read(directory: &Directory) -> Result<(Vec<DataFile>, Vec<String>), Error> {
    let mut found: Vec<(&Listed, &'static Format)> = Vec::new();
    for file in &directory.files {
        if let Some(format) = recognise(&file.path)? {
            found.push((file, format));
        }
    }
    // The shallowest directory that has any: what lies further down is another dataset's.
    let depth = found.iter().map(|(file, _)| file.depth).min().unwrap_or(0);
    found.retain(|(file, _)| file.depth == depth);
    let ignored = set_aside(&mut found);
    let Some(&(first, format)) = found.first() else {
        let names: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        let found = match directory.files.as_slice() {
            [] => "an empty directory".to_owned(),
            [file] if file.size == 0 => "an empty file".to_owned(),
            [_] => "something else".to_owned(),
            files => format!("{} files of none of these", files.len()),
        };
        return Err(Error::Unrecognised {
            path: directory.given.clone(),
            expected: format!("files of one of the formats {}", names.join(", ")),
            found,
        });
    };
    for &(other, kind) in &found {
        if kind.name != format.name || other.path.parent() != first.path.parent() {
            return Err(directory.conflict(format!(
                "more than one dataset: {} ({}) and {} ({})",
                first.path.display(),
                format.name,
                other.path.display(),
                kind.name
            )));
        }
    }
    // Where a file lies beside its own .gz, as torchvision leaves them, one of them will do.
    let names: Vec<_> = found
        .iter()
        .map(|(file, _)| plain_name(&file.path))
        .collect();
    let mut files = Vec::new();
    for (k, (file, format)) in found.iter().enumerate() {
        if names[..k].contains(&names[k]) {
            continue;
        }
        files.push(DataFile {
            path: file.path.clone(),
            format,
            bytes: read_file(&file.path, format)?,
        });
    }
    Ok((files, ignored))
}

/// Takes out of files of several formats or places those that only begin like data: a list of
/// numbers beside images is no `.amat`. A file that is named like data stays, so that a broken one
/// is reported. Gives the names of what was taken out.
fn set_aside(found: &mut Vec<(&Listed, &'static Format)>) -> Vec<String> {
    let mixed = found.windows(2).any(|pair| {
        pair[0].1.name != pair[1].1.name || pair[0].0.path.parent() != pair[1].0.path.parent()
    });
    if !mixed {
        return Vec::new();
    }
    let whole = |file: &Listed, format: &Format| {
        let bytes = read_file(&file.path, format);
        bytes.is_ok_and(|bytes| (format.parse)(&bytes).is_ok())
    };
    let wholes: Vec<bool> = found
        .iter()
        .map(|(file, format)| whole(file, format))
        .collect();
    let named = |file: &Listed, format: &Format| (format.named)(&plain_name(&file.path));
    // Certain are whole files that are called as their format has it, or begin as nothing else does.
    let certain: Vec<bool> = (found.iter().zip(&wholes))
        .map(|((file, format), whole)| *whole && (format.magic || named(file, format)))
        .collect();
    let formats: Vec<&str> = (found.iter().zip(&certain))
        .filter(|(_, certain)| **certain)
        .map(|((_, format), _)| format.name)
        .collect();
    let mut told = wholes.into_iter().zip(certain);
    let mut ignored = Vec::new();
    found.retain(|(file, format)| {
        let (whole, certain) = told.next().unwrap_or((true, true));
        let named = named(file, format);
        let stays = match &formats[..] {
            [] => whole || named,
            _ => certain || named && formats.contains(&format.name),
        };
        if !stays {
            let name = file.path.file_name().unwrap_or_default();
            ignored.push(name.to_string_lossy().into_owned());
        }
        stays
    });
    ignored
}

/// The format of a file by its beginning; by its name only so that a broken one is reported.
fn recognise(path: &Path) -> Result<Option<&'static Format>, Error> {
    let name = plain_name(path);
    let named = FORMATS.iter().find(|format| (format.named)(&name));
    let mut head = Vec::with_capacity(HEAD);
    let opened = File::open(path).map_err(io(path, "open"));
    let begun = opened.and_then(|file| {
        file.take(HEAD as u64)
            .read_to_end(&mut head)
            .map_err(io(path, "read"))
    });
    match begun {
        Err(error) if named.is_some() => return Err(error),
        // Some other file that may not be read is nobody's business.
        Err(_) => return Ok(None),
        Ok(_) => {}
    }
    if gz::is_gz(&head) {
        match File::open(path).map_err(io(path, "open")) {
            Ok(file) => match gz::head(file) {
                Ok(bytes) => head = bytes,
                Err(malformed) if named.is_some() => return Err(malformed.at(path)),
                Err(_) => return Ok(None),
            },
            Err(error) => return Err(error),
        }
    }
    let sniffed = FORMATS.iter().find(|format| (format.sniff)(&head));
    Ok(sniffed.or(named))
}

fn read_file(path: &Path, format: &Format) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(path).map_err(io(path, "read"))?;
    let unpacked = format.unpack(bytes);
    unpacked.map_err(|malformed| malformed.at(path))
}

/// Parse every file.
pub(crate) fn parse(files: &[DataFile]) -> Result<Vec<Part<'_>>, Error> {
    let mut parts = Vec::with_capacity(files.len());
    for file in files {
        let part = (file.format.parse)(&file.bytes);
        parts.push(part.map_err(|malformed| malformed.at(&file.path))?);
    }
    Ok(parts)
}
