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
/// `out`: height · width · channels values in HWC order. They lie in [0, 1]: p / 255 to within
/// an ULP for grey levels under `None`; 0 or 1 for two levels and under `Static` and `Dynamic`.
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

/// Pixels whose bytes are drawn at once: whole vectors, and 28x28 is seven blocks. The order of
/// draws is part of the result: do not change.
const BLOCK: usize = 112;

/// out = 1 with probability p / 255, else 0.
///
/// With r uniform on 0..=255 and drawn again while r = p, r takes each of the 255 other values
/// alike, and p of them lie below p. A first byte settles 255 of 256 pixels in a loop without
/// branches; a block in which one stays open is visited again. Black and white need no second
/// byte: r < 0 never holds, and 255 is set whatever was drawn.
fn bernoulli(image: &[u8], mut rng: Xoshiro256PlusPlus, out: &mut [f32]) {
    let (blocks, rest) = image.as_chunks::<BLOCK>();
    let (out_blocks, out_rest) = out.as_chunks_mut::<BLOCK>();
    for (image, out) in blocks.iter().zip(out_blocks) {
        block(image, &mut rng, out);
    }
    if !rest.is_empty() {
        // A short block is a whole one with black behind it.
        let (mut padded, mut values) = ([0; BLOCK], [0.0; BLOCK]);
        padded[..rest.len()].copy_from_slice(rest);
        block(&padded, &mut rng, &mut values);
        out_rest.copy_from_slice(&values[..rest.len()]);
    }
}

#[inline(always)]
fn block(image: &[u8; BLOCK], rng: &mut Xoshiro256PlusPlus, out: &mut [f32; BLOCK]) {
    let mut random = [0; BLOCK];
    for word in random.as_chunks_mut::<8>().0 {
        *word = rng.next_u64().to_le_bytes();
    }
    // Bytes first and floats after: one loop over both would run four lanes wide, not sixteen.
    let (mut ones, mut open) = ([0u8; BLOCK], 0);
    for ((one, &p), &r) in ones.iter_mut().zip(image).zip(&random) {
        *one = u8::from(r < p) | u8::from(p == 255);
        open |= u8::from(r == p) & u8::from(p.wrapping_sub(1) < 254);
    }
    if open != 0 {
        redraw(image, &random, rng, &mut ones);
    }
    for (value, &one) in out.iter_mut().zip(&ones) {
        *value = f32::from(one);
    }
}

