//! Directories of official files, and what is said about those that are not in order.

mod common;

use common::{Place, cifar, gz, idx, idx_images, idx_labels, mnist};
use dataset::{Dataset, Source, Split};

fn lengths(data: &Dataset) -> [usize; 3] {
    Split::ALL.map(|split| data.split(split).len())
}

#[test]
fn mnist_raw_packed_and_mixed() {
    for packed in 0..16 {
        let place = Place::new();
        for (k, (name, bytes)) in mnist().into_iter().enumerate() {
            match packed >> k & 1 {
                0 => place.put(name, &bytes),
                _ => place.put(&format!("{name}.gz"), &gz(&bytes)),
            }
        }
        place.put("README.md", b"not a data file");
        let data = place.open().unwrap();
        assert_eq!(
            (data.name(), data.levels(), data.classes()),
            ("data", 256, Some(10))
        );
        assert_eq!(data.shape().to_string(), "2x3x1");
        assert_eq!(
            lengths(&data),
            [11, 1, 4],
            "the last twelfth is for validation"
        );
        let image = |split, index| data.split(split).image(index);
        assert_eq!(image(Split::Train, 1), [6, 7, 8, 9, 10, 11]);
        assert_eq!(image(Split::Valid, 0), [66, 67, 68, 69, 70, 71]);
        assert_eq!(image(Split::Test, 3), [118, 119, 120, 121, 122, 123]);
        let label = |split, index| data.split(split).label(index).unwrap();
        assert_eq!(
            [
                label(Split::Train, 9),
                label(Split::Valid, 0),
                label(Split::Test, 0)
            ],
            [9, 1, 3]
        );
        data.verify().unwrap();
    }
}

#[test]
fn a_file_beside_its_own_gz_is_read_once_even_below() {
    let place = Place::new();
    for (name, bytes) in mnist() {
        place.put(&format!("MNIST/raw/{name}"), &bytes);
        place.put(&format!("MNIST/raw/{name}.gz"), &gz(&bytes));
    }
    assert_eq!(lengths(&place.open().unwrap()), [11, 1, 4]);
    let data = place.open_at(&place.data().join("MNIST/raw")).unwrap();
    assert_eq!(data.name(), "mnist");
}

#[test]
fn files_without_telling_names_are_paired_by_content() {
    let place = Place::with(&[
        ("a", &idx_images(4, 100)),
        ("b", &idx_images(12, 0)),
        ("c", &idx_labels(&[1; 12])),
        ("d", &idx_labels(&[2; 4])),
    ]);
    let data = place.open().unwrap();
    assert_eq!(lengths(&data), [11, 1, 4]);
    assert_eq!(data.split(Split::Test).label(0), Some(2));
}

#[test]
fn swapped_names_of_images_and_labels_do_not_matter() {
    let place = Place::with(&[
        ("train-labels-idx1-ubyte", &idx_images(6, 0)),
        ("train-images-idx3-ubyte", &idx_labels(&[4; 6])),
    ]);
    assert_eq!(lengths(&place.open().unwrap()), [5, 1, 0]);
}

#[test]
fn one_file_is_a_dataset() {
    let place = Place::with(&[("t10k-images-idx3-ubyte.gz", &gz(&idx_images(4, 0)))]);
    let data = place
        .open_at(&place.data().join("t10k-images-idx3-ubyte.gz"))
        .unwrap();
    assert_eq!((lengths(&data), data.classes()), ([0, 0, 4], None));
    assert_eq!(data.split(Split::Test).label(0), None);
}

