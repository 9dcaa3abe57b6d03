//! The mapped file: the one form every format is imported into.
//!
//! All numbers are little-endian. A header of 256 bytes, then the sections.
//!
//! | offset | type | what |
//! |---|---|---|
//! | 0 | 8 bytes | magic `GENZOODS` |
//! | 8 | u32 | version, 1 |
//! | 12 | u32 × 5 | height, width, channels, levels, classes (0: no labels) |
//! | 32 | u64 × 9 | for train, valid, test: count, offset of the pixels, offset of the labels |
//! | 104 | 16 bytes | key of the source, see `cache` |
//! | 120 | u64 × 2 | offset and length of the note (UTF-8 lines: name, source, files that were ignored) |
//! | 136 | u64 | length of the file |
//! | 144 | u64 | checksum of all pixels, then all labels |
//! | 152 | u64 | checksum of the note |
//! | 160 | 88 bytes | zero |
//! | 248 | u64 | checksum of the 248 bytes before |
//!
//! Pixels are one u8 a value in HWC order; labels are one u8 an example.

use std::ops::Range;

use crate::error::Malformed;
use crate::image::ImageShape;

const MAGIC: &[u8; 8] = b"GENZOODS";
const VERSION: u32 = 1;
/// Length of the header, and offset of the first section.
pub(crate) const HEADER: usize = 256;
const NOTE_LIMIT: u64 = 1 << 16;
/// A fuzzer cannot guess a checksum: built for one (cargo-fuzz sets this), none is asked for.
#[allow(unexpected_cfgs)]
const FUZZING: bool = cfg!(fuzzing);

/// What a header says, checked: every range lies inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: ImageShape,
    pub(crate) levels: u32,
    /// `None` where the dataset has no labels.
    pub(crate) classes: Option<u32>,
    pub(crate) splits: [Section; 3],
    pub(crate) key: [u8; 16],
    pub(crate) note: Range<usize>,
    /// Of pixels and labels alone: the same data under another name have the same.
    pub(crate) payload_checksum: u64,
}

/// Where one split lies in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Section {
    pub(crate) count: usize,
    pub(crate) pixels: Range<usize>,
    /// Empty where the dataset has no labels.
    pub(crate) labels: Range<usize>,
}

/// A dataset that is to be written: each split's bytes, possibly in several pieces.
#[derive(Debug, Clone)]
pub(crate) struct Contents<'a> {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) key: [u8; 16],
    pub(crate) shape: ImageShape,
    pub(crate) levels: u32,
    pub(crate) classes: Option<u32>,
    pub(crate) splits: [Pieces<'a>; 3],
    /// Names of files beside the data that are none.
    pub(crate) ignored: Vec<String>,
}

/// The bytes of a split: `pixels` holds `count` images, `labels` nothing or `count` bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pieces<'a> {
    pub(crate) count: usize,
    pub(crate) pixels: Vec<&'a [u8]>,
    pub(crate) labels: Vec<&'a [u8]>,
}

impl<'a> Contents<'a> {
    fn note(&self) -> String {
        let name = self.name.replace(['\n', '\r'], " ");
        let mut note = format!("{name}\n{}", self.source.replace('\n', " "));
        for name in &self.ignored {
            note += &format!("\n{}", name.replace(['\n', '\r'], " "));
        }
        let mut end = note.len().min(NOTE_LIMIT as usize);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note
    }

    /// The sections in the order in which they lie in the file.
    fn sections(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let pixels = self.splits.iter().flat_map(|split| &split.pixels);
        let labels = self.splits.iter().flat_map(|split| &split.labels);
        pixels.chain(labels).copied()
    }

