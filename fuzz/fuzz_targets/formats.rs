//! Any bytes as a file of any format, raw or gzip: an answer or an error.
#![no_main]

use dataset::formats::{FORMATS, HEAD};

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    for format in FORMATS {
        if let Ok(bytes) = format.unpack(file.to_vec()) {
            let _ = (format.sniff)(&bytes[..bytes.len().min(HEAD)]);
            let _ = (format.parse)(&bytes);
        }
    }
});
