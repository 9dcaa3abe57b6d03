//! The cache: once imported, mapped; imported again when the source changes; never half a file.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Place, idx_images, mnist};
use dataset::{Cache, Dataset, Source, Split};

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

/// Other bytes of equal size and time, put in the place of the old ones, are other data.
#[cfg(unix)]
#[test]
fn bytes_of_equal_size_and_time_are_imported_anew() {
    let root = tempfile::tempdir().unwrap();
    let (place, cache) = (
        root.path().join("data"),
        Cache::new(root.path().join("cache")),
    );
    fs::create_dir(&place).unwrap();
    let file = place.join("train-images-idx3-ubyte");
    let idx = |fill: u8| {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 3];
        bytes.extend([fill; 24 * 3]);
        bytes
    };
    fs::write(&file, idx(7)).unwrap();
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let source = Source::Path(place.clone());
    let first = Dataset::open(&source, &cache).unwrap().fingerprint();
    fs::write(&file, idx(9)).unwrap();
    let opened = fs::File::options().write(true).open(&file).unwrap();
    opened.set_modified(time).unwrap();
    let second = Dataset::open(&source, &cache).unwrap().fingerprint();
    assert_ne!(first, second);
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    // As any new file, so that others may read it.
    let made = fs::read_dir(cache.directory())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(mode(&made), mode(&file));
}

/// A cached file whose payload was overwritten is noticed and imported anew.
#[test]
fn an_overwritten_payload_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::new(root.path());
    let whole = Dataset::open(&Source::Glyphs, &cache)
        .unwrap()
        .fingerprint();
    let path = fs::read_dir(root.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let again = Dataset::open(&Source::Glyphs, &cache).unwrap();
    assert_eq!(again.fingerprint(), whole);
    again.verify().unwrap();
}
