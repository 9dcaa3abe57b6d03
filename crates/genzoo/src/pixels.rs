//! Pictures from files as images of a model, and back.

use crate::failure;
use anyhow::Context;
use nn::model::ImageSpec;
use std::path::Path;

/// The most bytes of a decoded picture: far more than any image a model of pixels sees.
const LARGEST: usize = 1 << 28;

/// 8-bit pixels [H, W, C].
pub(crate) struct Pixels {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) data: Vec<u8>,
}

impl Pixels {
    /// Reads the bytes of a PNG file; transparency is left out.
    pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Pixels> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_limits(png::Limits { bytes: LARGEST });
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info()?;
        let size = reader.output_buffer_size().filter(|&size| size <= LARGEST);
        let mut data = vec![0; size.context("a picture of more than 256 megabytes")?];
        let info = reader.next_frame(&mut data)?;
        data.truncate(info.buffer_size());
        let samples = info.color_type.samples();
        let channels = if samples < 3 { 1 } else { 3 };
        if samples != channels {
            data = (data.chunks_exact(samples))
                .flat_map(|pixel| &pixel[..channels])
                .copied()
                .collect();
        }
        Ok(Pixels {
            height: info.height as usize,
            width: info.width as usize,
            channels,
            data,
        })
    }

    /// Reads a PNG file of these sizes.
    pub(crate) fn open(path: &Path, spec: &ImageSpec) -> anyhow::Result<Pixels> {
        let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        let pixels = Pixels::decode(&bytes)
            .with_context(|| format!("{}: not a PNG file that can be read", path.display()))?;
        let (found, expected) = (pixels.size(), [spec.height, spec.width, spec.channels]);
        if found != expected {
            let show = |[h, w, c]: [usize; 3]| format!("{h}x{w}x{c}");
            return Err(failure::failed(
                format!(
                    "{}: expected a picture of {}, found {}",
                    path.display(),
                    show(expected),
                    show(found)
                ),
                "the model has learned images of that height, width and number of colours",
            ));
        }
        Ok(pixels)
    }

    fn size(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// The nearest of so many levels, as numbers in [0, 1].
    pub(crate) fn quantised(&self, levels: usize) -> Vec<f32> {
        let top = (levels - 1) as f32;
        let nearest = |&x: &u8| (f32::from(x) / 255.0 * top).round() / top;
        self.data.iter().map(nearest).collect()
    }
}

/// Pixels as levels with what to multiply them by to get the pixels back: 1, or so that the top
/// level is 255. Tells the first pixel that is no level where there is one.
pub(crate) fn to_levels(pixels: &[u8], levels: usize) -> Result<(Vec<u8>, u8), u8> {
    if let Some(step) = (255 % (levels - 1) == 0).then(|| (255 / (levels - 1)) as u8)
        && pixels.iter().all(|pixel| pixel.is_multiple_of(step))
    {
        return Ok((pixels.iter().map(|pixel| pixel / step).collect(), step));
    }
    match pixels.iter().find(|&&pixel| usize::from(pixel) >= levels) {
        None => Ok((pixels.to_vec(), 1)),
        Some(&pixel) => Err(pixel),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_give_the_pixels_back() {
        assert_eq!(to_levels(&[0, 255, 255], 2), Ok((vec![0, 1, 1], 255)));
        assert_eq!(to_levels(&[0, 1, 1], 2), Ok((vec![0, 1, 1], 1)));
        assert_eq!(to_levels(&[0, 0], 2), Ok((vec![0, 0], 255)));
        assert_eq!(to_levels(&[7, 255], 256), Ok((vec![7, 255], 1)));
        assert_eq!(to_levels(&[0, 85, 255], 4), Ok((vec![0, 1, 3], 85)));
        assert_eq!(to_levels(&[0, 86], 4), Err(86));
        assert_eq!(to_levels(&[3, 4], 5), Ok((vec![3, 4], 1)));
    }
}
