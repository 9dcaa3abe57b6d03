//! The file formats: one module each, one entry of [`FORMATS`] each. Import, tests and fuzz
//! targets loop over the table.

use std::borrow::Cow;

use crate::error::Malformed;
use crate::gz;
use crate::image::ImageShape;

mod amat;
mod cifar10;
mod idx;

/// A file format. Every function takes decompressed bytes and never panics, whatever they are.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Short name: `idx`.
    pub name: &'static str,
    /// One line for a person.
    pub about: &'static str,
    /// Whether a file that begins with these bytes ([`HEAD`] of them, or the whole file where it
    /// is shorter) is of this format.
    pub sniff: fn(&[u8]) -> bool,
    /// Whether files of this format begin as no others do: then one that parses is one.
    pub magic: bool,
    /// Whether a file of this name (in lower case, without `.gz`) should be of this format, so
    /// that one which is not is reported and not passed over.
    pub named: fn(&str) -> bool,
    /// The most bytes that a valid file with this beginning has: no more is ever decompressed.
    pub bound: fn(&[u8]) -> u64,
    /// What the file holds.
    pub parse: for<'a> fn(&'a [u8]) -> Result<Part<'a>, Malformed>,
    /// A file that holds these images: what `parse` reads from it are they. Images that the format
    /// cannot hold give a file that reads as others, or not at all.
    pub write: fn(&Images<'_>) -> Vec<u8>,
    /// Whether a split may come in several files, which are joined in the order of their names.
    pub many: bool,
    /// Where there is no validation split of its own: one in so many training images, rounded
    /// to the nearest, taken from the end.
    pub valid_share: usize,
}

impl Format {
    /// The bytes to parse of a file with these bytes: decompressed where it is gzip, up to one
    /// byte more than `bound` allows, so that `parse` can tell that there is too much.
    ///
    /// # Errors
    /// Where the file is gzip and its stream is broken; the offset counts decompressed bytes.
    pub fn unpack(&self, file: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        if gz::is_gz(&file) {
            gz::decompress(&file[..], self.bound)
        } else {
            Ok(file)
        }
    }
}

/// Every format, in the order in which they are tried.
pub const FORMATS: &[Format] = &[idx::FORMAT, amat::FORMAT, cifar10::FORMAT];

/// Bytes of a file that `sniff` and `bound` are given, where the file has them.
pub const HEAD: usize = 16 * 1024;

/// What one file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// Images, perhaps with their labels.
    Images(Images<'a>),
    /// Labels of images that are in another file.
    Labels(Cow<'a, [u8]>),
}

/// `count` images; `pixels` has `count` · height · width · channels bytes in HWC order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images<'a> {
    /// Height, width, channels.
    pub shape: ImageShape,
    /// Every pixel is below it.
    pub levels: u32,
    /// Number of images, at least one.
    pub count: usize,
    /// The images, one behind the other.
    pub pixels: Cow<'a, [u8]>,
    /// One label an image, where the format has them in the same file.
    pub labels: Option<Vec<u8>>,
}
