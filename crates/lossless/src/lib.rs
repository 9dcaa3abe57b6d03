#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]
//!
//! # The file
//!
//! ```text
//! magic, version | instruction set | model | probabilities | H W C, levels, classes, count |
//! densities of the mixture, of which the first codes | note | checksum
//! for each lane of 256 images: length, then its classes and levels as one text of the coder
//! ```
//!
//! A reader must compute the very probabilities that the writer did, to the last bit. So a file
//! names the weights (by a hash) and the instruction set, and is refused where they are others; the
//! number of threads does not matter. It also holds a hash of all probabilities along one made-up
//! image: another version of the kernels may add in another order, and shows here before a single
//! level is read wrongly. Numbers are little-endian or, where small, of 7 bits a byte.

mod error;
mod file;
mod rans;

pub use error::Error;
pub use file::Archive;
use file::{MAGIC, VERSION, put_bytes, put_number};

use grad::kernels::Isa;
use nn::Params;
use nn::model::{Coder, ImageSpec, Model};
use nn::random::{mix, word};
use rans::{Interval, Reader, Shares};
use rayon::prelude::*;

/// Images of one text. Texts are written and read side by side, and each costs about 6 bytes.
const LANE: usize = 256;
/// Images of a lane that walk together.
const TOGETHER: usize = 32;

/// Images as an archive holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// The level of each dimension: `[count, H, W, C]`.
    pub levels: Vec<u8>,
    /// The class of each image, for a conditional model; else empty.
    pub classes: Vec<u32>,
}

/// A model with its weights, ready to write and read files.
#[derive(Clone, Copy)]
pub struct Codec<'a> {
    model: &'a dyn Model,
    params: &'a Params<f32>,
    spec: ImageSpec,
    classes: Option<usize>,
    /// A hash of architecture and weights.
    hash: u64,
}

