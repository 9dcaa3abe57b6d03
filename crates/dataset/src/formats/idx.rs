//! IDX, the format of MNIST and its descendants (LeCun, Cortes and Burges, *The MNIST database*).
//!
//! Two zero bytes, the type of the elements (0x08: unsigned byte), the number of dimensions, each
//! dimension as a big-endian u32, then the elements. One dimension is labels, three are grey
//! images [count, height, width], four are images [count, height, width, channels].

use std::borrow::Cow;

use super::{Format, Images, Part};
use crate::error::Malformed;
use crate::image::ImageShape;

pub(super) const FORMAT: Format = Format {
    name: "idx",
    about: "IDX images and labels (MNIST, Fashion-MNIST), raw or .gz",
    sniff: |head| {
        head.len() >= 4
            && head[..2] == [0, 0]
            && type_name(head[2]).is_some()
            && (1..=4).contains(&head[3])
    },
    magic: true,
    named: |name| name.contains("ubyte") || name.contains("-idx") || name.ends_with(".idx"),
    bound: |head| header(head).map_or(0, |header| header.length),
    parse,
    write,
    many: false,
    // MNIST: the last 5,000 of 60,000.
    valid_share: 12,
};

struct Header {
    dims: [u32; 4],
    rank: usize,
    /// Bytes of header.
    start: usize,
    /// Bytes of a whole file with this header.
    length: u64,
}

fn type_name(code: u8) -> Option<&'static str> {
    Some(match code {
        0x08 => "unsigned byte",
        0x09 => "signed byte",
        0x0b => "short",
        0x0c => "int",
        0x0d => "float",
        0x0e => "double",
        _ => return None,
    })
}

fn header(bytes: &[u8]) -> Result<Header, Malformed> {
    let Some(&[zero_a, zero_b, element, rank]) = bytes.first_chunk::<4>() else {
        let found = match bytes.len() {
            0 => "an empty file".to_owned(),
            n => format!("{n} bytes"),
        };
        return Err(Malformed::new(0, "a magic number of 4 bytes", found));
    };
    if [zero_a, zero_b] != [0, 0] {
        let found = format!("{zero_a:#04x} {zero_b:#04x}");
        return Err(Malformed::new(0, "two zero bytes of an IDX file", found));
    }
    if element != 0x08 {
        let name = type_name(element).unwrap_or("no type");
        let found = format!("{element:#04x} ({name})");
        return Err(Malformed::new(
            2,
            "element type 0x08 (unsigned byte)",
            found,
        ));
    }
    if ![1, 3, 4].contains(&rank) {
        return Err(Malformed::new(3, "1, 3 or 4 dimensions", rank.to_string()));
    }
    let rank = usize::from(rank);
    let start = 4 + 4 * rank;
    if bytes.len() < start {
        let expected = format!("{rank} dimensions of 4 bytes");
        return Err(Malformed::new(
            4,
            expected,
            format!("{} bytes", bytes.len() - 4),
        ));
    }
    let mut dims = [1; 4];
    for (dim, bytes) in dims.iter_mut().zip(bytes[4..start].as_chunks::<4>().0) {
        *dim = u32::from_be_bytes(*bytes);
    }
    if let Some(k) = dims.iter().position(|&dim| dim == 0) {
        return Err(Malformed::new(4 + 4 * k as u64, "a dimension above 0", "0"));
    }
    let length = dims
        .iter()
        .try_fold(1u64, |product, &dim| product.checked_mul(u64::from(dim)))
        .and_then(|product| product.checked_add(start as u64))
        .filter(|&length| isize::try_from(length).is_ok())
        .ok_or_else(|| {
            let found = format!("{:?}", &dims[..rank]);
            Malformed::new(4, "dimensions of a file that fits in memory", found)
        })?;
    Ok(Header {
        dims,
        rank,
        start,
        length,
    })
}

fn parse(bytes: &[u8]) -> Result<Part<'_>, Malformed> {
    let Header {
        dims,
        rank,
        start,
        length,
    } = header(bytes)?;
    let what = if rank == 1 { "labels" } else { "images" };
    let (body, due) = (&bytes[start..], length - start as u64);
    if (body.len() as u64) < due {
        let expected = format!("{} {what} ({due} bytes)", dims[0]);
        return Err(Malformed::new(4, expected, format!("{} bytes", body.len())));
    }
    if body.len() as u64 > due {
        let expected = format!("the end of the file after {} {what}", dims[0]);
        return Err(Malformed::new(length, expected, "more bytes"));
    }
    if rank == 1 {
        return Ok(Part::Labels(Cow::Borrowed(body)));
    }
    let [count, height, width, channels] = dims.map(|dim| dim as usize);
    if ![1, 3].contains(&channels) {
        return Err(Malformed::new(16, "1 or 3 channels", channels.to_string()));
    }
    Ok(Part::Images(Images {
        shape: ImageShape {
            height,
            width,
            channels,
        },
        levels: 256,
        count,
        pixels: Cow::Borrowed(body),
        labels: None,
    }))
}

fn write(images: &Images<'_>) -> Vec<u8> {
    let ImageShape {
        height,
        width,
        channels,
    } = images.shape;
    let dims = [images.count, height, width, channels];
    let rank = if channels == 1 { 3 } else { 4 };
    let mut file = vec![0, 0, 0x08, rank as u8];
    for &dim in &dims[..rank] {
        file.extend((dim as u32).to_be_bytes());
    }
    file.extend(&images.pixels[..]);
    file
}