    /// Hand the file to `write`, front to back.
    pub(crate) fn write<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let note = self.note();
        let mut sum = Checksum::new();
        self.sections().for_each(|bytes| sum.add(bytes));

        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        let shape = self.shape;
        let numbers = [
            VERSION,
            shape.height as u32,
            shape.width as u32,
            shape.channels as u32,
            self.levels,
            self.classes.unwrap_or(0),
        ];
        for number in numbers {
            header.extend_from_slice(&number.to_le_bytes());
        }
        let mut put = |n: u64| header.extend_from_slice(&n.to_le_bytes());
        let length = |pieces: &[&[u8]]| pieces.iter().map(|p| p.len() as u64).sum::<u64>();
        let all_pixels: u64 = self.splits.iter().map(|s| length(&s.pixels)).sum();
        let mut pixels = HEADER as u64;
        let mut labels = pixels + all_pixels;
        for split in &self.splits {
            put(split.count as u64);
            put(pixels);
            put(labels);
            pixels += length(&split.pixels);
            labels += length(&split.labels);
        }
        header.extend_from_slice(&self.key);
        let mut put = |n: u64| header.extend_from_slice(&n.to_le_bytes());
        put(labels);
        put(note.len() as u64);
        put(labels + note.len() as u64);
        put(sum.finish());
        put(checksum(note.as_bytes()));
        header.resize(HEADER - 8, 0);
        let header_sum = checksum(&header);
        header.extend_from_slice(&header_sum.to_le_bytes());

        write(&header)?;
        self.sections().try_for_each(&mut write)?;
        write(note.as_bytes())
    }
}

/// Check a header against the length of its file. O(1): reads the header only.
pub(crate) fn layout(file: &[u8]) -> Result<Layout, Malformed> {
    let header = file.get(..HEADER).ok_or_else(|| {
        let expected = format!("a dataset of at least {HEADER} bytes");
        Malformed::new(file.len() as u64, expected, "the end of the file")
    })?;
    if !header.starts_with(MAGIC) {
        let found = format!("{:02x?}", &header[..8]);
        return Err(Malformed::new(0, "the magic GENZOODS", found));
    }
    let u32_at = |at| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if u32_at(8) != VERSION {
        let found = format!("version {}", u32_at(8));
        return Err(Malformed::new(8, format!("version {VERSION}"), found));
    }
    let (stated, actual) = (u64_at(HEADER - 8), checksum(&header[..HEADER - 8]));
    if stated != actual && !FUZZING {
        let expected = format!("checksum {actual:016x} of the header");
        let found = format!("{stated:016x}");
        return Err(Malformed::new(HEADER as u64 - 8, expected, found));
    }
    if u64_at(136) != file.len() as u64 {
        let expected = format!("a file of {} bytes", u64_at(136));
        return Err(Malformed::new(136, expected, format!("{}", file.len())));
    }

    let shape = ImageShape {
        height: u32_at(12) as usize,
        width: u32_at(16) as usize,
        channels: u32_at(20) as usize,
    };
    let image = shape.checked_len().ok_or_else(|| {
        let found = format!("{} {} {}", shape.height, shape.width, shape.channels);
        Malformed::new(12, "height, width and channels above 0", found)
    })?;
    let (levels, classes) = (u32_at(24), u32_at(28));
    if levels != 2 && levels != 256 {
        return Err(Malformed::new(24, "2 or 256 levels", levels.to_string()));
    }
    if classes > 256 {
        let found = classes.to_string();
        return Err(Malformed::new(28, "at most 256 classes", found));
    }
    // A range of `count * size` bytes at the offset that stands at `at`.
    let range = |at: usize, count: u64, size: usize| -> Result<Range<usize>, Malformed> {
        let start = usize::try_from(u64_at(at)).ok();
        let length = usize::try_from(count)
            .ok()
            .and_then(|n| n.checked_mul(size));
        start
            .zip(length)
            .and_then(|(start, length)| Some(start..start.checked_add(length)?))
            .filter(|range| range.start >= HEADER && range.end <= file.len())
            .ok_or_else(|| {
                let expected = format!("a section inside the file's {} bytes", file.len());
                let found = format!("{count} x {size} bytes at {}", u64_at(at));
                Malformed::new(at as u64, expected, found)
            })
    };
    let mut splits = <[Section; 3]>::default();
    for (k, section) in splits.iter_mut().enumerate() {
        let at = 32 + 24 * k;
        let count = u64_at(at);
        if count > u64::from(u32::MAX) {
            let found = count.to_string();
            return Err(Malformed::new(at as u64, "fewer than 2^32 images", found));
        }
        *section = Section {
            count: count as usize,
            pixels: range(at + 8, count, image)?,
            labels: range(at + 16, count, usize::from(classes > 0))?,
        };
    }
    if u64_at(128) > NOTE_LIMIT {
        let expected = format!("a note of at most {NOTE_LIMIT} bytes");
        return Err(Malformed::new(128, expected, u64_at(128).to_string()));
    }
    let note = range(120, u64_at(128), 1)?;
    let (stated, actual) = (u64_at(152), checksum(&file[note.clone()]));
    if stated != actual && !FUZZING {
        let expected = format!("checksum {stated:016x} of the note");
        return Err(Malformed::new(
            note.start as u64,
            expected,
            format!("{actual:016x}"),
        ));
    }
    if let Err(error) = std::str::from_utf8(&file[note.clone()]) {
        let at = note.start + error.valid_up_to();
        return Err(Malformed::new(
            at as u64,
            "UTF-8",
            format!("{:#04x}", file[at]),
        ));
    }
    Ok(Layout {
        shape,
        levels,
        classes: (classes > 0).then_some(classes),
        splits,
        key: header[104..120].try_into().expect("sixteen bytes"),
        note,
        payload_checksum: u64_at(144),
    })
}

