//! Any bytes as a mapped file (checksums off): refused, or everything in it can be looked at.
#![no_main]

use dataset::{Binarize, Dataset, Split, fill};

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let Ok(data) = Dataset::from_bytes(file.to_vec()) else {
        return;
    };
    let mut out = vec![0.0; data.shape().len().min(1 << 16)];
    for split in Split::ALL {
        let view = data.split(split);
        for index in 0..view.len().min(1 << 10) {
            let _ = (view.image(index), view.label(index));
            if out.len() == data.shape().len() {
                fill(view, index, Binarize::Dynamic, 0, 0, &mut out);
            }
        }
    }
    let _ = (data.name(), data.source(), data.verify());
});
