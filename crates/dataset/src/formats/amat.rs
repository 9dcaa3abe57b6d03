//! Larochelle's text format `.amat`: a line an image, values apart by white space.
//!
//! A line has side² values, or side² + 1, the last of which is then the label. Values lie in
//! [0, 1]. A file in which all are `0` or `1` has two levels (binarised MNIST: Larochelle and
//! Murray 2011, *The neural autoregressive distribution estimator*); in any other file value v
//! becomes the grey level 255 v, rounded.

use std::borrow::Cow;

use super::{Format, Images, Part};
use crate::error::Malformed;
use crate::image::ImageShape;

pub(super) const FORMAT: Format = Format {
    name: "amat",
    about: "Larochelle's text format .amat (binarised MNIST), raw or .gz",
    sniff: |head| {
        let text = |&b: &u8| b.is_ascii_digit() || b"+-.eE \t\r\n".contains(&b);
        head.iter().all(text) && head.contains(&b' ') && head.iter().any(u8::is_ascii_digit)
    },
    magic: false,
    named: |name| name.ends_with(".amat"),
    // Binarised MNIST's training file has 78,400,000 bytes.
    bound: |_| 1 << 28,
    parse,
    write,
    many: false,
    valid_share: 6,
};

fn parse(bytes: &[u8]) -> Result<Part<'_>, Malformed> {
    let blank = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
    if blank == bytes.len() {
        let found = if bytes.is_empty() {
            "an empty file"
        } else {
            "blank lines"
        };
        return Err(Malformed::new(0, "a line of numbers", found));
    }
    let mut reader = Reader { bytes, at: blank };
    let mut first = reader;
    let mut values = 0;
    while first.token().is_some() {
        values += 1;
    }
    let columns = Columns::of(values).ok_or_else(|| {
        let expected = "a line of side^2 values, or of one more (the label)";
        Malformed::new(blank as u64, expected, format!("{values} values"))
    })?;

    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    let mut count = 0;
    // Pixels are bits until the first value that is neither 0 nor 1; grey levels from then on.
    let mut grey = false;
    while reader.at < bytes.len() {
        if count == u32::MAX as usize {
            return Err(Malformed::new(
                reader.at as u64,
                "fewer than 2^32 lines",
                "more",
            ));
        }
        for k in 0..columns.pixels() {
            let (at, token) = reader.expect(k, columns)?;
            match *token {
                [bit @ (b'0' | b'1')] => pixels.push((bit - b'0') * if grey { 255 } else { 1 }),
                _ => {
                    let value = std::str::from_utf8(token)
                        .ok()
                        .and_then(|t| t.parse::<f64>().ok());
                    let value = value
                        .filter(|value| (0.0..=1.0).contains(value))
                        .ok_or_else(|| {
                            Malformed::new(at as u64, "a number from 0 to 1", show(token))
                        })?;
                    if !grey {
                        grey = true;
                        pixels.iter_mut().for_each(|pixel| *pixel *= 255);
                    }
                    pixels.push((255.0 * value).round() as u8);
                }
            }
        }
        if columns.labelled {
            let (at, token) = reader.expect(columns.pixels(), columns)?;
            let value = std::str::from_utf8(token)
                .ok()
                .and_then(|t| t.parse::<f64>().ok());
            let label = value.filter(|value| value.fract() == 0.0 && (0.0..256.0).contains(value));
            labels.push(
                label.ok_or_else(|| {
                    Malformed::new(at as u64, "a label from 0 to 255", show(token))
                })? as u8,
            );
        }
        if let Some((at, token)) = reader.token() {
            let expected = format!("the end of a line of {} values", columns.values());
            return Err(Malformed::new(at as u64, expected, show(token)));
        }
        reader.skip_blank_lines();
        count += 1;
    }
    Ok(Part::Images(Images {
        shape: ImageShape {
            height: columns.side,
            width: columns.side,
            channels: 1,
        },
        levels: if grey { 256 } else { 2 },
        count,
        pixels: Cow::Owned(pixels),
        labels: columns.labelled.then_some(labels),
    }))
}

/// What every line of a file holds.
#[derive(Clone, Copy)]
struct Columns {
    side: usize,
    labelled: bool,
}

impl Columns {
    /// No number is both a square and one more than a square, 1 aside: that is a pixel.
    fn of(values: usize) -> Option<Columns> {
        let side = values.isqrt();
        let labelled = side * side != values;
        let columns = Columns { side, labelled };
        (side > 0 && columns.values() == values).then_some(columns)
    }

    fn pixels(self) -> usize {
        self.side * self.side
    }

    fn values(self) -> usize {
        self.pixels() + usize::from(self.labelled)
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next value of this line and its offset; `None`, and no step, at the line's end.
    fn token(&mut self) -> Option<(usize, &'a [u8])> {
        while let Some(b' ' | b'\t' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at)
            && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
        {
            self.at += 1;
        }
        (self.at > start).then(|| (start, &self.bytes[start..self.at]))
    }

    /// Value `k` of a line, which must be there.
    fn expect(&mut self, k: usize, columns: Columns) -> Result<(usize, &'a [u8]), Malformed> {
        self.token().ok_or_else(|| {
            let expected = format!("a line of {} values", columns.values());
            Malformed::new(self.at as u64, expected, format!("its end after {k}"))
        })
    }

    fn skip_blank_lines(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
    }
}

/// The beginning of a token, for a message of one line.
fn show(token: &[u8]) -> String {
    format!("\"{}\"", token[..token.len().min(24)].escape_ascii())
}

/// Values of two levels, one blank between them, as binarised MNIST is written.
fn write(images: &Images<'_>) -> Vec<u8> {
    let mut file = Vec::with_capacity(2 * images.pixels.len());
    for (k, image) in images.pixels.chunks(images.shape.len()).enumerate() {
        let label = images.labels.as_ref().and_then(|labels| labels.get(k));
        for value in image.iter().chain(label) {
            file.extend(value.to_string().bytes());
            file.push(b' ');
        }
        if let Some(last) = file.last_mut() {
            *last = b'\n';
        }
    }
    file
}