#[test]
fn colour_idx_has_four_dimensions() {
    let place = Place::with(&[("train-idx4-ubyte", &idx(&[1, 1, 2, 3], &[1, 2, 3, 4, 5, 6]))]);
    let data = place.open().unwrap();
    assert_eq!(data.shape().to_string(), "1x2x3");
    assert_eq!(data.split(Split::Train).image(0), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn cifar_10_from_any_subset() {
    let place = Place::with(&[
        ("batches.meta.txt", b"airplane\nautomobile\n"),
        ("data_batch_1.bin", &cifar(&[0, 1, 2, 3, 4, 5])),
        ("data_batch_4.bin", &cifar(&[6, 7, 8, 9])),
        ("test_batch.bin", &cifar(&[5])),
    ]);
    let data = place.open().unwrap();
    assert_eq!(lengths(&data), [9, 1, 1]);
    assert_eq!(
        (data.shape().to_string().as_str(), data.classes()),
        ("32x32x3", Some(10))
    );
    let train = data.split(Split::Train);
    for index in 0..9 {
        assert_eq!(train.label(index), Some(index as u32), "batches in order");
        assert_eq!(
            train.image(index)[..6],
            [index as u8, 100, 200, index as u8, 100, 200]
        );
    }
    assert_eq!(data.split(Split::Valid).label(0), Some(9));
}

#[test]
fn amat_of_bits_of_greys_and_with_labels() {
    let place = Place::with(&[
        ("x_train.amat", b"0 1 1 0 \n1 1 1 1\r\n"),
        ("x_valid.amat.gz", &gz(b"0 0 0 0\n")),
        ("x_test.amat", b"1 0 0 1"),
    ]);
    let data = place.open().unwrap();
    assert_eq!(
        (lengths(&data), data.levels(), data.classes()),
        ([2, 1, 1], 2, None)
    );
    assert!(data.is_binary());
    assert_eq!(data.split(Split::Train).image(0), [0, 1, 1, 0]);

    let place = Place::with(&[(
        "t_train.amat",
        b" 1 0 0.5 0.00392156862745098 7\n 0 0 0 1e0 3\n",
    )]);
    let data = place.open().unwrap();
    let train = data.split(Split::Train);
    assert_eq!((data.levels(), data.classes()), (256, Some(8)));
    assert_eq!(
        (train.image(0), train.label(0)),
        (&[255, 0, 128, 1][..], Some(7))
    );
    assert_eq!(
        (train.image(1), train.label(1)),
        (&[0, 0, 0, 255][..], Some(3))
    );
}

/// Each broken file, alone in a directory, and what is said about it after its path.
#[test]
fn broken_files_are_described_in_one_line() {
    let name = "train-images-idx3-ubyte";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            name,
            vec![],
            "byte 0: expected a magic number of 4 bytes, found an empty file",
        ),
        (
            name,
            vec![0, 0],
            "byte 0: expected a magic number of 4 bytes, found 2 bytes",
        ),
        (
            name,
            b"GIF89a".to_vec(),
            "byte 0: expected two zero bytes of an IDX file, found 0x47 0x49",
        ),
        (
            name,
            vec![0, 0, 0x0d, 3],
            "byte 2: expected element type 0x08 (unsigned byte), found 0x0d (float)",
        ),
        (
            name,
            idx(&[1, 1], &[0]),
            "byte 3: expected 1, 3 or 4 dimensions, found 2",
        ),
        (
            name,
            vec![0, 0, 8, 3, 0, 0],
            "byte 4: expected 3 dimensions of 4 bytes, found 2 bytes",
        ),
        (
            name,
            idx(&[0, 28, 28], &[]),
            "byte 4: expected a dimension above 0, found 0",
        ),
        (
            name,
            idx(&[60_000, 28, 28], &[7; 1200]),
            "byte 4: expected 60000 images (47040000 bytes), found 1200 bytes",
        ),
        (
            name,
            idx(&[1, 2, 2], &[0; 5]),
            "byte 20: expected the end of the file after 1 images, found more bytes",
        ),
        (
            name,
            idx(&[u32::MAX; 3], &[0; 5]),
            "byte 4: expected dimensions of a file that fits in memory, found [4294967295, 4294967295, 4294967295]",
        ),
        (
            name,
            idx(&[1, 1, 1, 2], &[0; 2]),
            "byte 16: expected 1 or 3 channels, found 2",
        ),
        (
            "data_batch_1.bin",
            vec![],
            "byte 0: expected a record of 3073 bytes, found an empty file",
        ),
        (
            "data_batch_1.bin",
            cifar(&[3])[..3000].to_vec(),
            "byte 0: expected a record of 3073 bytes, found 3000 bytes",
        ),
        (
            "data_batch_1.bin",
            cifar(&[3, 10]),
            "byte 3073: expected a label below 10, found 10",
        ),
        (
            "a_train.amat",
            vec![],
            "byte 0: expected a line of numbers, found an empty file",
        ),
        (
            "a_train.amat",
            b" \n\n".to_vec(),
            "byte 0: expected a line of numbers, found blank lines",
        ),
        (
            "a_train.amat",
            b"0 1 0\n".to_vec(),
            "byte 0: expected a line of side^2 values, or of one more (the label), found 3 values",
        ),
        (
            "a_train.amat",
            b"0 1 0 1\n0 1 0\n".to_vec(),
            "byte 13: expected a line of 4 values, found its end after 3",
        ),
        (
            "a_train.amat",
            b"0 1 0 1\n0 1 0 1 1".to_vec(),
            "byte 16: expected the end of a line of 4 values, found \"1\"",
        ),
        (
            "a_train.amat",
            b"0 1 0 2".to_vec(),
            "byte 6: expected a number from 0 to 1, found \"2\"",
        ),
        (
            "a_train.amat",
            b"0 1 0 nan".to_vec(),
            "byte 6: expected a number from 0 to 1, found \"nan\"",
        ),
        (
            "a_train.amat",
            b"0 1 0 1 0.5".to_vec(),
            "byte 8: expected a label from 0 to 255, found \"0.5\"",
        ),
    ];
    for (name, bytes, expected) in cases {
        for packed in [false, true] {
            let (name, bytes) = match packed {
                true => (format!("{name}.gz"), gz(&bytes)),
                false => (name.to_owned(), bytes.clone()),
            };
            let place = Place::with(&[(&name, &bytes)]);
            let path = place.data().join(&name);
            assert_eq!(place.complaint(), format!("{}: {expected}", path.display()));
        }
    }
}

