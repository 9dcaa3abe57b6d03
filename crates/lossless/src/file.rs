//! The layout of an archive: bytes that nobody has vouched for.

use super::LANE;
use super::error::Error;
use super::rans::Shares;
use nn::model::ImageSpec;

pub(super) const MAGIC: &[u8; 4] = b"GZLL";
pub(super) const VERSION: u8 = 3;
/// The fewest bytes of a text.
const SHORTEST: usize = 8;

/// A file's header, and where its texts are.
#[derive(Debug)]
pub struct Archive<'a> {
    /// What comes before the checksum.
    pub(super) head: &'a [u8],
    pub(super) isa: &'a str,
    pub(super) model: u64,
    pub(super) probabilities: u64,
    pub(super) spec: ImageSpec,
    pub(super) classes: Option<usize>,
    pub(super) count: usize,
    pub(super) members: usize,
    note: &'a [u8],
    pub(super) checksum: u64,
    pub(super) texts: Vec<&'a [u8]>,
}

impl<'a> Archive<'a> {
    /// Reads the header. Never panics, whatever the bytes are, and takes no more memory than they
    /// do.
    ///
    /// # Errors
    /// If they are not an archive of this version, or end too early or too late.
    pub fn parse(bytes: &'a [u8]) -> Result<Archive<'a>, Error> {
        let mut input = Input { bytes, at: 0 };
        let magic = input.take(MAGIC.len(), "the magic GZLL")?;
        if magic != MAGIC {
            let found = format!("\"{}\"", magic.escape_ascii());
            return Err(malformed(0, "the magic GZLL", found));
        }
        let version = input.take(1, "a version")?[0];
        if version != VERSION {
            return Err(malformed(
                4,
                format!("version {VERSION}"),
                version.to_string(),
            ));
        }
        let at = input.at;
        let isa = std::str::from_utf8(input.lengthy("the name of an instruction set")?)
            .map_err(|_| malformed(at, "the name of an instruction set", "no text"))?;
        let model = input.word("the hash of a model")?;
        let probabilities = input.word("the hash of probabilities")?;
        let at = input.at;
        let mut numbers = [0; 7];
        for number in &mut numbers {
            *number = input.number("a size of images")?;
        }
        let [height, width, channels, levels, classes, count, members] = numbers;
        let dims = [height, width, channels]
            .into_iter()
            .try_fold(1usize, usize::checked_mul);
        let sizes = dims.and_then(|dims| dims.checked_mul(count));
        if sizes.is_none_or(|n| n == 0) || !(2..=256).contains(&levels) || classes > Shares::MOST {
            let found = format!("{count} of {height}x{width}x{channels}, {levels} levels");
            return Err(malformed(at, "images of 2 to 256 levels", found));
        }
        if members == 0 {
            return Err(malformed(at, "at least one density", "none"));
        }
        let note = input.lengthy("a note")?;
        let head = &bytes[..input.at];
        let checksum = input.word("a checksum")?;
        let lanes = count.div_ceil(LANE);
        if lanes > (bytes.len() - input.at) / (SHORTEST + 1) {
            let found = format!("{} bytes", bytes.len() - input.at);
            return Err(malformed(input.at, format!("{lanes} texts"), found));
        }
        let texts: Result<Vec<_>, _> = (0..lanes).map(|_| input.lengthy("a text")).collect();
        let texts = texts?;
        if input.at < bytes.len() {
            let found = format!("{} more bytes", bytes.len() - input.at);
            return Err(malformed(input.at, "the end", found));
        }
        Ok(Archive {
            head,
            isa,
            model,
            probabilities,
            spec: ImageSpec::new(height, width, channels, levels),
            classes: Some(classes).filter(|&n| n > 0),
            count,
            members,
            note,
            checksum,
            texts,
        })
    }

    /// How many images it holds.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many densities the model's likelihood is a mixture of: the images are coded by the
    /// first of them. 1 for most models.
    pub fn members(&self) -> usize {
        self.members
    }

    /// What the writer noted.
    pub fn note(&self) -> &'a [u8] {
        self.note
    }
}

fn malformed(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Malformed {
        offset,
        expected: expected.into(),
        found: found.into(),
    }
}

/// A number, 7 bits a byte.
pub(super) fn put_number(out: &mut Vec<u8>, mut n: usize) {
    while n >= 128 {
        out.push(n as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Bytes and how many they are.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.extend(bytes);
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], Error> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else {
            let expected = format!("{what} of {count} bytes");
            return Err(malformed(
                self.at,
                expected,
                format!("{} bytes", rest.len()),
            ));
        };
        self.at += count;
        Ok(taken)
    }

    fn word(&mut self, what: &str) -> Result<u64, Error> {
        let bytes = self.take(8, what)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte)))
    }

    /// A number in as few bytes as it takes.
    fn number(&mut self, what: &str) -> Result<usize, Error> {
        let (at, mut n) = (self.at, 0u64);
        for shift in (0..35).step_by(7) {
            let byte = self.take(1, what)?[0];
            n |= u64::from(byte & 127) << shift;
            if byte < 128 {
                let shortest = shift == 0 || byte > 0;
                let n = usize::try_from(n).ok().filter(|_| shortest);
                return n.ok_or_else(|| malformed(at, what, "a number that is too long"));
            }
        }
        Err(malformed(at, what, "a number of more than 35 bits"))
    }

    fn lengthy(&mut self, what: &str) -> Result<&'a [u8], Error> {
        let count = self.number(what)?;
        self.take(count, what)
    }
}
