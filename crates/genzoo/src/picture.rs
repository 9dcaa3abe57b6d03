//! Images in a grid, as a PNG file.

use crate::output::write_file;
use anyhow::Context;
use grad::Tensor;
use std::path::Path;

/// How many pixels of the file each pixel of an image takes, both ways.
const SCALE: usize = 2;
/// Pixels of the file between images and around them.
const BORDER: usize = 2;
/// The grey of the border.
const BORDER_LEVEL: u8 = 96;

/// A picture of 8-bit pixels: grey or RGB.
pub(crate) struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// Images [N, H, W, C] with pixels in [0, 1], row by row, `columns` in a row, each enlarged and
    /// with a border. C is 1 or 3.
    pub(crate) fn grid(images: &Tensor<f32>, columns: usize) -> Picture {
        let &[count, height, width, channels] = &images.shape()[..] else {
            panic!(
                "grid: expected images [N, H, W, C], found {}",
                images.shape()
            );
        };
        let columns = columns.clamp(1, count.max(1));
        let rows = count.div_ceil(columns);
        let (cell_height, cell_width) = (SCALE * height + BORDER, SCALE * width + BORDER);
        let mut picture = Picture {
            width: columns * cell_width + BORDER,
            height: rows * cell_height + BORDER,
            channels,
            pixels: Vec::new(),
        };
        let row_bytes = picture.width * channels;
        picture.pixels = vec![BORDER_LEVEL; picture.height * row_bytes];
        let data = images.data();
        for n in 0..count {
            let top = BORDER + n / columns * cell_height;
            let left = BORDER + n % columns * cell_width;
            for y in 0..SCALE * height {
                for x in 0..SCALE * width {
                    let from = ((n * height + y / SCALE) * width + x / SCALE) * channels;
                    let to = (top + y) * row_bytes + (left + x) * channels;
                    for c in 0..channels {
                        picture.pixels[to + c] = level(data[from + c]);
                    }
                }
            }
        }
        picture
    }

    /// One image as it is, pixels in HWC order.
    pub(crate) fn plain(shape: dataset::ImageShape, pixels: Vec<u8>) -> Picture {
        assert_eq!(pixels.len(), shape.len(), "plain: pixels of {shape}");
        Picture {
            width: shape.width,
            height: shape.height,
            channels: shape.channels,
            pixels,
        }
    }

    /// As the bytes of a PNG file.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(if self.channels == 3 {
            png::ColorType::Rgb
        } else {
            png::ColorType::Grayscale
        });
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }

    /// Writes a PNG file.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let bytes = self
            .encode()
            .with_context(|| format!("{}: cannot encode", path.display()))?;
        write_file(path, &bytes)
    }
}

/// The columns of a grid that is about square.
pub(crate) fn square(count: usize) -> usize {
    (count as f64).sqrt().ceil() as usize
}

/// From [0, 1] to 0..=255; what is not a number becomes black.
fn level(x: f32) -> u8 {
    (x * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_land_in_their_cells() {
        let images = Tensor::new([3, 1, 2, 1], &[0.0, 1.0, 0.5, -1.0, 2.0, f32::NAN]);
        let picture = Picture::grid(&images, 2);
        assert_eq!((picture.width, picture.height), (2 * 6 + 2, 2 * 4 + 2));
        let at = |y: usize, x: usize| picture.pixels[y * picture.width + x];
        assert_eq!([at(2, 2), at(3, 3), at(2, 4), at(3, 5)], [0, 0, 255, 255]);
        assert_eq!([at(2, 8), at(2, 10)], [128, 0]);
        assert_eq!([at(6, 2), at(6, 4)], [255, 0]);
        assert_eq!([at(0, 0), at(6, 8)], [BORDER_LEVEL; 2]);
    }

    #[test]
    fn colour_survives_encoding() {
        let images = Tensor::new([1, 1, 1, 3], &[1.0, 0.0, 0.2]);
        let bytes = Picture::grid(&images, 1).encode().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(
            (info.width, info.height, info.color_type),
            (6, 6, png::ColorType::Rgb)
        );
        assert_eq!(pixels[(2 * 6 + 2) * 3..][..3], [255, 0, 51]);
    }
}
