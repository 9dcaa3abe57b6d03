//! The binary version of CIFAR-10 (Krizhevsky 2009, *Learning multiple layers of features from
//! tiny images*): records of a label byte, then 1024 red, 1024 green and 1024 blue bytes.

use std::borrow::Cow;

use super::{Format, Images, Part};
use crate::error::Malformed;
use crate::image::ImageShape;

const PLANE: usize = 32 * 32;
const RECORD: usize = 1 + 3 * PLANE;
const CLASSES: u8 = 10;

pub(super) const FORMAT: Format = Format {
    name: "cifar-10",
    about: "CIFAR-10, binary version: data_batch_*.bin and test_batch.bin, raw or .gz",
    // There is no magic number: a whole record, and a label wherever one belongs.
    sniff: |head| head.len() >= RECORD && head.iter().step_by(RECORD).all(|&l| l < CLASSES),
    magic: false,
    named: |name| name.contains("_batch") && name.ends_with(".bin"),
    // All 60,000 images in one file.
    bound: |_| 60_000 * RECORD as u64,
    parse,
    write,
    many: true,
    // The last 5,000 of 50,000.
    valid_share: 10,
};

fn parse(bytes: &[u8]) -> Result<Part<'_>, Malformed> {
    let rest = bytes.len() % RECORD;
    if bytes.is_empty() || rest != 0 {
        let expected = format!("a record of {RECORD} bytes");
        let found = match bytes.len() {
            0 => "an empty file".to_owned(),
            _ => format!("{rest} bytes"),
        };
        return Err(Malformed::new((bytes.len() - rest) as u64, expected, found));
    }
    let count = bytes.len() / RECORD;
    let mut labels = Vec::with_capacity(count);
    let mut pixels = Vec::with_capacity(count * 3 * PLANE);
    for (k, record) in bytes.chunks_exact(RECORD).enumerate() {
        let (label, planes) = (record[0], &record[1..]);
        if label >= CLASSES {
            let expected = format!("a label below {CLASSES}");
            return Err(Malformed::new(
                (k * RECORD) as u64,
                expected,
                label.to_string(),
            ));
        }
        labels.push(label);
        let (red, rest) = planes.split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        let colours = red.iter().zip(green).zip(blue);
        pixels.extend(colours.flat_map(|((&r, &g), &b)| [r, g, b]));
    }
    Ok(Part::Images(Images {
        shape: ImageShape {
            height: 32,
            width: 32,
            channels: 3,
        },
        levels: 256,
        count,
        pixels: Cow::Owned(pixels),
        labels: Some(labels),
    }))
}

fn write(images: &Images<'_>) -> Vec<u8> {
    let labels = images.labels.as_deref().unwrap_or_default();
    let mut file = Vec::with_capacity(images.count * RECORD);
    for (k, image) in images.pixels.chunks(3 * PLANE).enumerate() {
        file.push(labels.get(k).copied().unwrap_or(0));
        for colour in 0..3 {
            file.extend(image.iter().skip(colour).step_by(3));
        }
    }
    file
}
