//! From parsed files to one dataset: images find their labels, and each its split.

use std::path::Path;

use crate::cache::classes;
use crate::error::{Error, Malformed};
use crate::formats::{Images, Part};
use crate::image::Split;
use crate::listing::Directory;
use crate::recognise::{DataFile, plain_name};
use crate::store::{Contents, Pieces};

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
        source: directory.root().to_string_lossy().into_owned(),
        key,
        shape: first.shape,
        levels: first.levels,
        classes: classes(&splits),
        splits,
        ignored: Vec::new(),
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
    valid.count = (train.count + share / 2) / share;
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
