//! Gzip with a bound: a small file that claims to unpack into gigabytes is stopped in time.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::error::Malformed;
use crate::formats::HEAD;

/// Most bytes that are decompressed, whatever a header announces: a header may lie too.
const LIMIT: u64 = 1 << 30;

/// Whether these bytes are gzip: magic number and the one method there is.
pub(crate) fn is_gz(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 8])
}

/// The first [`HEAD`] decompressed bytes, or all where there are fewer.
pub(crate) fn head(compressed: impl Read) -> Result<Vec<u8>, Malformed> {
    let mut bytes = Vec::with_capacity(HEAD);
    read(
        &mut MultiGzDecoder::new(compressed),
        HEAD as u64,
        &mut bytes,
    )?;
    Ok(bytes)
}

/// Everything, but at most one byte more than `bound(head)`: enough for a parser to see that
/// there is too much.
pub(crate) fn decompress(
    compressed: impl Read,
    bound: impl FnOnce(&[u8]) -> u64,
) -> Result<Vec<u8>, Malformed> {
    let mut decoder = MultiGzDecoder::new(compressed);
    let mut bytes = Vec::new();
    read(&mut decoder, HEAD as u64, &mut bytes)?;
    let bound = bound(&bytes);
    if bound > LIMIT {
        let expected = format!("at most {LIMIT} bytes in a .gz (unpack larger files first)");
        let found = format!("a header that announces {bound}");
        return Err(Malformed::new(0, expected, found));
    }
    let limit = bound + 1;
    // The vector grows with what is really there, never with what a header claims.
    read(
        &mut decoder,
        limit.saturating_sub(bytes.len() as u64),
        &mut bytes,
    )?;
    Ok(bytes)
}

fn read(decoder: &mut impl Read, limit: u64, bytes: &mut Vec<u8>) -> Result<(), Malformed> {
    match decoder.take(limit).read_to_end(bytes) {
        Ok(_) => Ok(()),
        Err(error) => {
            let found = error.to_string();
            let found = found.lines().next().unwrap_or_default();
            Err(Malformed::new(bytes.len() as u64, "gzip data", found))
        }
    }
}
