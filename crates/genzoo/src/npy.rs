//! Arrays as NumPy's `.npy` files: 32-bit floats and integers, rows first.
//!
//! The format: `\x93NUMPY`, version, length of the header, and a header such as
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`, padded to 64 bytes.

use anyhow::Context;
use grad::Tensor;
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Bytes of all numbers of a file that is read: no more than this.
const LARGEST: usize = 1 << 32;

fn whole(descr: &str, shape: &[usize], numbers: impl Iterator<Item = [u8; 4]>) -> Vec<u8> {
    let extents: Vec<String> = shape.iter().map(|n| format!("{n},")).collect();
    let extents = extents.join(" ");
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    while !(MAGIC.len() + 4 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(numbers.flatten());
    bytes
}

/// Floats of any shape.
pub(crate) fn floats(tensor: &Tensor<f32>) -> Vec<u8> {
    whole(
        "<f4",
        &tensor.shape()[..],
        tensor.data().iter().map(|x| x.to_le_bytes()),
    )
}

/// A list of counts.
pub(crate) fn counts(list: &[u32]) -> Vec<u8> {
    whole("<u4", &[list.len()], list.iter().map(|n| n.to_le_bytes()))
}

/// Reads floats: the shape and the numbers.
pub(crate) fn read(path: &Path) -> anyhow::Result<(Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    parse(&bytes).map_err(|reason| anyhow::anyhow!("{}: {reason}", path.display()))
}

fn parse(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("expected a .npy file")?;
    let (length, header) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err("expected version 1, 2 or 3 of the .npy format".into()),
    };
    if header.len() < length {
        return Err(format!(
            "expected a header of {length} bytes, found {}",
            header.len()
        ));
    }
    let (header, numbers) = header.split_at(length);
    let header = std::str::from_utf8(header).map_err(|_| "expected a header of text")?;
    let after = |key: &str| {
        let place = header.find(&format!("'{key}'"))?;
        header[place..]
            .split_once(':')
            .map(|(_, rest)| rest.trim_start())
    };
    let wide = match after("descr").map(|text| text.get(..5).unwrap_or_default()) {
        Some("'<f4'") => 4,
        Some("'<f8'") => 8,
        _ => return Err("expected 32-bit or 64-bit floats, least byte first".into()),
    };
    if !after("fortran_order").is_some_and(|text| text.starts_with("False")) {
        return Err("expected rows first (fortran_order False)".into());
    }
    let shape = after("shape").and_then(|text| text.strip_prefix('(')?.split_once(')'));
    let (shape, _) = shape.ok_or("expected a shape")?;
    let extents = shape
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let extents: Option<Vec<usize>> = extents.map(|text| text.parse().ok()).collect();
    let extents = extents.ok_or_else(|| format!("expected a shape, found ({shape})"))?;
    let count = extents
        .iter()
        .try_fold(1usize, |n, &extent| n.checked_mul(extent));
    let count = count.filter(|&n| n <= LARGEST / wide);
    let count = count.ok_or_else(|| format!("a shape of too many numbers: ({shape})"))?;
    if numbers.len() != count * wide {
        return Err(format!(
            "expected {} bytes of numbers, found {}",
            count * wide,
            numbers.len()
        ));
    }
    let number = |bytes: &[u8]| match *bytes {
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        _ => f32::NAN,
    };
    Ok((extents, numbers.chunks_exact(wide).map(number).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let tensor = Tensor::new([2, 3], &[1.0, -2.5, 3.0, 0.0, 1e-9, f32::MAX]);
        let bytes = floats(&tensor);
        assert_eq!(bytes.len(), 128 + 24);
        assert_eq!(parse(&bytes), Ok((vec![2, 3], tensor.data().to_vec())));
        assert!(counts(&[1, 2]).len() % 64 == 8);
        assert!(parse(&counts(&[1])).is_err());
    }

    #[test]
    fn damaged_files_are_errors() {
        let bytes = floats(&Tensor::new([2], &[1.0, 2.0]));
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "{length}");
        }
        let text = String::from_utf8_lossy(&bytes[10..80]).into_owned();
        assert!(text.contains("(2,)"), "{text}");
        let mut large = bytes.clone();
        let place = 10 + text.find("(2,)").unwrap();
        large[place + 1] = b'9';
        assert!(parse(&large).unwrap_err().starts_with("expected 36 bytes"));
    }
}