impl<'a> Codec<'a> {
    /// For images of this kind; nothing if the model has no [`Coder`]. `architecture` names what the
    /// probabilities depend on beside the weights.
    pub fn new(
        model: &'a dyn Model,
        params: &'a Params<f32>,
        spec: ImageSpec,
        architecture: &str,
    ) -> Option<Codec<'a>> {
        model.coder()?;
        let param = |hash: u64, param: &nn::params::Param<f32>| {
            let shape = param.value.shape().iter().map(|&extent| extent as u64);
            let words: Vec<u64> = [hash, word(&param.name)].into_iter().chain(shape).collect();
            let data = param.value.data().iter();
            data.fold(mix(&words), |hash, x| step(hash, u64::from(x.to_bits())))
        };
        Some(Codec {
            classes: model.classes(),
            hash: params.iter().fold(mix(&[word(architecture)]), param),
            model,
            params,
            spec,
        })
    }

    fn coder(&self) -> &dyn Coder {
        self.model.coder().expect("`new` has looked")
    }

    /// How many densities the model's likelihood is an equal mixture of. Files are coded by the
    /// first of them, and are as long as *its* likelihood says.
    pub fn members(&self) -> usize {
        self.coder().members().max(1)
    }

    /// A hash of the probabilities along one made-up image, to the last bit.
    fn fingerprint(&self) -> u64 {
        let classes = self.classes.map(|_| [0]);
        let classes = classes.as_ref().map(|classes| &classes[..]);
        let mut hash = word("fingerprint");
        grad::kernels::parallel::serial(|| {
            let p = self.params.constants();
            self.coder()
                .code(&p, 1, classes, &mut |_, dimension, probabilities| {
                    let bits = probabilities.iter().map(|p| p.to_bits());
                    hash = bits.fold(hash, step);
                    // Any image does, if it is the same one every time.
                    (mix(&[dimension as u64]) % self.spec.levels as u64) as u32
                });
        });
        hash
    }

    /// Writes images and a note of the caller's.
    ///
    /// # Errors
    /// If images are not whole, a level or class is not of the model's, or classes are missing.
    pub fn write(&self, images: &Levels, note: &[u8]) -> Result<Vec<u8>, Error> {
        let (dims, count) = (self.spec.dims(), self.check(images)?);
        let texts: Vec<Vec<u8>> = (images.levels.par_chunks(LANE * dims).enumerate())
            .map(|(lane, levels)| {
                let classes = images.classes.chunks(LANE).nth(lane).unwrap_or_default();
                grad::kernels::parallel::serial(|| self.write_lane(levels, classes))
            })
            .collect();
        let mut out = [&MAGIC[..], &[VERSION]].concat();
        let isa = Isa::current().to_string();
        put_bytes(&mut out, isa.as_bytes());
        out.extend(self.hash.to_le_bytes());
        out.extend(self.fingerprint().to_le_bytes());
        let ImageSpec {
            height,
            width,
            channels,
            levels,
            ..
        } = self.spec;
        let classes = self.classes.unwrap_or(0);
        let members = self.members();
        for n in [height, width, channels, levels, classes, count, members] {
            put_number(&mut out, n);
        }
        put_bytes(&mut out, note);
        let checksum = checksum(&out, images);
        out.extend(checksum.to_le_bytes());
        for text in &texts {
            put_bytes(&mut out, text);
        }
        Ok(out)
    }

    /// How many images these are.
    fn check(&self, images: &Levels) -> Result<usize, Error> {
        let dims = self.spec.dims();
        let error = |expected: String, found: String| Err(Error::Images { expected, found });
        if self.spec.levels > 256 {
            return error(
                "pixels of at most 256 levels".into(),
                self.spec.levels.to_string(),
            );
        }
        if images.levels.is_empty() || !images.levels.len().is_multiple_of(dims) {
            let found = format!("{} pixels", images.levels.len());
            return error(format!("whole images of {dims} pixels"), found);
        }
        let count = images.levels.len() / dims;
        let level = images
            .levels
            .iter()
            .find(|&&level| usize::from(level) >= self.spec.levels);
        if let Some(level) = level {
            return error(
                format!("levels below {}", self.spec.levels),
                level.to_string(),
            );
        }
        let due = if self.classes.is_some() { count } else { 0 };
        if images.classes.len() != due {
            return error(format!("{due} classes"), images.classes.len().to_string());
        }
        let most = self.classes.unwrap_or(0);
        if let Some(class) = images.classes.iter().find(|&&class| class as usize >= most) {
            return error(format!("classes below {most}"), class.to_string());
        }
        Ok(count)
    }

    fn write_lane(&self, levels: &[u8], classes: &[u32]) -> Vec<u8> {
        let dims = self.spec.dims();
        let mut text: Vec<Interval> = Vec::with_capacity(levels.len());
        let shares = self.class_shares();
        text.extend(classes.iter().map(|&class| shares.interval(class as usize)));
        let p = self.params.constants();
        let mut shares = Shares::new(self.spec.levels);
        for (part, levels) in levels.chunks(TOGETHER * dims).enumerate() {
            let count = levels.len() / dims;
            let classes = self.classes_of(classes, part, count);
            self.coder()
                .code(&p, count, classes, &mut |image, d, probabilities| {
                    let level = levels[image * dims + d];
                    shares.set(probabilities);
                    text.push(shares.interval(level.into()));
                    level.into()
                });
        }
        rans::write(&text)
    }

    /// All classes alike: a file need not be of the model's own mixture of them.
    fn class_shares(&self) -> Shares {
        let classes = self.classes.unwrap_or(1).clamp(1, Shares::MOST);
        let mut shares = Shares::new(classes);
        shares.set(&vec![1.0 / classes as f64; classes]);
        shares
    }

    fn classes_of<'c>(&self, classes: &'c [u32], part: usize, count: usize) -> Option<&'c [u32]> {
        self.classes?;
        classes.get(part * TOGETHER..part * TOGETHER + count)
    }

    /// Reads the images of an archive.
    ///
    /// # Errors
    /// If it was written with other weights, another instruction set or kernels that add in another
    /// order, or is damaged.
    pub fn read(&self, archive: &Archive) -> Result<Levels, Error> {
        let other = |what, expected: String, found: String| {
            Err(Error::Other {
                what,
                expected,
                found,
            })
        };
        let isa = Isa::current().to_string();
        if archive.isa != isa {
            return other("the instruction set", archive.isa.into(), isa);
        }
        let images = |spec: &ImageSpec, classes: Option<usize>| {
            let of = classes.map_or(String::new(), |n| format!(", one of {n} classes each"));
            format!(
                "{}x{}x{} of {} levels{of}",
                spec.height, spec.width, spec.channels, spec.levels
            )
        };
        let of_file = images(&archive.spec, archive.classes);
        let here = images(&self.spec, self.classes);
        if of_file != here {
            return other("a model of images", of_file, here);
        }
        let [of_file, here] = [archive.members, self.members()].map(|n| format!("{n} densities"));
        if of_file != here {
            return other("a mixture of", of_file, here);
        }
        if archive.model != self.hash {
            let [of_file, here] = [archive.model, self.hash].map(|hash| format!("{hash:016x}"));
            return other("the weights", of_file, here);
        }
        let fingerprint = self.fingerprint();
        if archive.probabilities != fingerprint {
            let [of_file, here] =
                [archive.probabilities, fingerprint].map(|hash| format!("{hash:016x}"));
            return other("a version of genzoo with the fingerprint", of_file, here);
        }
        let lanes: Option<Vec<Levels>> = (archive.texts.par_iter().enumerate())
            .map(|(lane, text)| {
                let count = LANE.min(archive.count - lane * LANE);
                grad::kernels::parallel::serial(|| self.read_lane(text, count))
            })
            .collect();
        let damaged = |found: String| Error::Damaged {
            expected: archive.checksum,
            found,
        };
        let lanes =
            lanes.ok_or_else(|| damaged("a text that does not end where it should".into()))?;
        let mut images = Levels::default();
        for lane in lanes {
            images.levels.extend(lane.levels);
            images.classes.extend(lane.classes);
        }
        let found = checksum(archive.head, &images);
        if found != archive.checksum {
            return Err(damaged(format!("{found:016x}")));
        }
        Ok(images)
    }

    fn read_lane(&self, text: &[u8], count: usize) -> Option<Levels> {
        let dims = self.spec.dims();
        let mut reader = Reader::new(text);
        let shares = self.class_shares();
        let classes = if self.classes.is_some() { count } else { 0 };
        let classes: Vec<u32> = (0..classes)
            .map(|_| reader.symbol(&shares) as u32)
            .collect();
        let p = self.params.constants();
        let mut shares = Shares::new(self.spec.levels);
        let mut levels = vec![0; count * dims];
        for (part, levels) in levels.chunks_mut(TOGETHER * dims).enumerate() {
            let count = levels.len() / dims;
            let classes = self.classes_of(&classes, part, count);
            self.coder()
                .code(&p, count, classes, &mut |image, d, probabilities| {
                    shares.set(probabilities);
                    let level = reader.symbol(&shares);
                    levels[image * dims + d] = level as u8;
                    level as u32
                });
        }
        reader.is_over().then_some(Levels { levels, classes })
    }
}

/// A bijection of the hash for each word, and of the word for each hash.
fn step(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

fn checksum(head: &[u8], images: &Levels) -> u64 {
    let bytes = head
        .iter()
        .chain(&images.levels)
        .map(|&byte| u64::from(byte));
    let words = bytes.chain(images.classes.iter().map(|&class| u64::from(class)));
    words.fold(head.len() as u64, step)
}
