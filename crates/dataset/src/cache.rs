//! Where imported datasets are kept, and when one is imported again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, io};
use crate::glyphs;
use crate::listing::Directory;
use crate::open::Dataset;
use crate::source::Source;
use crate::store::{Contents, Pieces, key};
use crate::{pair, recognise};

/// The directory that holds imported datasets, one file each.
///
/// Files there are written once under another name, synced and renamed; they may be deleted at
/// any time, but must not be edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    directory: PathBuf,
}

/// How the files of a cache end.
const EXTENSION: &str = "images";

impl Cache {
    /// A cache in `directory`, which is created when something is first written to it.
    pub fn new(directory: impl Into<PathBuf>) -> Cache {
        Cache {
            directory: directory.into(),
        }
    }

    /// The user's cache: `$GENZOO_CACHE`, else `$XDG_CACHE_HOME/genzoo`, else the place of the
    /// system: `~/.cache/genzoo`, `~/Library/Caches/genzoo` on macOS, `%LOCALAPPDATA%\genzoo` on
    /// Windows.
    ///
    /// # Errors
    /// [`Error::NoCache`] where none of these variables is set.
    pub fn from_environment() -> Result<Cache, Error> {
        locate(|name| std::env::var_os(name))
            .map(Cache::new)
            .ok_or(Error::NoCache)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every dataset in the cache, ordered by name and then by source. Files that cannot be
    /// opened are left out: they are replaced when their source is opened again.
    ///
    /// # Errors
    /// Where the directory exists and cannot be read.
    pub fn datasets(&self) -> Result<Vec<Dataset>, Error> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(&self.directory, "read")(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(io(&self.directory, "read"))?.path();
            if path.extension().is_some_and(|e| e == EXTENSION) {
                found.extend(Dataset::open_file(&path));
            }
        }
        found.sort_by(|a, b| (a.name(), a.source()).cmp(&(b.name(), b.source())));
        Ok(found)
    }

    /// The file for the source called `name` that is identified by `identity`.
    fn file(&self, name: &str, identity: &[u8]) -> PathBuf {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().take(64).map(plain).collect();
        let hash = u64::from_le_bytes(*key(identity).first_chunk().expect("16 bytes"));
        self.directory
            .join(format!("{name}-{hash:016x}.{EXTENSION}"))
    }

    /// Write a dataset: another name, sync, rename.
    fn write(&self, path: &Path, contents: &Contents<'_>) -> Result<(), Error> {
        fs::create_dir_all(&self.directory).map_err(io(&self.directory, "create"))?;
        let failed = |action| io(&self.directory, action);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".import-");
        #[cfg(unix)]
        {
            // What any new file gets, less what the umask takes: other users may share the cache.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let temporary = builder
            .tempfile_in(&self.directory)
            .map_err(failed("write to"))?;
        let mut writer = BufWriter::with_capacity(1 << 20, temporary);
        contents
            .write(|piece| writer.write_all(piece))
            .map_err(io(path, "write"))?;
        let temporary = writer
            .into_inner()
            .map_err(|error| io(path, "write")(error.into_error()))?;
        temporary.as_file().sync_all().map_err(io(path, "sync"))?;
        temporary
            .persist(path)
            .map_err(|error| io(path, "rename into place")(error.error))?;
        // The rename itself is durable once the directory is. Some systems cannot sync one, and
        // then a crash costs an import, nothing else.
        if let Ok(directory) = File::open(&self.directory) {
            let _ = directory.sync_all();
        }
        Ok(())
    }
}

/// The place of the cache, given the environment.
fn locate(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(directory) = path("GENZOO_CACHE") {
        return Some(directory);
    }
    // As the XDG specification demands, a relative path there is ignored.
    if let Some(base) = path("XDG_CACHE_HOME").filter(|base| base.is_absolute()) {
        return Some(base.join("genzoo"));
    }
    if cfg!(windows) {
        return path("LOCALAPPDATA").map(|base| base.join("genzoo"));
    }
    let place = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    path("HOME").map(|home| home.join(place).join("genzoo"))
}