#[test]
fn broken_gzip_is_described_too() {
    let whole = gz(&idx_images(200, 0));
    let name = "train-images-idx3-ubyte.gz";
    let says = |bytes: &[u8]| Place::with(&[(name, bytes)]).complaint();
    assert!(says(&whole[..whole.len() / 2]).contains("expected gzip data, found"));
    assert!(says(&whole[..12]).contains("expected gzip data, found"));
    let mut flipped = whole.clone();
    let crc = flipped.len() - 6;
    flipped[crc] ^= 1;
    assert!(
        says(&flipped).contains("expected gzip data, found"),
        "{}",
        says(&flipped)
    );
}

#[test]
fn a_bomb_is_stopped_where_the_header_ends() {
    let bomb = gz(&[&idx_images(4, 0)[..], &vec![0; 1 << 20]].concat());
    let message = Place::with(&[("train-images-idx3-ubyte.gz", &bomb)]).complaint();
    assert!(
        message.ends_with("byte 40: expected the end of the file after 4 images, found more bytes")
    );
    let idx = dataset::formats::FORMATS
        .iter()
        .find(|format| format.name == "idx")
        .unwrap();
    let unpacked = idx.unpack(bomb).unwrap();
    assert!(
        unpacked.len() <= dataset::formats::HEAD,
        "{} bytes",
        unpacked.len()
    );
}

#[test]
fn a_header_that_announces_a_bomb_is_not_believed() {
    let bomb = gz(&common::idx(
        &[1 << 20, 1 << 10, 1 << 10],
        &vec![0; 1 << 20],
    ));
    let message = Place::with(&[("train-images-idx3-ubyte.gz", &bomb)]).complaint();
    assert!(message.ends_with(
        "byte 0: expected at most 1073741824 bytes in a .gz (unpack larger files first), \
         found a header that announces 1099511627792"
    ));
}

