//! From a directory of official files to one dataset, by content first and by name second.

use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::cache::classes;
use crate::error::{Error, Malformed, io};
use crate::formats::{FORMATS, Format, HEAD, Images, Part};
use crate::gz;
use crate::image::Split;
use crate::store::{Contents, Pieces};

/// Levels of subdirectories that are searched: `data/MNIST/raw` from `data`.
const DEPTH: usize = 2;
/// Files beyond which a directory is taken for something else than a dataset.
const MOST_FILES: usize = 10_000;

/// The regular files of a source, with what tells whether one has changed.
#[derive(Debug)]
pub(crate) struct Directory {
    /// As the user gave it: what messages show.
    given: PathBuf,
    /// Absolute, without links.
    root: PathBuf,
    files: Vec<Listed>,
}

#[derive(Debug)]
struct Listed {
    path: PathBuf,
    depth: usize,
    size: u64,
    /// Nanoseconds since 1970; 0 where the system does not know.
    modified: u128,
}

impl Directory {
    /// List a directory, or the one file.
    pub(crate) fn list(given: &Path) -> Result<Directory, Error> {
        let root = given.canonicalize().map_err(io(given, "open"))?;
        let metadata = fs::metadata(given).map_err(io(given, "open"))?;
        let mut directory = Directory {
            given: given.to_owned(),
            root,
            files: Vec::new(),
        };
        if metadata.is_dir() {
            directory.descend(given, 0)?;
            directory.files.sort_by(|a, b| a.path.cmp(&b.path));
        } else {
            directory.push(given.to_owned(), 0, &metadata);
        }
        Ok(directory)
    }

    fn push(&mut self, path: PathBuf, depth: usize, metadata: &Metadata) {
        let modified = metadata.modified().ok();
        let age = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.files.push(Listed {
            path,
            depth,
            size: metadata.len(),
            modified: age.map_or(0, |age| age.as_nanos()),
        });
    }

    fn descend(&mut self, place: &Path, depth: usize) -> Result<(), Error> {
        for entry in fs::read_dir(place).map_err(io(place, "read"))? {
            let entry = entry.map_err(io(place, "read"))?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            // Follows links; one that leads nowhere is no data file.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            if metadata.is_dir() && depth < DEPTH {
                self.descend(&path, depth + 1)?;
            } else if metadata.is_file() {
                self.push(path, depth, &metadata);
            }
            if self.files.len() > MOST_FILES {
                return Err(Error::Unrecognised {
                    path: self.given.clone(),
                    expected: "a directory of data files".to_owned(),
                    found: format!("more than {MOST_FILES} files"),
                });
            }
        }
        Ok(())
    }

    /// The absolute place of the source.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What a person calls it: the last part of the path, in lower case, the first word of a
    /// file's name, and the parent's name where the directory is one that torchvision calls `raw`.
    pub(crate) fn name(&self) -> String {
        let last = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().to_lowercase()
        };
        let mut name = last(&self.root);
        if name == "raw" {
            name = self.root.parent().map(last).unwrap_or(name);
        }
        if self.root.is_file() {
            name = name.split('.').next().unwrap_or_default().to_owned();
        }
        if name.is_empty() {
            "dataset".to_owned()
        } else {
            name
        }
    }

    /// Changes whenever a file comes, goes, or has another size or time.
    pub(crate) fn identity(&self) -> String {
        let mut text = format!("{}\n", self.root.display());
        for file in &self.files {
            let path = file.path.strip_prefix(&self.given).unwrap_or(&file.path);
            let (size, modified) = (file.size, file.modified);
            writeln!(text, "{} {size} {modified}", path.display()).expect("a String takes all");
        }
        text
    }

    fn conflict(&self, reason: String) -> Error {
        Error::Conflict {
            path: self.given.clone(),
            reason,
        }
    }
}

/// A data file, decompressed.
pub(crate) struct DataFile {
    path: PathBuf,
    format: &'static Format,
    bytes: Vec<u8>,
}

/// The file's name in lower case, without `.gz`.
fn plain_name(path: &Path) -> String {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    name.strip_suffix(".gz").map(str::to_owned).unwrap_or(name)
}

