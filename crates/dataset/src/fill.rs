//! From stored bytes to the values a model reads.

use std::fmt;
use std::str::FromStr;

use rand_core::Rng;

use crate::error::ParseNameError;
use crate::open::View;
use crate::random::{Domain, Xoshiro256PlusPlus, stream_in};

/// How grey levels become the pixels a model sees.
///
/// Static and dynamic binarisation are different benchmarks: never compare a figure of one with a
/// figure of the other. Data that have two levels already are passed on as they are under each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Binarize {
    /// Grey p in 0..=255 becomes p / 255; no randomness.
    #[default]
    None,
    /// Each pixel is 1 with probability p / 255, drawn once and for all: the bits depend on
    /// (split, example) only, not on the seed or the epoch, so every run sees the same images.
    /// Not the bits of Larochelle's published file; for those open that file.
    Static,
    /// Each pixel is 1 with probability p / 255, drawn afresh in every epoch: the bits depend on
    /// (seed, epoch, split, example).
    Dynamic,
}

impl Binarize {
    /// All three.
    pub const ALL: [Binarize; 3] = [Binarize::None, Binarize::Static, Binarize::Dynamic];

    /// `none`, `static` or `dynamic`.
    pub const fn name(self) -> &'static str {
        match self {
            Binarize::None => "none",
            Binarize::Static => "static",
            Binarize::Dynamic => "dynamic",
        }
    }
}

impl fmt::Display for Binarize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Binarize {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Binarize, ParseNameError> {
        Binarize::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| ParseNameError {
                expected: "none, static, dynamic",
                found: text.to_owned(),
            })
    }
}

/// Write image `index` of `view` into `out`, as [`Binarize`] says.
///
/// `out`: height · width · channels values in HWC order. They lie in [0, 1]: p · (1/255), rounded
/// to f32, for grey levels under `None`; 0 or 1 for two levels and under `Static` and `Dynamic`.
/// P(out = 1) = p / 255 exactly: bytes are drawn until one differs from p, and the pixel is 1
/// where that byte is less.
///
/// # Panics
/// Where `index` is not below `view.len()`, or `out` has another length than an image.
#[track_caller]
pub fn fill(
    view: View<'_>,
    index: usize,
    binarize: Binarize,
    seed: u64,
    epoch: u64,
    out: &mut [f32],
) {
    let image = view.image(index);
    assert_eq!(
        image.len(),
        out.len(),
        "fill: an image has {} values ({}), out has {}",
        image.len(),
        view.shape(),
        out.len()
    );
    if view.levels() == 2 {
        for (value, &bit) in out.iter_mut().zip(image) {
            *value = f32::from(u8::from(bit != 0));
        }
        return;
    }
    let example = (view.split() as u64) << 32 | index as u64;
    match binarize {
        Binarize::None => {
            let scale = 1.0 / (view.levels() - 1) as f32;
            for (value, &level) in out.iter_mut().zip(image) {
                *value = f32::from(level) * scale;
            }
        }
        Binarize::Static => bernoulli(image, stream_in(Domain::Static, 0, 0, example), out),
        Binarize::Dynamic => {
            bernoulli(image, stream_in(Domain::Dynamic, seed, epoch, example), out)
        }
    }
}

/// Write the images `indices` of `view` one behind the other into `out`, each as [`fill`] does.
///
/// `out`: `indices.len()` · height · width · channels values.
///
/// # Panics
/// Where an index is not below `view.len()`, or `out` has another length.
#[track_caller]
pub fn gather(
    view: View<'_>,
    indices: &[u32],
    binarize: Binarize,
    seed: u64,
    epoch: u64,
    out: &mut [f32],
) {
    let length = view.shape().len();
    assert_eq!(
        indices.len() * length,
        out.len(),
        "gather: {} images of {length} values, out has {}",
        indices.len(),
        out.len()
    );
    for (&index, image) in indices.iter().zip(out.chunks_exact_mut(length)) {
        fill(view, index as usize, binarize, seed, epoch, image);
    }
}

/// Write the labels of the examples `indices` of `view` into `out`; false, and `out` untouched,
/// where the dataset has none.
///
/// # Panics
/// Where an index is not below `view.len()`, or `out` has another length than `indices`.
#[track_caller]
pub fn gather_labels(view: View<'_>, indices: &[u32], out: &mut [u32]) -> bool {
    assert_eq!(
        indices.len(),
        out.len(),
        "gather_labels: {} labels, out has {}",
        indices.len(),
        out.len()
    );
    if !view.has_labels() {
        return false;
    }
    for (&index, label) in indices.iter().zip(out) {
        *label = view.label(index as usize).expect("a labelled view");
    }
    true
}

/// Pixels whose bytes are drawn at once. The order of draws is part of the result: do not change.
const BLOCK: usize = 64;

/// out = 1 with probability p / 255, else 0.
///
/// With r uniform on 0..=255 and drawn again while r = p, r takes each of the 255 other values
/// alike, and p of them lie below p. A first byte settles 255 of 256 pixels in a loop without
/// branches; a block in which one stays open is visited again. Black and white need no second
/// byte: r < 0 never holds, and 255 is set whatever was drawn.
fn bernoulli(image: &[u8], mut rng: Xoshiro256PlusPlus, out: &mut [f32]) {
    let mut random = [0; BLOCK];
    for (image, out) in image.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        for word in random.chunks_exact_mut(8) {
            word.copy_from_slice(&rng.next_u64().to_le_bytes());
        }
        let mut open = false;
        for ((value, &p), &r) in out.iter_mut().zip(image).zip(&random) {
            *value = f32::from(u8::from((r < p) | (p == 255)));
            open |= (r == p) & (p.wrapping_sub(1) < 254);
        }
        if open {
            redraw(image, &random, &mut rng, out);
        }
    }
}

#[cold]
fn redraw(image: &[u8], random: &[u8; BLOCK], rng: &mut Xoshiro256PlusPlus, out: &mut [f32]) {
    for ((value, &p), &r) in out.iter_mut().zip(image).zip(random) {
        if r == p && p != 0 && p != 255 {
            let other = loop {
                let byte = (rng.next_u64() >> 56) as u8;
                if byte != p {
                    break byte;
                }
            };
            *value = f32::from(u8::from(other < p));
        }
    }
}
