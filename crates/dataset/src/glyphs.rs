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
            ignored: Vec::new(),
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

    const PINNED: u128 = 180475830467470295718040621604927272616;

    #[test]
    fn the_bytes_are_the_same_everywhere() {
        let glyphs = generate_on(2, [200, 20, 20]);
        let sum = crate::store::key(&glyphs.pixels);
        assert_eq!(
            u128::from_le_bytes(sum),
            PINNED,
            "raise VERSION with the images"
        );
    }

    /// Nearest class mean: the classes are there to be seen, and not for nothing.
    #[test]
    fn classes_can_be_told_apart_but_not_by_their_means_alone() {
        let glyphs = generate_on(2, [3000, 0, 1000]);
        let (train, test) = glyphs.pixels.split_at(3000 * SHAPE.len());
        let (train_labels, test_labels) = glyphs.labels.split_at(3000);
        let mut means = vec![[0.0f64; 28 * 28]; 10];
        let mut counts = [0.0; 10];
        for (image, &label) in train.chunks_exact(SHAPE.len()).zip(train_labels) {
            counts[usize::from(label)] += 1.0;
            for (mean, &p) in means[usize::from(label)].iter_mut().zip(image) {
                *mean += f64::from(p);
            }
        }
        // 300 each, standard deviation 16.4.
        assert!(
            counts.iter().all(|&n: &f64| (n - 300.0).abs() < 80.0),
            "{counts:?}"
        );
        for (mean, count) in means.iter_mut().zip(counts) {
            mean.iter_mut().for_each(|value| *value /= count);
        }
        let distance = |mean: &[f64; 28 * 28], image: &[u8]| -> f64 {
            mean.iter()
                .zip(image)
                .map(|(m, &p)| (m - f64::from(p)).powi(2))
                .sum()
        };
        let right = test
            .chunks_exact(SHAPE.len())
            .zip(test_labels)
            .filter(|&(image, &label)| {
                let nearest = (0..10).min_by(|&a, &b| {
                    distance(&means[a], image).total_cmp(&distance(&means[b], image))
                });
                nearest == Some(usize::from(label))
            });
        let right = right.count();
        assert!((500..900).contains(&right), "{right} of 1000 right");
    }

    #[test]
    fn no_stroke_leaves_the_image_and_none_is_blank() {
        let glyphs = generate_on(2, [2000, 0, 0]);
        let mut cut = 0;
        for image in glyphs.pixels.chunks_exact(SHAPE.len()) {
            let ink: u32 = image.iter().map(|&p| u32::from(p)).sum();
            assert!((12 * 255..400 * 255).contains(&ink), "ink {ink}");
            let edge = |k: &usize| [0, 27].contains(&(k % 28)) || [0, 27].contains(&(k / 28));
            cut += u32::from((0..SHAPE.len()).filter(edge).any(|k| image[k] > 127));
        }
        assert!(cut < 40, "{cut} of 2000 glyphs touch the edge");
    }
}
