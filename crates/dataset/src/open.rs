//! An opened dataset and the views of its splits.

use std::fmt;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Malformed};
use crate::image::{ImageShape, Split};
use crate::store::{self, Contents, Layout, Pieces};
use crate::{Cache, Source, map};

/// Images and, where there are any, their labels, in three splits. Cheap to share between threads
/// by reference.
pub struct Dataset {
    bytes: Bytes,
    layout: Layout,
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// One split for [`Dataset::in_memory`]: `pixels` holds whole images in HWC order, `labels` one
/// byte an image or nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Examples<'a> {
    /// Whole images, one behind the other.
    pub pixels: &'a [u8],
    /// One label an image, or none at all.
    pub labels: Option<&'a [u8]>,
}

impl Dataset {
    /// Open `source`: map its file in `cache`, after importing it where that has not been done or
    /// the source has changed since.
    ///
    /// # Errors
    /// Where the source or the cache cannot be read or written, or a file is not what it claims.
    pub fn open(source: &Source, cache: &Cache) -> Result<Dataset, Error> {
        crate::cache::open(source, cache)
    }

    /// Map one file of the workspace's own format, as the cache holds them.
    ///
    /// # Errors
    /// Where the file cannot be mapped, or its header or a label is at fault.
    pub fn open_file(path: &Path) -> Result<Dataset, Error> {
        let map = map::map(path)?;
        Dataset::new(Bytes::Mapped(map)).map_err(|malformed| malformed.at(path))
    }

    /// Take the bytes of a file of the workspace's own format.
    ///
    /// # Errors
    /// Where the header or a label is at fault.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Dataset, Malformed> {
        Dataset::new(Bytes::Owned(bytes))
    }

    /// A dataset of bytes in memory, without a file; `splits` are train, valid, test.
    ///
    /// The number of classes is the greatest label plus one. Labels must be given for every split
    /// that has images, or for none.
    ///
    /// # Errors
    /// Where `levels` is neither 2 nor 256, pixels are not whole images, a pixel is not below
    /// `levels`, or labels are missing or of another number than the images; the offset counts
    /// bytes of the split.
    pub fn in_memory(
        name: &str,
        shape: ImageShape,
        levels: u32,
        splits: [Examples<'_>; 3],
    ) -> Result<Dataset, Malformed> {
        let image = shape
            .checked_len()
            .ok_or_else(|| Malformed::new(0, "an image with pixels", shape.to_string()))?;
        let labelled = splits.iter().any(|split| split.labels.is_some());
        let mut pieces = <[Pieces<'_>; 3]>::default();
        for (split, pieces) in splits.iter().zip(&mut pieces) {
            let bytes = split.pixels.len();
            if bytes % image != 0 {
                let expected = format!("whole images of {image} bytes");
                return Err(Malformed::new(
                    (bytes - bytes % image) as u64,
                    expected,
                    format!("{} bytes", bytes % image),
                ));
            }
            if let Some(k) = split.pixels.iter().position(|&p| u32::from(p) >= levels) {
                let expected = format!("a pixel below {levels}");
                return Err(Malformed::new(
                    k as u64,
                    expected,
                    split.pixels[k].to_string(),
                ));
            }
            let labels = split.labels.unwrap_or_default();
            pieces.count = bytes / image;
            if labelled && labels.len() != pieces.count {
                let expected = format!("{} labels", pieces.count);
                return Err(Malformed::new(0, expected, labels.len().to_string()));
            }
            pieces.pixels.push(split.pixels);
            pieces.labels.push(labels);
        }
        let contents = Contents {
            name: name.to_owned(),
            source: "memory".to_owned(),
            key: [0; 16],
            shape,
            levels,
            classes: crate::cache::classes(&pieces),
            splits: pieces,
            ignored: Vec::new(),
        };
        let mut bytes = Vec::new();
        let written: Result<(), std::convert::Infallible> = contents.write(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        let Ok(()) = written;
        Dataset::from_bytes(bytes)
    }

    fn new(bytes: Bytes) -> Result<Dataset, Malformed> {
        let layout = store::layout(&bytes)?;
        layout.check_labels(&bytes)?;
        Ok(Dataset { bytes, layout })
    }

    /// The lines of the note.
    fn note(&self) -> std::str::Split<'_, char> {
        let note = std::str::from_utf8(&self.bytes[self.layout.note.clone()]);
        let note = note.expect("the note was checked when the file was opened");
        note.split('\n')
    }

    pub(crate) fn key(&self) -> [u8; 16] {
        self.layout.key
    }

    /// What the dataset is called: `glyphs`, or the name of the directory it came from.
    pub fn name(&self) -> &str {
        self.note().next().unwrap_or_default()
    }

    /// Where it was imported from.
    pub fn source(&self) -> &str {
        self.note().nth(1).unwrap_or_default()
    }

    /// Names of files beside the data that begin like data and are none.
    pub fn ignored(&self) -> impl Iterator<Item = &str> {
        self.note().skip(2)
    }

    /// Height, width and channels of every image.
    pub fn shape(&self) -> ImageShape {
        self.layout.shape
    }

    /// Values a pixel takes, 0..levels: 256 for grey and colour, 2 for binary data; no others.
    pub fn levels(&self) -> u32 {
        self.layout.levels
    }

    /// Number of classes (every label is below it), or `None` without labels.
    pub fn classes(&self) -> Option<u32> {
        self.layout.classes
    }

    /// True where the data have two levels as they stand, so that binarisation changes nothing.
    pub fn is_binary(&self) -> bool {
        self.layout.levels == 2
    }

    /// The examples of one split; possibly none.
    pub fn split(&self, split: Split) -> View<'_> {
        let section = &self.layout.splits[split as usize];
        View {
            pixels: &self.bytes[section.pixels.clone()],
            labels: self
                .layout
                .classes
                .map(|_| &self.bytes[section.labels.clone()]),
            count: section.count,
            length: self.layout.shape.len(),
            shape: self.layout.shape,
            levels: self.layout.levels,
            split,
        }
    }

    /// The checksum of all pixels and labels that was written at import: data that differ in it
    /// are different; the name and the place do not enter.
    pub fn fingerprint(&self) -> u64 {
        self.layout.payload_checksum
    }

    /// Read everything and compare it with the checksum that was written at import.
    ///
    /// # Errors
    /// Where a bit has changed since.
    pub fn verify(&self) -> Result<(), Malformed> {
        self.layout.check_payload(&self.bytes)
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.name())
            .field("shape", &self.shape())
            .field("levels", &self.levels())
            .field("classes", &self.classes())
            .field("lengths", &Split::ALL.map(|split| self.split(split).len()))
            .finish()
    }
}

