//! The built-in dataset: ten classes of drawn digits, made by a generator.
//!
//! An image depends on (version, split, index) only, and is computed with additions,
//! multiplications, divisions and square roots alone, which IEEE 754 rounds alike everywhere: the
//! bytes are the same on every platform and for every number of threads.

mod pen;
mod strokes;

use crate::image::{ImageShape, Split};
use crate::random::{Domain, stream_in};
use crate::store::{Contents, Pieces};

/// Part of the cache's key: raise it whenever an image changes.
pub(crate) const VERSION: u32 = 1;

/// Images of train, valid and test.
pub(crate) const COUNTS: [usize; 3] = [20_000, 5_000, 5_000];
pub(crate) const SHAPE: ImageShape = ImageShape {
    height: pen::SIDE,
    width: pen::SIDE,
    channels: 1,
};
const CLASSES: u32 = 10;

/// All images and labels of the three splits, train first.
pub(crate) struct Glyphs {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

/// Draw everything, on all processors.
pub(crate) fn generate() -> Glyphs {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    generate_on(threads, COUNTS)
}

fn generate_on(threads: usize, counts: [usize; 3]) -> Glyphs {
    let total: usize = counts.iter().sum();
    let mut pixels = vec![0; total * SHAPE.len()];
    let mut labels = vec![0; total];
    let each = total.div_ceil(threads).max(1);
    let images = pixels.chunks_mut(each * SHAPE.len());
    std::thread::scope(|scope| {
        for (k, (images, labels)) in images.zip(labels.chunks_mut(each)).enumerate() {
            scope.spawn(move || {
                for (j, (image, label)) in
                    images.chunks_exact_mut(SHAPE.len()).zip(labels).enumerate()
                {
                    let (split, index) = place(k * each + j, counts);
                    *label = draw(split, index, image);
                }
            });
        }
    });
    Glyphs { pixels, labels }
}

/// Split and index of image `k` of all.
fn place(mut k: usize, counts: [usize; 3]) -> (Split, usize) {
    for (split, count) in Split::ALL.into_iter().zip(counts) {
        if k < count {
            return (split, k);
        }
        k -= count;
    }
    unreachable!("image {k} beyond the last")
}

/// Draw one image and return its class.
fn draw(split: Split, index: usize, image: &mut [u8]) -> u8 {
    let mut rng = stream_in(
        Domain::Glyphs,
        u64::from(VERSION),
        split as u64,
        index as u64,
    );
    let class = crate::random::below(&mut rng, CLASSES);
    let strokes = strokes::of(class, &mut rng);
    pen::draw(&strokes, &mut rng, image);
    class as u8
}

impl Glyphs {
    pub(crate) fn contents(&self, key: [u8; 16]) -> Contents<'_> {
        let (mut pixels, mut labels) = (&self.pixels[..], &self.labels[..]);
        let splits = COUNTS.map(|count| {
            let (mine, rest) = pixels.split_at(count * SHAPE.len());
            let (names, others) = labels.split_at(count);
            (pixels, labels) = (rest, others);
            Pieces {
                count,
                pixels: vec![mine],
                labels: vec![names],
            }
        });
        Contents {
            name: crate::Source::GLYPHS.to_owned(),
            source: "built in".to_owned(),
            key,
            shape: SHAPE,
            levels: 256,
            classes: Some(CLASSES),
            splits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        let counts = [30, 7, 5];
        let one = generate_on(1, counts);
        for threads in [2, 3, 5, 64] {
            let other = generate_on(threads, counts);
            assert_eq!(other.pixels, one.pixels, "{threads} threads");
            assert_eq!(other.labels, one.labels, "{threads} threads");
        }
    }
}
