//! The directory of a run: which files it has, and how they are written.

use crate::error::{Error, io};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The place of a run's files.
///
/// | file | what |
/// |---|---|
/// | `config.toml` | the resolved configuration: [`Config`](crate::Config) |
/// | `metrics.jsonl` | a line an event: [`Event`](crate::Event) |
/// | `checkpoint.safetensors` | everything that is needed to go on |
/// | `best.safetensors` | the parameters that were best on the validation split |
/// | `samples.png`, `reconstructions.png` | pictures, written by the command |
///
/// A file is written beside its place, synced and renamed, so it is there whole or not at all.
/// Only `metrics.jsonl` grows in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the directory, with those above it, for a new run.
    ///
    /// # Errors
    /// If it cannot be made or written to, or holds a run already.
    pub fn create(path: &Path) -> Result<RunDir, Error> {
        let dir = RunDir {
            path: path.to_owned(),
        };
        if dir.config().exists() || dir.checkpoint().exists() {
            return Err(Error::Exists { path: dir.path });
        }
        fs::create_dir_all(path).map_err(io(path, "create the directory"))?;
        // Better to hear it now than at the first checkpoint.
        tempfile::tempfile_in(path).map_err(io(path, "write to the directory"))?;
        Ok(dir)
    }

    /// Makes the first directory of `name`, `name-2`, `name-3`, ... under `parent` that is not
    /// there yet.
    ///
    /// # Errors
    /// If it cannot be made or written to.
    pub fn create_unused(parent: &Path, name: &str) -> Result<RunDir, Error> {
        fs::create_dir_all(parent).map_err(io(parent, "create the directory"))?;
        let mut path = parent.join(name);
        let mut count = 1;
        loop {
            match fs::create_dir(&path) {
                Ok(()) => return RunDir::create(&path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    count += 1;
                    path = parent.join(format!("{name}-{count}"));
                }
                Err(error) => return Err(io(&path, "create the directory")(error)),
            }
        }
    }

    /// The directory of a run that has begun.
    ///
    /// # Errors
    /// If there is no such directory or no run in it.
    pub fn open(path: &Path) -> Result<RunDir, Error> {
        let dir = RunDir {
            path: path.to_owned(),
        };
        let found = if dir.config().is_file() {
            return Ok(dir);
        } else if path.is_dir() {
            "a directory without config.toml"
        } else if path.exists() {
            "a file"
        } else {
            "nothing"
        };
        Err(Error::NoRun {
            path: dir.path,
            found: found.into(),
        })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.toml`.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `checkpoint.safetensors`.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    /// `best.safetensors`.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// `samples.png`.
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples.png")
    }

    /// `reconstructions.png`.
    pub fn reconstructions(&self) -> PathBuf {
        self.path.join("reconstructions.png")
    }
}

/// Replaces the file at `path` by one with these bytes: written under another name in the same
/// directory, synced, renamed. Whatever happens, the old file or the new one is there, whole.
///
/// # Errors
/// If a step fails; then the old file is untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    #[cfg(unix)]
    {
        // What any new file gets, less what the umask takes; temporary files are private instead.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(parent).map_err(io(path, "write"))?;
    file.write_all(bytes).map_err(io(path, "write"))?;
    file.as_file().sync_all().map_err(io(path, "sync"))?;
    file.persist(path)
        .map_err(|error| io(path, "replace")(error.error))?;
    // Makes the rename itself durable. Some systems cannot sync a directory; then a power cut may
    // bring back the old file, which is whole, too.
    if let Ok(parent) = File::open(parent) {
        let _ = parent.sync_all();
    }
    Ok(())
}

/// The bytes of a file.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(io(path, "read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("a/b");
        let dir = RunDir::create(&place).unwrap();
        write_whole(&dir.config(), b"").unwrap();
        let error = RunDir::create(&place).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        assert_eq!(RunDir::open(&place).unwrap(), dir);
    }

    #[test]
    fn unused_names_are_counted_up() {
        let root = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..3)
            .map(|_| RunDir::create_unused(root.path(), "run").unwrap())
            .map(|dir| dir.path().file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["run", "run-2", "run-3"]);
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "text").unwrap();
        for error in [
            RunDir::create(&file).unwrap_err(),
            RunDir::create(&file.join("below")).unwrap_err(),
            RunDir::open(&file).unwrap_err(),
            write_whole(&file.join("below"), b"").unwrap_err(),
        ] {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert_eq!(fs::read(&file).unwrap(), b"text");
    }

    #[test]
    fn writing_leaves_nothing_beside_the_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
