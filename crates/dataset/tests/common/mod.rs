//! Small files of every format, and a place to put them.
#![allow(dead_code)] // Each test binary uses its own part of this.

use std::io::Write;
use std::path::{Path, PathBuf};

use dataset::{Cache, Dataset, Error, Source};
use flate2::Compression;
use flate2::write::GzEncoder;

/// A directory with files, and a cache, both gone with it.
pub(crate) struct Place {
    root: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            root: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn with(files: &[(&str, &[u8])]) -> Place {
        let place = Place::new();
        files
            .iter()
            .for_each(|(name, bytes)| place.put(name, bytes));
        place
    }

    pub(crate) fn data(&self) -> PathBuf {
        let data = self.root.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        data
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.data().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.root.path().join("cache"))
    }

    pub(crate) fn open(&self) -> Result<Dataset, Error> {
        self.open_at(&self.data())
    }

    pub(crate) fn open_at(&self, path: &Path) -> Result<Dataset, Error> {
        Dataset::open(&Source::Path(path.to_owned()), &self.cache())
    }

    /// The message of a directory that cannot be opened: one line.
    pub(crate) fn complaint(&self) -> String {
        let message = self.open().unwrap_err().to_string();
        assert!(!message.contains('\n'), "more than one line: {message:?}");
        message
    }
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An IDX file with these dimensions, whatever its body.
pub(crate) fn idx(dims: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(body);
    bytes
}

/// `count` grey images of 2x3, each pixel telling where it is; `first` begins the count.
pub(crate) fn idx_images(count: u32, first: u8) -> Vec<u8> {
    let body: Vec<u8> = (0..count * 6)
        .map(|k| first.wrapping_add(k as u8))
        .collect();
    idx(&[count, 2, 3], &body)
}

pub(crate) fn idx_labels(labels: &[u8]) -> Vec<u8> {
    idx(&[labels.len() as u32], labels)
}

/// The four files of MNIST, in small: 12 for training, 4 for the test.
pub(crate) fn mnist() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("train-images-idx3-ubyte", idx_images(12, 0)),
        (
            "train-labels-idx1-ubyte",
            idx_labels(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]),
        ),
        ("t10k-images-idx3-ubyte", idx_images(4, 100)),
        ("t10k-labels-idx1-ubyte", idx_labels(&[3, 2, 1, 0])),
    ]
}

/// Records of CIFAR-10 with these labels: red, green, blue planes of label, 100, 200.
pub(crate) fn cifar(labels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &label in labels {
        bytes.push(label);
        for value in [label, 100, 200] {
            bytes.extend([value; 1024]);
        }
    }
    bytes
}
