//! Files of a run that are cut, flipped or made up: an error of one line, never a panic.

mod common;

use common::{TOY, config, data};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use train::{Pool, RunDir, Session, Trained, read_config};

/// The files of a run of a few steps.
struct Run {
    names: Vec<PathBuf>,
    files: Vec<Vec<u8>>,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    let data = data(0);
    let root = tempfile::tempdir().unwrap();
    let place = RunDir::create(&root.path().join("run")).unwrap();
    let dir = &place.0;
    let names = [dir.config(), dir.checkpoint(), dir.best(), dir.metrics()];
    let mut session = Session::begin(place, &TOY, config(&data, "epochs = 1"), &data).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut observer = common::StopAfter {
        steps: 1000,
        stop: &stop,
        events: Vec::new(),
    };
    session
        .run(&Pool::new(Some(1)).unwrap(), &mut observer, &stop)
        .unwrap();
    let names_only = names.iter().map(|path| path.file_name().unwrap().into());
    Run {
        names: names_only.collect(),
        files: names.iter().map(|path| fs::read(path).unwrap()).collect(),
    }
});

/// Puts the run down with file `which` replaced and reads it in every way; tells what was wrong.
fn read(which: usize, bytes: &[u8]) -> Result<(), String> {
    let root = tempfile::tempdir().unwrap();
    for (i, (name, file)) in RUN.names.iter().zip(&RUN.files).enumerate() {
        fs::write(
            root.path().join(name),
            if i == which { bytes } else { file },
        )
        .unwrap();
    }
    let data = data(0);
    let attempt = || {
        let dir = RunDir::open(root.path())?;
        let config = read_config(&dir)?;
        Trained::read(&dir, &TOY, &config)?;
        Session::resume(dir, &TOY, config, &data).map(drop)
    };
    let result = attempt().map_err(|error| error.to_string());
    if let Err(error) = &result {
        assert!(!error.contains('\n'), "{error}");
        // Nothing was lost: the files are as they were put down.
        for (i, (name, file)) in RUN.names.iter().zip(&RUN.files).enumerate().take(3) {
            let now = fs::read(root.path().join(name)).unwrap();
            assert!(
                now == if i == which { bytes } else { file },
                "{} has changed",
                name.display()
            );
        }
    }
    result
}

#[test]
fn an_untouched_run_is_read() {
    read(0, &RUN.files[0]).unwrap();
}

#[test]
fn a_flipped_bit_of_any_byte_of_a_header_is_noticed() {
    for which in 1..3 {
        let file = &RUN.files[which];
        let header = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
        for at in 0..8 + header {
            let mut bytes = file.clone();
            bytes[at] ^= 1u8 << (at % 8);
            assert!(read(which, &bytes).is_err(), "file {which}, byte {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_flipped_bit_of_the_tensors_is_noticed(which in 1..3usize, at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = RUN.files[which].clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(read(which, &bytes).is_err(), "byte {at}, bit {bit}");
    }

    #[test]
    fn a_cut_file_of_tensors_is_noticed(which in 1..3usize, at in any::<prop::sample::Index>()) {
        let bytes = &RUN.files[which];
        prop_assert!(read(which, &bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn made_up_bytes_are_no_run(which in 0..3usize, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(which, &bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_of_the_configuration_does_no_harm(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = RUN.files[0].clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        // In a comment, in the limit or in white space it may pass.
        let _ = read(0, &bytes);
    }

    #[test]
    fn metrics_never_stand_in_the_way(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read(3, &bytes), Ok(()));
    }
}
