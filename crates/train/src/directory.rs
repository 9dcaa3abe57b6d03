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
/// | `lock` | who writes here: locked while a process does |
/// | `samples.png`, `reconstructions.png` | pictures, written by the command |
///
/// A file is written beside its place, synced and renamed, so it is there whole or not at all.
/// Only `metrics.jsonl` grows in place. `config.toml` is the last file that a new run writes: it makes
/// the directory a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the directory, with those above it, for a new run, and locks it.
    ///
    /// # Errors
    /// If it cannot be made or written to, holds a run already, or is another process's.
    pub fn create(path: &Path) -> Result<(RunDir, Lock), Error> {
        let dir = RunDir {
            path: path.to_owned(),
        };
        if dir.config().exists() {
            return Err(Error::Exists { path: dir.path });
        }
        fs::create_dir_all(path).map_err(io(path, "create the directory"))?;
        let lock = Lock::take(&dir)?;
        // Another process may have made a run and ended since.
        if dir.config().exists() {
            return Err(Error::Exists { path: dir.path });
        }
        Ok((dir, lock))
    }

    /// Makes the first directory of `name`, `name-2`, `name-3`, ... under `parent` that is not
    /// there yet, or holds no more than a run that died before it began.
    ///
    /// # Errors
    /// If it cannot be made or written to.
    pub fn create_unused(parent: &Path, name: &str) -> Result<(RunDir, Lock), Error> {
        fs::create_dir_all(parent).map_err(io(parent, "create the directory"))?;
        let mut path = parent.join(name);
        let mut count = 1;
        loop {
            let free = match fs::create_dir(&path) {
                Ok(()) => true,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => is_abandoned(&path),
                Err(error) => return Err(io(&path, "create the directory")(error)),
            };
            if free {
                match RunDir::create(&path) {
                    Err(Error::Exists { .. } | Error::Locked { .. }) => {}
                    other => return other,
                }
            }
            count += 1;
            path = parent.join(format!("{name}-{count}"));
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
        } else if dir.checkpoint().is_file() {
            "one that was stopped before it began: `genzoo train --out` may begin it anew"
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

    /// Locks the directory for its one writer. Who only reads needs no lock.
    ///
    /// # Errors
    /// If another process writes there, or the lock cannot be made.
    pub fn lock(&self) -> Result<Lock, Error> {
        Lock::take(self)
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

    /// `lock`: who writes here.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// `reconstructions.png`.
    pub fn reconstructions(&self) -> PathBuf {
        self.path.join("reconstructions.png")
    }
}

/// How the name of a file begins that is still being written.
const WRITING: &str = ".writing-";

/// Whether a directory holds nothing but what a run leaves that died before it began.
fn is_abandoned(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else {
        return false;
    };
    entries.flatten().all(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        ["lock", "checkpoint.safetensors", "metrics.jsonl"].contains(&&*name)
            || name.starts_with(WRITING)
    })
}

/// The right to write into a run's directory. It ends with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    fn take(dir: &RunDir) -> Result<Lock, Error> {
        let path = dir.lock_file();
        let options = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let mut file = options.map_err(io(&path, "write"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let holder = holder
                    .trim()
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(80)
                    .collect();
                return Err(Error::Locked {
                    path: dir.path.clone(),
                    holder,
                });
            }
            Err(fs::TryLockError::Error(error)) => return Err(io(&path, "lock")(error)),
        }
        let holder = format!("process {}\n", std::process::id());
        let written = file
            .set_len(0)
            .and_then(|()| file.write_all(holder.as_bytes()));
        written.map_err(io(&path, "write"))?;
        // Nobody else writes here now, so these are of processes that died.
        if let Ok(entries) = fs::read_dir(&dir.path) {
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().starts_with(WRITING) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(Lock { _file: file })
    }
}

/// Replaces the file at `path` by one with these bytes: written under another name in the same
/// directory, synced, renamed. Whatever happens, the old file or the new one is there, whole. The
/// new file has the mode of the old one.
///
/// # Errors
/// If a step fails; then the old file is untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(WRITING);
    let old = fs::metadata(path).ok().map(|old| old.permissions());
    #[cfg(unix)]
    {
        // What any new file gets, less what the umask takes; temporary files are private instead.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(parent).map_err(io(path, "write"))?;
    file.write_all(bytes).map_err(io(path, "write"))?;
    if let Some(permissions) = old.filter(|permissions| !permissions.readonly()) {
        // Refused on some file systems; the file is whole all the same.
        let _ = file.as_file().set_permissions(permissions);
    }
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

/// The bytes of a regular file: a device may never end, and a pipe may never begin.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let found = fs::metadata(path).map_err(io(path, "read"))?;
    if !found.is_file() {
        let error = std::io::Error::new(ErrorKind::InvalidInput, "not a regular file");
        return Err(io(path, "read")(error));
    }
    fs::read(path).map_err(io(path, "read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("a/b");
        let (dir, lock) = RunDir::create(&place).unwrap();
        write_whole(&dir.config(), b"").unwrap();
        let error = RunDir::create(&place).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        let error = dir.lock().unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        drop(lock);
        dir.lock().unwrap();
        assert_eq!(RunDir::open(&place).unwrap(), dir);
    }

    #[test]
    fn unused_names_are_counted_up() {
        let root = tempfile::tempdir().unwrap();
        let held: Vec<_> = (0..3)
            .map(|_| RunDir::create_unused(root.path(), "run").unwrap())
            .collect();
        let names: Vec<_> = held
            .iter()
            .map(|(dir, _)| dir.path().file_name().unwrap())
            .collect();
        assert_eq!(names, ["run", "run-2", "run-3"]);
        // The second has begun, the others died before.
        write_whole(&held[1].0.config(), b"").unwrap();
        fs::write(held[2].0.path().join("notes.txt"), "mine").unwrap();
        fs::write(held[0].0.path().join(".writing-abc"), "half").unwrap();
        drop(held);
        let again = |name| {
            let (dir, lock) = RunDir::create_unused(root.path(), "run").unwrap();
            assert_eq!(dir.path().file_name().unwrap(), name);
            lock
        };
        let _held = [again("run"), again("run-4")];
        assert!(!root.path().join("run/.writing-abc").exists());
        assert!(root.path().join("run-3/notes.txt").exists());
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
