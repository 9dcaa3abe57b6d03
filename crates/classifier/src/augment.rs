//! Images moved by a few pixels: more examples of the same classes.

use grad::Tensor;
use nn::model::Batch;
use nn::random::{uniform, word};

/// How far an image of this size may be moved, if the user asks for `shift` pixels: no further
/// than an eighth of the shorter side, so that most of a small image stays in sight.
pub(crate) fn reach(shift: usize, height: usize, width: usize) -> usize {
    shift.min(height.min(width) / 8)
}

/// Each image `[H, W, C]` moved by up to `reach` pixels along both axes, zeros where nothing was;
/// how far is drawn from the image's own noise.
pub(crate) fn shifted(batch: &Batch, reach: usize) -> Tensor<f32> {
    let images = &batch.images;
    let [_, height, width, channels] = images.shape()[..] else {
        panic!(
            "shifted: expected images [B, H, W, C], found {}",
            images.shape()
        );
    };
    if reach == 0 {
        return images.clone();
    }
    let dims = height * width * channels;
    Tensor::build(*images.shape(), |out| {
        out.fill(0.0);
        for (i, to) in out.chunks_exact_mut(dims).enumerate() {
            let from = &images.data()[i * dims..(i + 1) * dims];
            let mut stream = batch.stream(i, word("shift"));
            let mut draw = || (uniform(&mut stream) * (2 * reach + 1) as f64) as usize;
            let (down, right) = (draw(), draw());
            // Row y of the result is row y + down - reach of the image, where there is one.
            let rows = |n: usize, by: usize| reach.saturating_sub(by)..(n + reach - by).min(n);
            let columns = rows(width, right);
            for y in rows(height, down) {
                let source =
                    ((y + down - reach) * width + columns.start + right - reach) * channels;
                let target = (y * width + columns.start) * channels;
                let count = columns.len() * channels;
                to[target..][..count].copy_from_slice(&from[source..][..count]);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_its_pixels_and_moves() {
        let images = Tensor::from_fn([64, 5, 4, 2], |i| (i % 40 + 1) as f32);
        let batch = Batch::new(images.clone(), (0..64).collect::<Vec<u64>>());
        assert_eq!(shifted(&batch, 0), images);
        let moved = shifted(&batch, 1);
        let mut places = std::collections::BTreeSet::new();
        for image in moved.data().chunks(40) {
            // The pixel (2, 2) is in sight wherever the image went.
            let at = image
                .iter()
                .position(|&x| x == 21.0)
                .expect("the middle stays in sight");
            let (y, x) = (at / 8, at % 8 / 2);
            places.insert((y, x));
            for (i, &value) in image.iter().enumerate() {
                let (row, column) = ((i / 8 + 2).checked_sub(y), (i % 8 / 2 + 2).checked_sub(x));
                let source = row.zip(column).filter(|&(r, c)| r < 5 && c < 4);
                let expected = source.map_or(0.0, |(r, c)| (r * 8 + c * 2 + i % 2 + 1) as f32);
                assert_eq!(value, expected);
            }
        }
        assert_eq!(places.len(), 9, "all nine places are met: {places:?}");
    }

    #[test]
    fn small_images_stay_where_they_are() {
        assert_eq!(
            (reach(2, 28, 28), reach(2, 6, 6), reach(9, 32, 16)),
            (2, 0, 2)
        );
    }
}
