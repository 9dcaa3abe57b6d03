//! The files of a source, and what tells whether they have changed.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::error::{Error, io};

/// Levels of subdirectories that are searched: `data/MNIST/raw` from `data`.
const DEPTH: usize = 2;
/// Files beyond which a directory is taken for something else than a dataset.
const MOST_FILES: usize = 10_000;

/// The regular files of a source, with what tells whether one has changed.
#[derive(Debug)]
pub(crate) struct Directory {
    /// As the user gave it: what messages show.
    pub(crate) given: PathBuf,
    /// Absolute, without links.
    root: PathBuf,
    pub(crate) files: Vec<Listed>,
}

#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) depth: usize,
    pub(crate) size: u64,
    /// Nanoseconds since 1970; 0 where the system does not know.
    modified: u128,
    /// Device, inode and time of the last change of either content or metadata, which no program
    /// can set back; nothing where the system does not tell.
    place: String,
}

#[cfg(unix)]
fn place(metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    format!(
        "{} {} {seconds}.{nanoseconds}",
        metadata.dev(),
        metadata.ino()
    )
}

#[cfg(not(unix))]
fn place(_: &Metadata) -> String {
    String::new()
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
        } else if metadata.is_file() {
            directory.push(given.to_owned(), 0, &metadata);
        } else {
            return Err(Error::Unrecognised {
                path: given.to_owned(),
                expected: "a directory or a regular file".to_owned(),
                found: "neither".to_owned(),
            });
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
            place: place(metadata),
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
                match self.descend(&path, depth + 1) {
                    // A subdirectory that may not be read is passed over.
                    Ok(()) | Err(Error::Io { .. }) => {}
                    Err(error) => return Err(error),
                }
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

    /// Changes whenever a file comes, goes, or has another size, time or place on the disk. Paths
    /// enter byte by byte, so two that look alike are two.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let mut bytes = self.root.as_os_str().as_encoded_bytes().to_vec();
        for file in &self.files {
            let path = file.path.strip_prefix(&self.given).unwrap_or(&file.path);
            bytes.push(0);
            bytes.extend(path.as_os_str().as_encoded_bytes());
            let (size, modified, place) = (file.size, file.modified, &file.place);
            bytes.extend(format!("\0{size} {modified} {place}").into_bytes());
        }
        bytes
    }

    pub(crate) fn conflict(&self, reason: String) -> Error {
        Error::Conflict {
            path: self.given.clone(),
            reason,
        }
    }
}