#[cold]
fn redraw(
    image: &[u8; BLOCK],
    random: &[u8; BLOCK],
    rng: &mut Xoshiro256PlusPlus,
    ones: &mut [u8; BLOCK],
) {
    for ((one, &p), &r) in ones.iter_mut().zip(image).zip(random) {
        if r == p && p != 0 && p != 255 {
            let other = loop {
                let byte = (rng.next_u64() >> 56) as u8;
                if byte != p {
                    break byte;
                }
            };
            *one = u8::from(other < p);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageShape, Split};
    use crate::open::{Dataset, Examples};

    fn row(pixels: &[u8], levels: u32) -> Dataset {
        let shape = ImageShape {
            height: 1,
            width: pixels.len(),
            channels: 1,
        };
        let train = Examples {
            pixels,
            labels: None,
        };
        let none = Examples::default();
        Dataset::in_memory("row", shape, levels, [train, none, none]).unwrap()
    }

    fn filled(data: &Dataset, mode: Binarize, seed: u64, epoch: u64) -> Vec<f32> {
        let mut out = vec![f32::NAN; data.shape().len()];
        fill(data.split(Split::Train), 0, mode, seed, epoch, &mut out);
        out
    }

    #[test]
    fn grey_levels_become_fractions() {
        let levels: Vec<u8> = (0..=255).collect();
        let out = filled(&row(&levels, 256), Binarize::None, 0, 0);
        for (p, value) in out.iter().enumerate() {
            let exact = p as f64 / 255.0;
            assert!(
                (f64::from(*value) - exact).abs() <= 1.2e-7 * exact,
                "{p}: {value}"
            );
        }
        assert_eq!((out[0], out[255]), (0.0, 1.0));
    }

    #[test]
    fn two_levels_are_passed_on() {
        let data = row(&[0, 1, 1, 0], 2);
        for mode in Binarize::ALL {
            assert_eq!(filled(&data, mode, 3, 4), [0.0, 1.0, 1.0, 0.0], "{mode}");
        }
    }

    /// Every grey level at once, 64 pixels each: over many epochs the share of ones is p / 255.
    #[test]
    fn a_pixel_is_one_with_its_probability() {
        const EACH: usize = 64;
        const EPOCHS: u64 = 400;
        let levels: Vec<u8> = (0..256 * EACH).map(|k| (k / EACH) as u8).collect();
        let data = row(&levels, 256);
        let mut ones = [0.0f64; 256];
        for epoch in 0..EPOCHS {
            for (p, values) in filled(&data, Binarize::Dynamic, 1, epoch)
                .chunks(EACH)
                .enumerate()
            {
                assert!(values.iter().all(|&v| v == 0.0 || v == 1.0));
                ones[p] += values.iter().map(|&v| f64::from(v)).sum::<f64>();
            }
        }
        let draws = EACH as f64 * EPOCHS as f64;
        assert_eq!(
            (ones[0], ones[255]),
            (0.0, draws),
            "black and white are certain"
        );
        let mut chi_squared = 0.0;
        for (p, &ones) in ones.iter().enumerate().take(255).skip(1) {
            let q = p as f64 / 255.0;
            chi_squared += (ones - draws * q).powi(2) / (draws * q * (1.0 - q));
        }
        // 254 degrees of freedom: mean 254, standard deviation 22.5. With p / 256 instead of
        // p / 255 the excess alone would be about 65.
        assert!(
            (chi_squared - 254.0).abs() < 80.0,
            "chi squared {chi_squared}"
        );
        // The total is the sharper test of that bias: 0.5 / 256 a pixel against 0.00016.
        let total: f64 = ones.iter().sum::<f64>() / draws;
        assert!(
            (total - 128.0).abs() < 4.0 * (42.3 / draws).sqrt(),
            "total {total}"
        );
    }

    #[test]
    fn static_bits_are_for_ever_and_dynamic_ones_for_an_epoch() {
        let data = row(&[128; 300], 256);
        let fixed = filled(&data, Binarize::Static, 1, 1);
        assert_eq!(fixed, filled(&data, Binarize::Static, 2, 9));
        let bits = filled(&data, Binarize::Dynamic, 1, 1);
        assert_eq!(bits, filled(&data, Binarize::Dynamic, 1, 1));
        for other in [
            filled(&data, Binarize::Dynamic, 1, 2),
            filled(&data, Binarize::Dynamic, 2, 1),
            fixed,
        ] {
            let same = bits.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((100..200).contains(&same), "{same} of 300 bits agree");
        }
    }

    #[test]
    fn gather_is_fill_for_each() {
        let pixels: Vec<u8> = (0..60).map(|k| k * 4).collect();
        let shape = ImageShape {
            height: 2,
            width: 5,
            channels: 1,
        };
        let labels = [3, 1, 4, 1, 5, 2];
        let train = Examples {
            pixels: &pixels,
            labels: Some(&labels),
        };
        let none = Examples {
            pixels: &[],
            labels: Some(&[]),
        };
        let data = Dataset::in_memory("six", shape, 256, [train, none, none]).unwrap();
        let view = data.split(Split::Train);
        let mut batch = [0.0; 30];
        gather(view, &[4, 0, 4], Binarize::Dynamic, 7, 8, &mut batch);
        for (index, image) in [4, 0, 4].into_iter().zip(batch.chunks(10)) {
            let mut alone = [0.0; 10];
            fill(view, index, Binarize::Dynamic, 7, 8, &mut alone);
            assert_eq!(image, alone);
        }
        let mut names = [0; 3];
        assert!(gather_labels(view, &[4, 0, 1], &mut names));
        assert_eq!(names, [5, 3, 1]);
    }
}
