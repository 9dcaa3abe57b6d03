//! Whatever the bytes, an answer or an error: never a panic, never memory without end.

mod common;

use common::{cifar, gz, idx_images, idx_labels};
use dataset::formats::{FORMATS, Format, HEAD, Part};
use dataset::{Dataset, Examples, ImageShape, Parcel, Split};
use proptest::prelude::*;

/// Parse as an import does, and check what comes out against itself.
fn parse(format: &Format, file: Vec<u8>) {
    let Ok(bytes) = format.unpack(file) else {
        return;
    };
    let _ = (format.sniff)(&bytes[..bytes.len().min(HEAD)]);
    match (format.parse)(&bytes) {
        Ok(Part::Images(images)) => {
            assert!(images.count > 0 && images.levels <= 256);
            assert_eq!(images.pixels.len(), images.count * images.shape.len());
            assert!(images.pixels.iter().all(|&p| u32::from(p) < images.levels));
            // Of two levels, or without numbers between them, it can be written again.
            if images.levels == 2 || format.name != "amat" {
                let again = (format.write)(&images);
                assert_eq!((format.parse)(&again), Ok(Part::Images(images.clone())));
            }
            assert!(
                images
                    .labels
                    .is_none_or(|labels| labels.len() == images.count)
            );
        }
        Ok(Part::Labels(labels)) => assert!(!labels.is_empty()),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}

/// A valid file of every kind.
fn valid() -> Vec<Vec<u8>> {
    let amat = b"0 1 1 0 \n1 0 1 1 \n".to_vec();
    let labelled = b"0 0.25 1 0 7\n1 0 .5 1 3\n".to_vec();
    let raw = vec![
        idx_images(3, 0),
        idx_labels(&[1, 2, 3]),
        cifar(&[3, 4]),
        amat,
        labelled,
    ];
    let packed: Vec<_> = raw.iter().map(|bytes| gz(bytes)).collect();
    raw.into_iter().chain(packed).collect()
}

fn mapped() -> Vec<u8> {
    let place = common::Place::new();
    for (name, bytes) in common::mnist() {
        place.put(name, &bytes);
    }
    drop(place.open().unwrap());
    let mut entries = std::fs::read_dir(place.cache().directory()).unwrap();
    std::fs::read(entries.next().unwrap().unwrap().path()).unwrap()
}

/// Look at all there is to see.
fn visit(data: &Dataset) {
    let mut out = vec![0.0; data.shape().len()];
    for split in Split::ALL {
        let view = data.split(split);
        for index in 0..view.len() {
            assert!(
                view.label(index)
                    .is_none_or(|label| label < data.classes().unwrap())
            );
            dataset::fill(view, index, dataset::Binarize::Dynamic, 0, 0, &mut out);
        }
    }
    let _ = (data.name(), data.source(), data.verify());
}

#[test]
fn a_valid_file_is_known_by_its_content() {
    for file in valid() {
        let known: Vec<_> = FORMATS
            .iter()
            .filter(|format| {
                let bytes = format.unpack(file.clone()).unwrap();
                (format.sniff)(&bytes[..bytes.len().min(HEAD)]) && (format.parse)(&bytes).is_ok()
            })
            .map(|format| format.name)
            .collect();
        assert_eq!(known.len(), 1, "{known:?}");
    }
}

#[test]
fn every_truncation_and_bit_flip_of_a_mapped_header_is_refused() {
    let whole = mapped();
    visit(&Dataset::from_bytes(whole.clone()).unwrap());
    for length in 0..whole.len() {
        assert!(
            Dataset::from_bytes(whole[..length].to_vec()).is_err(),
            "length {length}"
        );
    }
    for bit in 0..256 * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Dataset::from_bytes(flipped).is_err(), "bit {bit}");
    }
    for bit in 256 * 8..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(data) = Dataset::from_bytes(flipped) {
            visit(&data);
            assert!(data.verify().is_err(), "bit {bit} goes unseen");
        }
    }
}

#[test]
fn data_in_memory_are_checked() {
    let shape = ImageShape {
        height: 1,
        width: 2,
        channels: 1,
    };
    let open = |levels, pixels: &[u8], labels: Option<&[u8]>| {
        let split = Examples { pixels, labels };
        let none = Examples {
            pixels: &[],
            labels: labels.map(|_| &[][..]),
        };
        Dataset::in_memory("two", shape, levels, [split, none, none]).map(|data| visit(&data))
    };
    open(256, &[1, 2, 3, 4], Some(&[0, 255])).unwrap();
    let says = |result: Result<(), dataset::Malformed>| result.unwrap_err().to_string();
    assert_eq!(
        says(open(256, &[1, 2, 3], None)),
        "byte 2: expected whole images of 2 bytes, found 1 bytes"
    );
    assert_eq!(
        says(open(2, &[0, 2], None)),
        "byte 1: expected a pixel below 2, found 2"
    );
    assert_eq!(
        says(open(256, &[0, 2], Some(&[]))),
        "byte 0: expected 1 labels, found 0"
    );
    assert_eq!(
        says(open(16, &[0, 2], None)),
        "byte 24: expected 2 or 256 levels, found 16"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_bytes_as_a_list_of_parcels(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(parcels) = Parcel::parse(&bytes) {
            prop_assert_eq!(Parcel::encode(&parcels), bytes);
        }
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for format in FORMATS {
            parse(format, bytes.clone());
        }
        prop_assert!(Dataset::from_bytes(bytes).is_err());
    }

    #[test]
    fn random_text(bytes in "[0-9. \n\te+-]{0,80}") {
        for format in FORMATS {
            parse(format, bytes.clone().into_bytes());
        }
    }

    #[test]
    fn random_idx_headers(dims in prop::collection::vec(prop_oneof![0..5u32, any::<u32>()], 0..6), body in 0..200usize) {
        parse(&FORMATS[0], common::idx(&dims, &vec![1; body]));
    }

    #[test]
    fn truncated_and_flipped(which in 0..10usize, cut in any::<prop::sample::Index>(), flips in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let mut bytes = valid().swap_remove(which);
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        for format in FORMATS {
            parse(format, bytes.clone());
        }
    }
}