/// The examples of one split. A copy of it is a few words.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pixels: &'a [u8],
    labels: Option<&'a [u8]>,
    count: usize,
    length: usize,
    shape: ImageShape,
    levels: u32,
    split: Split,
}

impl<'a> View<'a> {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True where there is no example.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The levels of image `index`: height · width · channels bytes in HWC order, each below
    /// [`levels`](View::levels). What categorical pixel models read.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    #[track_caller]
    pub fn image(&self, index: usize) -> &'a [u8] {
        assert!(
            index < self.count,
            "image {index} of the {} split, which has {}",
            self.split,
            self.count
        );
        &self.pixels[index * self.length..][..self.length]
    }

    /// All levels of the split, image behind image.
    pub fn pixels(&self) -> &'a [u8] {
        self.pixels
    }

    /// The class of example `index`, or `None` where the dataset has no labels.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    #[track_caller]
    pub fn label(&self, index: usize) -> Option<u32> {
        assert!(
            index < self.count,
            "label {index} of the {} split, which has {}",
            self.split,
            self.count
        );
        self.labels.map(|labels| u32::from(labels[index]))
    }

    /// True where every example has a label.
    pub fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// Height, width and channels of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Values a pixel takes, 0..levels.
    pub fn levels(&self) -> u32 {
        self.levels
    }

    /// Which split this is.
    pub fn split(&self) -> Split {
        self.split
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("split", &self.split)
            .field("len", &self.count)
            .field("shape", &self.shape)
            .field("levels", &self.levels)
            .finish()
    }
}
