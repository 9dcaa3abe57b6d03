//! A picture in colour that is drawn piece by piece.

use super::font;
use crate::picture::Picture;
use dataset::ImageShape;

/// Red, green and blue.
pub(crate) type Colour = [u8; 3];

/// Colours of classes, from the palette of Okabe & Ito (2008), which those who do not see some
/// colours can tell apart, and two more.
const CLASSES: [Colour; 10] = [
    [0, 114, 178],
    [230, 159, 0],
    [0, 158, 115],
    [213, 94, 0],
    [204, 121, 167],
    [86, 180, 233],
    [150, 140, 0],
    [90, 90, 90],
    [130, 30, 30],
    [100, 60, 170],
];

/// The colour of a class.
pub(crate) fn class_colour(class: usize) -> Colour {
    CLASSES[class % CLASSES.len()]
}

/// A picture, white at first. What is drawn beyond its edges is not seen.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    pub(crate) const BLACK: Colour = [0; 3];
    pub(crate) const GREY: Colour = [150; 3];
    pub(crate) const PALE: Colour = [225; 3];
    /// Height of a line of text, and the width of a letter, with what keeps it from the next.
    pub(crate) const LINE: usize = 2 * font::HEIGHT + 4;
    pub(crate) const LETTER: usize = 2 * (font::WIDTH + 1);

    pub(crate) fn new(width: usize, height: usize) -> Canvas {
        Canvas {
            width,
            height,
            pixels: vec![255; 3 * width * height],
        }
    }

    /// How wide a text is.
    pub(crate) fn width_of(text: &str) -> usize {
        (text.chars().count() * Canvas::LETTER).saturating_sub(2)
    }

    pub(crate) fn dot(&mut self, x: i64, y: i64, colour: Colour) {
        let inside = |n: i64, extent: usize| usize::try_from(n).ok().filter(|&n| n < extent);
        if let (Some(x), Some(y)) = (inside(x, self.width), inside(y, self.height)) {
            self.pixels[3 * (y * self.width + x)..][..3].copy_from_slice(&colour);
        }
    }

    pub(crate) fn rectangle(&mut self, x: i64, y: i64, [w, h]: [usize; 2], colour: Colour) {
        for row in 0..h as i64 {
            for column in 0..w as i64 {
                self.dot(x + column, y + row, colour);
            }
        }
    }

    /// A filled disc.
    pub(crate) fn disc(&mut self, x: i64, y: i64, radius: i64, colour: Colour) {
        for dy in -radius..=radius {
            for dx in -radius..=radius {
                if dx * dx + dy * dy <= radius * radius + radius / 2 {
                    self.dot(x + dx, y + dy, colour);
                }
            }
        }
    }

    /// A straight line, two dots wide.
    pub(crate) fn line(&mut self, [x0, y0]: [i64; 2], [x1, y1]: [i64; 2], colour: Colour) {
        let steps = (x1 - x0).abs().max((y1 - y0).abs()).max(1);
        for step in 0..=steps {
            let at = |a: i64, b: i64| a + ((b - a) * step + steps / 2).div_euclid(steps);
            let (x, y) = (at(x0, x1), at(y0, y1));
            self.rectangle(x, y, [2, 2], colour);
        }
    }

    /// Text from its upper left corner on.
    pub(crate) fn text(&mut self, x: i64, y: i64, text: &str, colour: Colour) {
        for (i, letter) in text.chars().enumerate() {
            let left = x + (i * Canvas::LETTER) as i64;
            for (row, bits) in font::rows(letter).into_iter().enumerate() {
                for column in 0..font::WIDTH {
                    if bits >> (font::WIDTH - 1 - column) & 1 == 1 {
                        let (x, y) = (left + 2 * column as i64, y + 2 * row as i64);
                        self.rectangle(x, y, [2, 2], colour);
                    }
                }
            }
        }
    }

    /// Text around a middle.
    pub(crate) fn centred(&mut self, x: i64, y: i64, text: &str, colour: Colour) {
        self.text(x - Canvas::width_of(text) as i64 / 2, y, text, colour);
    }

    /// Text that ends here.
    pub(crate) fn right(&mut self, x: i64, y: i64, text: &str, colour: Colour) {
        self.text(x - Canvas::width_of(text) as i64, y, text, colour);
    }

    /// An image of `[height, width, channels]` with pixels in [0, 1], each of them `scale` dots
    /// wide and high.
    pub(crate) fn image(
        &mut self,
        x: i64,
        y: i64,
        image: &[f32],
        [height, width, channels]: [usize; 3],
        scale: usize,
    ) {
        for row in 0..height {
            for column in 0..width {
                let pixel = &image[(row * width + column) * channels..][..channels];
                let level = |c: usize| (pixel[c.min(channels - 1)] * 255.0).round() as u8;
                let place = [x + (column * scale) as i64, y + (row * scale) as i64];
                self.rectangle(
                    place[0],
                    place[1],
                    [scale; 2],
                    [level(0), level(1), level(2)],
                );
            }
        }
    }

    /// As a picture that can be saved.
    pub(crate) fn picture(self) -> Picture {
        let shape = ImageShape {
            height: self.height,
            width: self.width,
            channels: 3,
        };
        Picture::plain(shape, self.pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_not_drawn() {
        let mut canvas = Canvas::new(8, 6);
        canvas.rectangle(-3, -3, [4, 4], Canvas::BLACK);
        canvas.line([-5, 20], [100, -7], Canvas::GREY);
        canvas.disc(7, 5, 9, [255; 3]);
        canvas.text(6, 4, "far", Canvas::BLACK);
        assert_eq!(canvas.pixels.len(), 8 * 6 * 3);
    }

    #[test]
    fn colours_and_grey_land_where_they_belong() {
        let mut canvas = Canvas::new(4, 2);
        canvas.image(0, 0, &[1.0, 0.5], [1, 2, 1], 1);
        canvas.image(2, 0, &[1.0, 0.0, 0.2], [1, 1, 3], 2);
        assert_eq!(
            canvas.pixels[..12],
            [255, 255, 255, 128, 128, 128, 255, 0, 51, 255, 0, 51]
        );
        assert_eq!(canvas.pixels[18..24], [255, 0, 51, 255, 0, 51]);
    }
}