#[test]
fn files_that_do_not_fit_together() {
    let (images, labels) = (idx_images(12, 0), idx_labels(&[0; 12]));
    let says = |files: &[(&str, &[u8])]| Place::with(files).complaint();
    let check = |files: &[(&str, &[u8])], expected: &str| {
        let message = says(files);
        assert!(message.ends_with(expected), "{message}\nwanted {expected}");
    };
    check(
        &[],
        "expected files of one of the formats idx, amat, cifar-10, found an empty directory",
    );
    check(
        &[("a", b"x"), ("b", b"y")],
        "found 2 files of none of these",
    );
    check(
        &[
            ("train-images", &images),
            ("train-labels", &idx_labels(&[0; 11])),
        ],
        "train-labels: byte 4: expected 12 labels, one an image of train-images, found 11",
    );
    check(
        &[("train-labels", &labels)],
        "train-labels: labels without train images",
    );
    check(
        &[("train-images", &images), ("train-images-2", &images)],
        "two files of train images: train-images and train-images-2",
    );
    check(
        &[
            ("train-images", &images),
            ("train-labels", &labels),
            ("train-labels-2", &labels),
        ],
        "two files of train labels: train-labels and train-labels-2",
    );
    check(
        &[("a", &images), ("b", &images)],
        "cannot tell which split a is: name it train, valid or test",
    );
    check(
        &[
            ("train-images", &images),
            ("test-images", &idx(&[1, 2, 2], &[0; 4])),
        ],
        "train-images has images of 2x3x1 with 256 levels, test-images of 2x2x1 with 256",
    );
    check(
        &[
            ("train-images", &images),
            ("train-labels", &labels),
            ("test-images", &images),
        ],
        "labels for some splits, but none for the test split",
    );
    check(
        &[("train-images", &images), ("a.amat", b"0 1 0 1")],
        "train-images (idx)",
    );
}

#[test]
fn names_and_paths() {
    let place = Place::new();
    for (name, bytes) in mnist() {
        place.put(name, &bytes);
    }
    let path = place.data();
    assert_eq!(Source::parse("glyphs").unwrap(), Source::Glyphs);
    assert_eq!(
        Source::parse(path.to_str().unwrap()).unwrap(),
        Source::Path(path)
    );
    assert!(
        Source::parse("no/such/place")
            .unwrap_err()
            .to_string()
            .starts_with("no/such/place: cannot open:")
    );
    let missing = Source::parse("mnsit").unwrap();
    let known = |source: &Source| {
        Dataset::open(source, &place.cache())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        known(&missing),
        "no dataset \"mnsit\": it is neither a path nor one of glyphs"
    );
    place.open().unwrap();
    assert_eq!(
        known(&missing),
        "no dataset \"mnsit\": it is neither a path nor one of data, glyphs"
    );
    let named = Dataset::open(&Source::Imported("data".to_owned()), &place.cache()).unwrap();
    assert_eq!(named.split(Split::Train).len(), 11);
    assert!(named.source().ends_with("data"));
}

/// What only begins like data beside data is ignored, and named.
#[test]
fn a_list_of_numbers_beside_images_is_ignored() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("data");
    std::fs::create_dir(&place).unwrap();
    let mut idx = vec![0, 0, 8, 3, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 3];
    idx.extend([5; 24 * 3]);
    std::fs::write(place.join("train-images-idx3-ubyte"), idx).unwrap();
    std::fs::write(place.join("mapping.txt"), "0 48\n1 49\n").unwrap();
    std::fs::write(place.join("zeros"), [0; 4096]).unwrap();
    let cache = dataset::Cache::new(root.path().join("cache"));
    let data = dataset::Dataset::open(&dataset::Source::Path(place), &cache).unwrap();
    assert_eq!(
        data.split(dataset::Split::Train).len() + data.split(dataset::Split::Valid).len(),
        24
    );
    let ignored: Vec<&str> = data.ignored().collect();
    assert!(
        ignored
            .iter()
            .all(|name| ["mapping.txt", "zeros"].contains(name)),
        "{ignored:?}"
    );
}
