//! The command, run as a user runs it.

// Each file of tests uses a part of this.
#![allow(dead_code)]

pub(crate) mod http;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// One cache for all tests: the built-in data are made once.
pub(crate) static CACHE: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let output = genzoo_in(Path::new("."), &dir, &["data", "inspect", "glyphs"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    dir
});

/// A run of a few steps, for the tests that only read one.
pub(crate) static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
    let run = root.join("run");
    if run.exists() {
        std::fs::remove_dir_all(&run).unwrap();
    }
    std::fs::create_dir_all(&root).unwrap();
    ok(&root, &train("run", &[]));
    run
});

pub(crate) fn genzoo_in(dir: &Path, cache: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genzoo"));
    command
        .current_dir(dir)
        .args(args)
        .env("GENZOO_CACHE", cache)
        .env_remove("KERNELS_ISA");
    command.output().unwrap()
}

pub(crate) fn genzoo(dir: &Path, args: &[&str]) -> Output {
    genzoo_in(dir, &CACHE, args)
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs the command; gives its standard output.
pub(crate) fn ok(dir: &Path, args: &[&str]) -> String {
    let output = genzoo(dir, args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout).into()
}

/// A tiny training into `out`, with more flags.
pub(crate) fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "train",
        "vae",
        "--out",
        out,
        "--set",
        "hidden=16",
        "--set",
        "latents=2",
    ];
    if !more
        .iter()
        .any(|flag| ["--steps", "--epochs", "--time"].contains(flag))
    {
        args.extend(["--steps", "6"]);
    }
    args.extend(more);
    args
}

/// A data set `tiny-set` in `dir`: 60 images to train with and 12 to test with, 5x4 grey pixels.
pub(crate) fn tiny_set(dir: &Path) {
    image_set(dir, "tiny-set", [5, 4], [60, 12]);
}

/// A data set in `dir`, as IDX files: so many grey images to train with and to test with, of this
/// height and width.
pub(crate) fn image_set(dir: &Path, name: &str, size: [u8; 2], counts: [u8; 2]) {
    let dir = dir.join(name);
    std::fs::create_dir(&dir).unwrap();
    let [height, width] = size;
    for (name, count) in ["train", "t10k"].iter().zip(counts) {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, height, 0, 0, 0, width];
        let pixels = usize::from(count) * usize::from(height) * usize::from(width);
        bytes.extend((0..pixels).map(|i| (i * 37 % 256) as u8));
        std::fs::write(dir.join(format!("{name}-images-idx3-ubyte")), bytes).unwrap();
    }
}

/// Labels for such a data set: ten classes in turn.
pub(crate) fn label_set(dir: &Path, name: &str, counts: [u8; 2]) {
    for (part, count) in ["train", "t10k"].iter().zip(counts) {
        let mut bytes = vec![0, 0, 8, 1, 0, 0, 0, count];
        bytes.extend((0..count).map(|i| i % 10));
        let file = format!("{part}-labels-idx1-ubyte");
        std::fs::write(dir.join(name).join(file), bytes).unwrap();
    }
}

/// Runs the command, which must fail with this exit code and nothing on standard output; gives its
/// standard error.
#[track_caller]
pub(crate) fn fails(dir: &Path, code: i32, args: &[&str]) -> String {
    let output = genzoo(dir, args);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    assert!(!error.contains("panicked"), "{args:?}: {error}");
    let lines = error.lines().count();
    assert!(code == 2 || lines <= 2, "{args:?}: {error}");
    error.into()
}

/// 8-bit pixels of a PNG file: width, height and rows.
pub(crate) fn pixels(path: &Path) -> (usize, usize, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    (info.width as usize, info.height as usize, data)
}
