//! Pictures from files as images of a model, and back.

use crate::failure;
use crate::output::read_file;
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

    /// Reads a PNG file of this height and width; colours become grey, or grey colours, as the
    /// model has learned.
    pub(crate) fn open(path: &Path, spec: &ImageSpec) -> anyhow::Result<Pixels> {
        let bytes = read_file(path)?;
        let pixels = Pixels::decode(&bytes)
            .with_context(|| format!("{}: not a PNG file that can be read", path.display()))?;
        pixels.with_channels(spec.channels).fitting(path, spec)
    }

    /// Reads a PNG file whose pixels are these 8-bit numbers and nothing else, of exactly these
    /// sizes.
    pub(crate) fn exact(path: &Path, bytes: &[u8], spec: &ImageSpec) -> anyhow::Result<Pixels> {
        let place = path.display();
        let unreadable = || format!("{place}: not a PNG file that can be read");
        let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        let reader = decoder.read_info().with_context(unreadable)?;
        let info = reader.info();
        let lost = if info.bit_depth == png::BitDepth::Sixteen {
            Some("16 bits a pixel")
        } else if info.trns.is_some() || info.color_type.samples().is_multiple_of(2) {
            Some("transparency")
        } else {
            None
        };
        if let Some(lost) = lost {
            return Err(failure::failed(
                format!("{place}: expected 8-bit pixels without transparency, found {lost}"),
                "it would be lost",
            ));
        }
        Pixels::decode(bytes)
            .with_context(unreadable)?
            .fitting(path, spec)
    }

    /// The same in grey (the luma of ITU-R BT.601) or as colours.
    fn with_channels(self, channels: usize) -> Pixels {
        let data = match (self.channels, channels) {
            (3, 1) => (self.data.chunks_exact(3))
                .map(|rgb| {
                    let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
                    ((299 * r + 587 * g + 114 * b + 500) / 1000) as u8
                })
                .collect(),
            (1, 3) => self.data.iter().flat_map(|&grey| [grey; 3]).collect(),
            _ => return self,
        };
        Pixels {
            channels,
            data,
            ..self
        }
    }

    fn fitting(self, path: &Path, spec: &ImageSpec) -> anyhow::Result<Pixels> {
        let (found, expected) = (self.size(), [spec.height, spec.width, spec.channels]);
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
        Ok(self)
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