/// See [`Dataset::open`].
pub(crate) fn open(source: &Source, cache: &Cache) -> Result<Dataset, Error> {
    match source {
        Source::Glyphs => {
            let identity = format!("glyphs, version {}", glyphs::VERSION);
            let path = cache.file("glyphs", identity.as_bytes());
            let key = key(identity.as_bytes());
            open_or(&path, key, || {
                let made = glyphs::generate();
                cache.write(&path, &made.contents(key))
            })
        }
        Source::Path(path) => {
            let directory = Directory::list(path)?;
            let name = directory.name();
            let place = directory.root().as_os_str().as_encoded_bytes();
            let file = cache.file(&name, place);
            let key = key(&directory.identity());
            open_or(&file, key, || {
                let (files, ignored) = recognise::read(&directory)?;
                let parts = recognise::parse(&files)?;
                let mut contents = pair::assemble(&directory, &files, &parts, key)?;
                contents.ignored = ignored;
                cache.write(&file, &contents)
            })
        }
        Source::Imported(name) => {
            let mut found = cache.datasets()?;
            found.retain(|dataset| dataset.name() == name);
            match found.len() {
                1 => {
                    let dataset = found.remove(0);
                    let verified = dataset.verify();
                    verified.map_err(|malformed| malformed.at(&cache.directory.join(name)))?;
                    Ok(dataset)
                }
                0 => {
                    let mut known = vec![Source::GLYPHS.to_owned()];
                    known.extend(cache.datasets()?.iter().map(|d| d.name().to_owned()));
                    known.sort();
                    known.dedup();
                    Err(Error::Unknown {
                        name: name.clone(),
                        known,
                    })
                }
                _ => {
                    let places: Vec<_> = found.iter().map(Dataset::source).collect();
                    Err(Error::Conflict {
                        path: cache.directory.clone(),
                        reason: format!(
                            "{name:?} names {} datasets, say which: {}",
                            found.len(),
                            places.join(", ")
                        ),
                    })
                }
            }
        }
    }
}

/// The file at `path`, where it is whole and has this key; otherwise the one `import` writes.
fn open_or(
    path: &Path,
    key: [u8; 16],
    import: impl FnOnce() -> Result<(), Error>,
) -> Result<Dataset, Error> {
    // A missing, damaged or outdated file is not an error here: it is written anew. All of it is
    // read and compared with its checksum, once for each opening: some milliseconds for MNIST.
    if let Ok(dataset) = Dataset::open_file(path)
        && dataset.key() == key
        && dataset.verify().is_ok()
    {
        return Ok(dataset);
    }
    import()?;
    Dataset::open_file(path)
}

/// The greatest label plus one; `None` without labels.
pub(crate) fn classes(splits: &[Pieces<'_>; 3]) -> Option<u32> {
    let labels = splits.iter().flat_map(|split| &split.labels);
    labels
        .flat_map(|labels| labels.iter())
        .max()
        .map(|&greatest| u32::from(greatest) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &[(&str, &str)]) -> Option<PathBuf> {
        let set: Vec<_> = set
            .iter()
            .map(|&(k, v)| (k.to_owned(), OsString::from(v)))
            .collect();
        locate(|name| set.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn the_first_of_three_places_that_is_set_wins() {
        let home = ("HOME", "/home/a");
        let xdg = ("XDG_CACHE_HOME", "/var/x");
        assert_eq!(
            with(&[home, xdg, ("GENZOO_CACHE", "/c")]).unwrap(),
            Path::new("/c")
        );
        assert_eq!(with(&[home, xdg]).unwrap(), Path::new("/var/x/genzoo"));
        assert_eq!(with(&[home]).unwrap(), Path::new("/home/a/.cache/genzoo"));
        let relative = [home, ("XDG_CACHE_HOME", "x"), ("GENZOO_CACHE", "")];
        assert_eq!(with(&relative).unwrap(), Path::new("/home/a/.cache/genzoo"));
        assert_eq!(with(&[]), None);
    }
}
