//! The real files, where a machine has them: in `$GENZOO_DATA`, or in `shared/data` beside the
//! workspace. Absent ones are skipped with a note.

mod common;

use std::path::{Path, PathBuf};

use common::Place;
use dataset::{Dataset, Split};

fn find(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("GENZOO_DATA").map_or(beside, PathBuf::from);
    let path = root.join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "skipped: no {} (set GENZOO_DATA to the directory that holds it)",
        path.display()
    );
    None
}

fn lengths(data: &Dataset) -> [usize; 3] {
    Split::ALL.map(|split| data.split(split).len())
}

#[test]
fn mnist() {
    let Some(path) = find("mnist") else { return };
    let place = Place::new();
    let data = place.open_at(&path).unwrap();
    assert_eq!(
        (data.name(), data.shape().len(), data.classes()),
        ("mnist", 784, Some(10))
    );
    assert_eq!(lengths(&data), [55_000, 5_000, 10_000]);
    let first = |split, n: usize| -> Vec<u32> {
        (0..n)
            .map(|k| data.split(split).label(k).unwrap())
            .collect()
    };
    assert_eq!(first(Split::Train, 5), [5, 0, 4, 1, 9]);
    assert_eq!(first(Split::Test, 5), [7, 2, 1, 0, 4]);
    data.verify().unwrap();
}

#[test]
fn binarized_mnist() {
    let Some(path) = find("binarized-mnist") else {
        return;
    };
    let place = Place::new();
    let data = place.open_at(&path).unwrap();
    assert_eq!(lengths(&data), [50_000, 10_000, 10_000]);
    assert_eq!(
        (
            data.levels(),
            data.classes(),
            data.shape().to_string().as_str()
        ),
        (2, None, "28x28x1")
    );
    let pixels = data.split(Split::Train).pixels();
    let ones: u64 = pixels.iter().map(|&p| u64::from(p)).sum();
    let share = ones as f64 / pixels.len() as f64;
    assert!(
        (share - 0.1309).abs() < 0.001,
        "{share} of the pixels are white"
    );
}

#[test]
fn cifar_10() {
    let Some(path) = find("cifar-10") else { return };
    let place = Place::new();
    let data = place.open_at(&path).unwrap();
    assert_eq!(
        (data.shape().to_string().as_str(), data.classes()),
        ("32x32x3", Some(10))
    );
    assert!(data.split(Split::Train).len() > data.split(Split::Valid).len() * 8);
    let train = data.split(Split::Train);
    // data_batch_1 begins with a frog and two lorries.
    let labels: Vec<_> = (0..3).map(|k| train.label(k).unwrap()).collect();
    assert_eq!(labels, [6, 9, 9]);
    assert_eq!(
        train.image(0)[..3],
        [59, 62, 63],
        "red, green, blue of the first pixel"
    );
}
