//! The one place where a file becomes memory, and the only unsafe code of the crate.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, io};

/// Map the whole of a file, read-only.
pub(crate) fn map(path: &Path) -> Result<Mmap, Error> {
    let file = File::open(path).map_err(io(path, "open"))?;
    // SAFETY: the bytes of a map must not change while it lives. The files mapped here belong to
    // the cache: they are written under another name, synced, and only then renamed into place;
    // nothing in this crate ever writes to or truncates a file that has its final name, and a
    // replacement is a new file (the old one lives on behind the maps that hold it). Only another
    // program that edits the cache in place could break this, which the README forbids. The map
    // is read as plain bytes, every value of which is valid.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) };
    map.map_err(io(path, "map"))
}