impl Layout {
    /// Every label is below the number of classes: O(examples), a byte each.
    pub(crate) fn check_labels(&self, file: &[u8]) -> Result<(), Malformed> {
        let Some(classes) = self.classes else {
            return Ok(());
        };
        for section in &self.splits {
            let labels = &file[section.labels.clone()];
            if let Some(k) = labels.iter().position(|&l| u32::from(l) >= classes) {
                let at = (section.labels.start + k) as u64;
                let found = labels[k].to_string();
                return Err(Malformed::new(
                    at,
                    format!("a label below {classes}"),
                    found,
                ));
            }
        }
        Ok(())
    }

    /// Pixels and labels are as they were written: reads them all.
    pub(crate) fn check_payload(&self, file: &[u8]) -> Result<(), Malformed> {
        let actual = checksum(&file[HEADER..self.note.start]);
        if actual != self.payload_checksum {
            let expected = format!(
                "checksum {:016x} of pixels and labels",
                self.payload_checksum
            );
            return Err(Malformed::new(
                HEADER as u64,
                expected,
                format!("{actual:016x}"),
            ));
        }
        Ok(())
    }
}

/// A 64-bit checksum against accidents (not against adversaries): words of eight bytes, each
/// folded in by xor, multiplication by an odd constant and rotation, then the number of bytes.
/// Every step is a bijection of the state, so a change confined to one word always shows.
struct Checksum {
    state: u64,
    pending: [u8; 8],
    length: u64,
}

impl Checksum {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn new() -> Self {
        Checksum {
            state: 0x243f_6a88_85a3_08d3,
            pending: [0; 8],
            length: 0,
        }
    }

    fn word(&mut self, word: [u8; 8]) {
        let folded = (self.state ^ u64::from_le_bytes(word)).wrapping_mul(Self::FACTOR);
        self.state = folded.rotate_left(29);
    }

    fn add(&mut self, mut bytes: &[u8]) {
        let filled = (self.length % 8) as usize;
        self.length += bytes.len() as u64;
        if filled > 0 {
            let take = bytes.len().min(8 - filled);
            self.pending[filled..filled + take].copy_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if filled + take < 8 {
                return;
            }
            self.word(self.pending);
        }
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|&word| self.word(word));
        self.pending[..rest.len()].copy_from_slice(rest);
    }

    fn finish(mut self) -> u64 {
        let filled = (self.length % 8) as usize;
        if filled > 0 {
            self.pending[filled..].fill(0);
            self.word(self.pending);
        }
        self.word(self.length.to_le_bytes());
        self.state ^ (self.state >> 32)
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = Checksum::new();
    sum.add(bytes);
    sum.finish()
}

