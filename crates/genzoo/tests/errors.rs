//! How the command fails: exit codes, one line, a hint, and nothing lost.

mod common;

use common::{RUN, fails, ok, text, train};
use std::fs;
use std::process::Command;

#[test]
fn wrong_usage_exits_2_and_suggests_the_near_word() {
    let here = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["trian", "vae"], "'train'"),
        (&["train", "vea"], "did you mean \"vae\"?"),
        (&["models", "va"], "did you mean \"vae\"?"),
        (&["bench", "nothing-like-it"], "genzoo models"),
        (&["train", "vae", "--epoch", "3"], "'--epochs'"),
        (
            &["train", "vae", "--set", "hiden=3"],
            "did you mean \"hidden\"?",
        ),
        (&["train", "vae", "--set", "hidden"], "KEY=VALUE"),
        (
            &["train", "vae", "--set", "hidden=none"],
            "counts from 1 to 1048576",
        ),
        (
            &["train", "vae", "--data", "glyfs"],
            "did you mean \"glyphs\"?",
        ),
        (
            &["train", "vae", "--binarize", "dynamik"],
            "none, static, dynamic",
        ),
        (&["train", "vae", "--epochs", "0"], "0 is not in"),
        (
            &["train", "vae", "--epochs", "1", "--steps", "1"],
            "cannot be used with",
        ),
        (&["train", "vae", "--time", "30"], "90s, 30m or 1h30m"),
        (&["train", "vae", "--lr", "nan"], "above 0"),
        (
            &["train", "vae", "--resume", "x", "--seed", "1"],
            "cannot be used with",
        ),
        (&["train", "vae", "--threads", "0"], "0 is not in"),
        (&["train"], "MODEL"),
        (&["eval", "x", "--split", "tets"], "train, valid, test"),
        (&["sample", "x", "--count", "0"], "0 is not in"),
        (&["data", "inspct", "glyphs"], "'inspect'"),
    ];
    for (args, expected) in cases {
        let error = fails(here.path(), 2, args);
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    assert_eq!(
        fs::read_dir(here.path()).unwrap().count(),
        0,
        "something was left behind"
    );
}

#[test]
fn other_errors_exit_1_with_one_line_and_a_hint() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    fs::write(dir.join("file"), "text").unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    ok(dir, &train("run", &[]));
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["eval", "nowhere"],
            "expected a run, found nothing",
            "genzoo train",
        ),
        (
            &["sample", "empty"],
            "found a directory without config.toml",
            "genzoo train",
        ),
        (&["train", "vae", "--out", "run"], "found a run", "--resume"),
        (
            &["train", "vae", "--out", "file"],
            "file: cannot create",
            "",
        ),
        (
            &["train", "vae", "--out", "file/below"],
            "cannot create",
            "",
        ),
        (&["train", "vae", "--data", "empty"], "empty", ""),
        (&["train", "vae", "--data", "no/where"], "no/where", ""),
        (
            &["train", "vae", "--binarize", "none"],
            "expected binary pixels",
            "use --binarize",
        ),
        (
            &["train", "vae", "--config", "nothing.toml"],
            "nothing.toml",
            "",
        ),
        (&["train", "vae", "--config", "file"], "file: line 1: ", ""),
        (
            &["sample", "run", "--out", "file/below.png"],
            "below.png: cannot write",
            "",
        ),
        (&["data", "import", "nowhere"], "found nothing", "path"),
    ];
    for (args, expected, hint) in cases {
        let error = fails(dir, 1, args);
        let lines: Vec<_> = error.lines().collect();
        assert!(
            lines[0].starts_with("error: ") && lines[0].contains(expected),
            "{args:?}: {error}"
        );
        assert!(lines.len() <= 2, "{args:?}: {error}");
        assert!(
            hint.is_empty() || lines[1].starts_with("hint: ") && lines[1].contains(hint),
            "{args:?}: {error}"
        );
    }
    assert_eq!(fs::read(dir.join("file")).unwrap(), b"text");
}

#[test]
#[cfg(unix)]
fn a_directory_that_cannot_be_written_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let closed = root.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(closed.join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write everywhere");
        return;
    }
    let error = fails(root.path(), 1, &["train", "vae", "--out", "closed"]);
    assert!(
        error.contains("closed: cannot write to the directory"),
        "{error}"
    );
}

#[test]
fn damaged_runs_are_reported() {
    let run = &*RUN;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let names = [
        "config.toml",
        "checkpoint.safetensors",
        "best.safetensors",
        "metrics.jsonl",
    ];
    for name in names {
        fs::copy(run.join(name), dir.join(name)).unwrap();
    }
    let mut bytes = fs::read(dir.join("best.safetensors")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(dir.join("best.safetensors"), &bytes).unwrap();
    let error = fails(dir, 1, &["eval", "."]);
    assert!(
        error.contains("best.safetensors") && error.contains("checksum"),
        "{error}"
    );
    fs::write(dir.join("best.safetensors"), &bytes[..middle]).unwrap();
    let error = fails(dir, 1, &["sample", "."]);
    assert!(error.contains("best.safetensors"), "{error}");
    fs::write(dir.join("config.toml"), "model = 3").unwrap();
    let error = fails(dir, 1, &["train", "--resume", "."]);
    assert!(error.contains("config.toml"), "{error}");
}

#[test]
fn an_unknown_instruction_set_is_wrong_usage() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genzoo"));
    let output = command
        .arg("models")
        .env("KERNELS_ISA", "sse9")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("KERNELS_ISA: expected one of portable"));
}
