//! The command, run as a user runs it.

// Each file of tests uses a part of this.
#![allow(dead_code)]

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
    let dir = dir.join("tiny-set");
    std::fs::create_dir(&dir).unwrap();
    for (name, count) in [
        ("train-images-idx3-ubyte", 60u8),
        ("t10k-images-idx3-ubyte", 12),
    ] {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 5, 0, 0, 0, 4];
        bytes.extend((0..usize::from(count) * 20).map(|i| (i * 37 % 256) as u8));
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}
