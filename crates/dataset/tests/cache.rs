//! The cache: once imported, mapped; imported again when the source changes; never half a file.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Place, idx_images, mnist};
use dataset::{Dataset, Split};

fn place() -> Place {
    let place = Place::new();
    for (name, bytes) in mnist() {
        place.put(name, &bytes);
    }
    place
}

fn files(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.cache().directory()).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_second_opening_writes_nothing() {
    let place = place();
    let first = place.open().unwrap();
    let [file] = &files(&place)[..] else {
        panic!("one file: {:?}", files(&place));
    };
    let written = fs::metadata(file).unwrap().modified().unwrap();
    let second = place.open().unwrap();
    assert_eq!(fs::metadata(file).unwrap().modified().unwrap(), written);
    let (a, b) = (first.split(Split::Train), second.split(Split::Train));
    assert_eq!(a.pixels(), b.pixels());
}

#[test]
fn a_changed_source_is_imported_again_and_old_maps_live_on() {
    let place = place();
    let before = place.open().unwrap();
    assert_eq!(before.split(Split::Test).image(0)[0], 100);
    // Another size, so that the change shows even where times are coarse.
    place.put("t10k-images-idx3-ubyte", &idx_images(5, 50));
    place.put("t10k-labels-idx1-ubyte", &common::idx_labels(&[1; 5]));
    let after = place.open().unwrap();
    assert_eq!(
        (
            after.split(Split::Test).len(),
            after.split(Split::Test).image(0)[0]
        ),
        (5, 50)
    );
    assert_eq!(before.split(Split::Test).image(0)[0], 100);
    assert_eq!(files(&place).len(), 1, "the old file is replaced");
}

#[test]
fn a_damaged_file_is_written_anew() {
    let place = place();
    drop(place.open().unwrap());
    let file = files(&place).remove(0);
    let whole = fs::read(&file).unwrap();
    let damaged: [Vec<u8>; 4] = [
        vec![],
        whole[..100].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [&whole[..20], &[9], &whole[21..]].concat(),
    ];
    for bytes in damaged {
        fs::write(&file, &bytes).unwrap();
        assert!(Dataset::open_file(&file).is_err(), "{} bytes", bytes.len());
        assert_eq!(place.open().unwrap().split(Split::Train).len(), 11);
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
}

#[test]
fn a_source_that_breaks_says_so_and_leaves_no_file() {
    let place = place();
    place.put("train-images-idx3-ubyte", &idx_images(12, 0)[..50]);
    assert!(
        place
            .complaint()
            .contains("byte 4: expected 12 images (72 bytes), found 34 bytes")
    );
    assert!(!place.cache().directory().exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let place = place();
    let blocked = place.data().join("blocked");
    fs::write(&blocked, b"a file where a directory should be").unwrap();
    let cache = dataset::Cache::new(blocked.join("cache"));
    let source = dataset::Source::Path(place.data());
    let message = Dataset::open(&source, &cache).unwrap_err().to_string();
    assert!(
        message.contains("blocked/cache: cannot create:"),
        "{message}"
    );
}

#[test]
fn many_openings_at_once_agree() {
    let place = place();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(place.open().unwrap().split(Split::Train).len(), 11));
        }
    });
    assert_eq!(files(&place).len(), 1, "no temporary file is left");
}

#[test]
fn the_cache_lists_what_it_holds() {
    let place = place();
    assert!(place.cache().datasets().unwrap().is_empty());
    place.open().unwrap();
    let all = place.cache().datasets().unwrap();
    assert_eq!(all.iter().map(Dataset::name).collect::<Vec<_>>(), ["data"]);
}