/// Find the data files and read them.
pub(crate) fn read(directory: &Directory) -> Result<Vec<DataFile>, Error> {
    let mut found: Vec<(&Listed, &'static Format)> = Vec::new();
    for file in &directory.files {
        if let Some(format) = recognise(&file.path)? {
            found.push((file, format));
        }
    }
    // The shallowest directory that has any: what lies further down is another dataset's.
    let depth = found.iter().map(|(file, _)| file.depth).min().unwrap_or(0);
    found.retain(|(file, _)| file.depth == depth);
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
    Ok(files)
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
    if gz::is_gz(&bytes) {
        gz::decompress(&bytes[..], format.bound).map_err(|malformed| malformed.at(path))
    } else {
        Ok(bytes)
    }
}

/// The split that a file's name speaks of.
fn hint(path: &Path) -> Option<Split> {
    let name = plain_name(path);
    let says = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if says(&["train", "data_batch"]) {
        Some(Split::Train)
    } else if says(&["valid", "-val", "_val"]) {
        Some(Split::Valid)
    } else if says(&["t10k", "test"]) {
        Some(Split::Test)
    } else {
        None
    }
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

/// The images and labels of one split, while files are being paired.
#[derive(Default)]
struct Pairing<'a> {
    images: Vec<(&'a Path, &'a Images<'a>)>,
    labels: Option<(&'a Path, &'a [u8])>,
}

impl Pairing<'_> {
    fn count(&self) -> usize {
        self.images.iter().map(|(_, images)| images.count).sum()
    }
}

/// Pair images with labels and say which split is where. `parts` are those of `files`.
pub(crate) fn assemble<'a>(
    directory: &Directory,
    files: &'a [DataFile],
    parts: &'a [Part<'a>],
    key: [u8; 16],
) -> Result<Contents<'a>, Error> {
    let format = files[0].format;
    let paired = pair(directory, files, parts)?;
    let all: Vec<_> = paired.iter().flat_map(|split| &split.images).collect();
    let Some(&&(first_path, first)) = all.first() else {
        let reason = format!("labels without images: {}", name_of(&files[0].path));
        return Err(directory.conflict(reason));
    };
    for &&(path, images) in &all {
        if (images.shape, images.levels) != (first.shape, first.levels) {
            return Err(directory.conflict(format!(
                "{} has images of {} with {} levels, {} of {} with {}",
                name_of(first_path),
                first.shape,
                first.levels,
                name_of(path),
                images.shape,
                images.levels
            )));
        }
    }
    let mut splits = <[Pieces<'a>; 3]>::default();
    for (split, pieces) in paired.iter().zip(&mut splits) {
        pieces.count = split.count();
        pieces.pixels = split
            .images
            .iter()
            .map(|(_, images)| &*images.pixels)
            .collect();
        let inside = split
            .images
            .iter()
            .filter_map(|(_, images)| images.labels.as_deref());
        pieces.labels = inside
            .chain(split.labels.map(|(_, labels)| labels))
            .collect();
        if u32::try_from(pieces.count).is_err() {
            return Err(directory.conflict("more than 2^32 - 1 images".to_owned()));
        }
    }
    // Labels in some splits only are of no use to anyone: better say so than drop them.
    let labelled = |pieces: &Pieces<'_>| !pieces.labels.is_empty();
    if splits.iter().any(labelled) {
        let bare = Split::ALL
            .into_iter()
            .zip(&splits)
            .find(|(_, p)| p.count > 0 && !labelled(p));
        if let Some((split, _)) = bare {
            let reason = format!("labels for some splits, but none for the {split} split");
            return Err(directory.conflict(reason));
        }
    }
    carve(&mut splits, first.shape.len(), format.valid_share);
    Ok(Contents {
        name: directory.name(),
        source: directory.root.to_string_lossy().into_owned(),
        key,
        shape: first.shape,
        levels: first.levels,
        classes: classes(&splits),
        splits,
    })
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn pair<'a>(
    directory: &Directory,
    files: &'a [DataFile],
    parts: &'a [Part<'a>],
) -> Result<[Pairing<'a>; 3], Error> {
    let mut paired = <[Pairing<'a>; 3]>::default();
    let many = files[0].format.many;
    // Images whose names speak of a split; then the others, the largest first.
    let mut unnamed = Vec::new();
    for (file, part) in files.iter().zip(parts) {
        let Part::Images(images) = part else {
            continue;
        };
        match hint(&file.path) {
            Some(split) => paired[split as usize].images.push((&*file.path, images)),
            None if many => paired[Split::Train as usize]
                .images
                .push((&*file.path, images)),
            None => unnamed.push((&*file.path, images)),
        }
    }
    unnamed.sort_by_key(|(_, images)| std::cmp::Reverse(images.count));
    let free = paired.iter().all(|split| split.images.is_empty());
    match *unnamed.as_slice() {
        [] => {}
        [only] if paired[0].images.is_empty() => paired[0].images.push(only),
        [larger, smaller] if free && larger.1.count > smaller.1.count => {
            paired[Split::Train as usize].images.push(larger);
            paired[Split::Test as usize].images.push(smaller);
        }
        [(path, _), ..] => {
            let file = name_of(path);
            let reason = format!("cannot tell which split {file} is: name it train, valid or test");
            return Err(directory.conflict(reason));
        }
    }
    for (split, paired) in Split::ALL.into_iter().zip(&paired) {
        if let ([(a, _), (b, _), ..], false) = (paired.images.as_slice(), many) {
            let (a, b) = (name_of(a), name_of(b));
            return Err(directory.conflict(format!("two files of {split} images: {a} and {b}")));
        }
    }
    for (file, part) in files.iter().zip(parts) {
        if let Part::Labels(labels) = part {
            pair_labels(directory, &mut paired, &file.path, labels)?;
        }
    }
    Ok(paired)
}

/// Labels go to the split their name speaks of, else to the one split of as many images.
fn pair_labels<'a>(
    directory: &Directory,
    paired: &mut [Pairing<'a>; 3],
    path: &'a Path,
    labels: &'a [u8],
) -> Result<(), Error> {
    let file = name_of(path);
    let split = hint(path).or_else(|| {
        let fits = |split: &Split| paired[*split as usize].count() == labels.len();
        let mut fitting = Split::ALL.into_iter().filter(fits);
        fitting.next().filter(|_| fitting.next().is_none())
    });
    let Some(split) = split else {
        let reason = format!(
            "cannot tell which images the {} labels of {file} are for",
            labels.len()
        );
        return Err(directory.conflict(reason));
    };
    let target = &mut paired[split as usize];
    let Some((images, _)) = target.images.first() else {
        return Err(directory.conflict(format!("{file}: labels without {split} images")));
    };
    if let Some((other, _)) = target.labels {
        let other = name_of(other);
        return Err(directory.conflict(format!("two files of {split} labels: {other} and {file}")));
    }
    if target.count() != labels.len() {
        let images = name_of(images);
        let expected = format!("{} labels, one an image of {images}", target.count());
        return Err(Malformed::new(4, expected, labels.len().to_string()).at(path));
    }
    target.labels = Some((path, labels));
    Ok(())
}

/// Without validation images, take the last of the training images: one in `share`.
fn carve(splits: &mut [Pieces<'_>; 3], image: usize, share: usize) {
    let [train, valid, _] = splits;
    if valid.count > 0 {
        return;
    }
    valid.count = train.count / share;
    train.count -= valid.count;
    valid.pixels = split_off(&mut train.pixels, train.count * image);
    valid.labels = split_off(&mut train.labels, train.count);
}

/// Keep the first `keep` bytes of the pieces and return the rest.
fn split_off<'a>(pieces: &mut Vec<&'a [u8]>, keep: usize) -> Vec<&'a [u8]> {
    let mut rest = Vec::new();
    let mut left = keep;
    for piece in pieces.iter_mut() {
        let (kept, cut) = piece.split_at(left.min(piece.len()));
        left -= kept.len();
        *piece = kept;
        if !cut.is_empty() {
            rest.push(cut);
        }
    }
    rest
}