/// A 128-bit key of some bytes, from two differently primed checksums.
pub(crate) fn key(bytes: &[u8]) -> [u8; 16] {
    let mut second = Checksum::new();
    second.add(b"genzoo\0\0");
    second.add(bytes);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&checksum(bytes).to_le_bytes());
    key[8..].copy_from_slice(&second.finish().to_le_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_does_not_depend_on_how_bytes_arrive() {
        let bytes: Vec<u8> = (0..100u8).collect();
        let whole = checksum(&bytes);
        for step in 1..20 {
            let mut sum = Checksum::new();
            bytes.chunks(step).for_each(|piece| sum.add(piece));
            assert_eq!(sum.finish(), whole, "pieces of {step}");
        }
    }

    #[test]
    fn any_flipped_bit_and_any_lost_byte_shows() {
        let bytes: Vec<u8> = (0..67u8).map(|b| b.wrapping_mul(37)).collect();
        let whole = checksum(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&flipped), whole, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_ne!(checksum(&bytes[..length]), whole, "length {length}");
        }
    }

    fn small() -> Vec<u8> {
        let pieces = |count: usize| Pieces {
            count,
            pixels: vec![&[1, 0, 1, 1, 0, 0][..2 * count]],
            labels: vec![&[0, 2, 1][..count]],
        };
        let contents = Contents {
            name: "small".to_owned(),
            source: "test".to_owned(),
            key: [7; 16],
            shape: ImageShape {
                height: 1,
                width: 2,
                channels: 1,
            },
            levels: 2,
            classes: Some(3),
            splits: [pieces(3), pieces(0), pieces(2)],
            ignored: Vec::new(),
        };
        let mut bytes = Vec::new();
        let written: Result<(), ()> = contents.write(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        written.unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = small();
        let layout = layout(&bytes).unwrap();
        assert_eq!(
            (layout.levels, layout.classes, layout.key),
            (2, Some(3), [7; 16])
        );
        assert_eq!(layout.splits.each_ref().map(|s| s.count), [3, 0, 2]);
        assert_eq!(bytes[layout.splits[2].pixels.clone()], [1, 0, 1, 1]);
        assert_eq!(bytes[layout.splits[0].labels.clone()], [0, 2, 1]);
        assert_eq!(&bytes[layout.note.clone()], b"small\ntest");
        layout.check_labels(&bytes).unwrap();
        layout.check_payload(&bytes).unwrap();
    }

    proptest::proptest! {
        /// A header with the right checksum may still say anything: all of it is checked.
        #[test]
        fn a_sealed_header_is_refused_or_all_it_says_is_there(
            fields in proptest::collection::vec((1..31usize, proptest::num::u64::ANY, 0..64u32), 0..4),
        ) {
            let mut bytes = small();
            for (field, value, shift) in fields {
                bytes[8 * field..8 * field + 8].copy_from_slice(&(value >> shift).to_le_bytes());
            }
            let sum = checksum(&bytes[..HEADER - 8]);
            bytes[HEADER - 8..HEADER].copy_from_slice(&sum.to_le_bytes());
            if let Ok(layout) = layout(&bytes) {
                let image = layout.shape.len();
                for section in &layout.splits {
                    assert_eq!(bytes[section.pixels.clone()].len(), section.count * image);
                    let each = usize::from(layout.classes.is_some());
                    assert_eq!(bytes[section.labels.clone()].len(), section.count * each);
                }
                let _ = layout.check_labels(&bytes);
                let _ = layout.check_payload(&bytes);
            }
        }
    }
}
