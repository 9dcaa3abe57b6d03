//! Any bytes as an archive of compressed images, and its note as a list of files: refused, or read
//! as whatever images its texts mean.
#![no_main]

use autoregressive::{Density, PixelCnn, Pixels};
use lossless::{Archive, Codec};
use nn::model::ImageSpec;
use nn::{Builder, Params};
use std::sync::LazyLock;

const SPEC: ImageSpec = ImageSpec::new(3, 4, 1, 4);

static MODEL: LazyLock<(Density<PixelCnn>, Params<f32>)> = LazyLock::new(|| {
    let mut params = Params::new();
    let mut builder = Builder::new(&mut params, 0);
    let model = PixelCnn::new(&mut builder, SPEC, Pixels::of(&SPEC), 4, 1, 4);
    (Density(model), params)
});

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _ = dataset::Parcel::parse(file);
    let Ok(archive) = Archive::parse(file) else {
        return;
    };
    let _ = dataset::Parcel::parse(archive.note());
    if let Some(codec) = Codec::new(&MODEL.0, &MODEL.1, SPEC, "fuzz") {
        let _ = codec.read(&archive);
    }
});
