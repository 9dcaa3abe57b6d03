//! The command with a model from outside: the project `examples/own-model`.
//!
//! This program is that project's, when it is told to be: its sources are compiled here a second
//! time, since a project with a workspace of its own shares no compiled crate with this one, and
//! would compile all of them again. `OWN_MODEL=PROGRAM` names the project's own program instead.

#[path = "../../../examples/own-model/src/mean_gan.rs"]
mod mean_gan;

use nn::model::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

const MODELS: &[Entry] = &[mean_gan::ENTRY];

/// Tells this program to be the command.
const AS_COMMAND: &str = "GENZOO_TEST_AS_COMMAND";

fn main() -> ExitCode {
    if std::env::var_os(AS_COMMAND).is_some() {
        return genzoo::run(MODELS);
    }
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    tests(dir);
    println!("test a_model_from_outside_has_the_whole_command ... ok");
    ExitCode::SUCCESS
}

fn program() -> PathBuf {
    let own = std::env::var_os("OWN_MODEL").map(PathBuf::from);
    own.unwrap_or_else(|| std::env::current_exe().unwrap())
}

fn command(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program());
    command
        .current_dir(dir)
        .args(args)
        .env(AS_COMMAND, "1")
        .env("GENZOO_CACHE", dir.join("cache"))
        .env_remove("KERNELS_ISA");
    command.output().unwrap()
}

#[track_caller]
fn ok(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Grey images of 5x4 pixels: 60 to train with, 12 to test with.
fn images(dir: &Path) {
    fs::create_dir(dir.join("images")).unwrap();
    for (name, count) in [("train", 60u8), ("t10k", 12)] {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 5, 0, 0, 0, 4];
        bytes.extend((0..usize::from(count) * 20).map(|i| (i * 37 % 256) as u8));
        fs::write(dir.join(format!("images/{name}-images-idx3-ubyte")), bytes).unwrap();
    }
}

fn tests(dir: &Path) {
    images(dir);
    let list = ok(dir, &["models"]);
    for name in ["mean-gan", "vae"] {
        assert!(
            list.lines().any(|line| line.starts_with(name)),
            "{name}:\n{list}"
        );
    }
    let about = ok(dir, &["models", "mean-gan"]);
    for part in [
        "latents=16",
        "penalty=10",
        "critic",
        "generator",
        "mean_distance",
    ] {
        assert!(about.contains(part), "{part}:\n{about}");
    }

    // Half a run, resumed on other threads, has the bytes of the whole.
    let train = |out: &str, steps: &str, threads: &str| {
        let sizes = [
            "--set",
            "hidden=12",
            "--set",
            "latents=3",
            "--batch-size",
            "16",
        ];
        let ends = ["--steps", steps, "--threads", threads, "--out", out];
        ok(
            dir,
            &[
                &["train", "mean-gan", "--data", "images"],
                &sizes[..],
                &ends,
            ]
            .concat(),
        );
    };
    train("whole", "9", "1");
    train("parts", "4", "3");
    ok(
        dir,
        &[
            "train",
            "--resume",
            "parts",
            "--steps",
            "9",
            "--threads",
            "2",
        ],
    );
    let bytes = |run: &str| fs::read(dir.join(run).join("checkpoint.safetensors")).unwrap();
    assert!(bytes("whole") == bytes("parts"));
    let metrics = fs::read_to_string(dir.join("whole/metrics.jsonl")).unwrap();
    for part in [
        "\"critic\":",
        "\"generator\":",
        "\"distance\":",
        "\"penalty\":",
        "\"mean_distance\":",
        "\"nats\":null",
    ] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }

    let json = ok(dir, &["eval", "whole", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let score = &report["scores"][0];
    let words = ["name", "kind", "better"].map(|key| score[key].as_str().unwrap());
    assert_eq!(words, ["mean_distance", "metric", "lower"]);
    assert!(
        (0.0..1.0).contains(&score["value"].as_f64().unwrap()),
        "{json}"
    );
    assert!(
        report.get("nats").is_none() && report.get("bound").is_none(),
        "{json}"
    );
    ok(
        dir,
        &["sample", "whole", "--count", "4", "--out", "drawn.png"],
    );
    assert!(dir.join("drawn.png").exists());

    let bench = [
        "bench",
        "mean-gan",
        "--batch-size",
        "8",
        "--seconds",
        "0.05",
        "--image",
        "6x5x3",
        "--json",
    ];
    let report: serde_json::Value = serde_json::from_str(&ok(dir, &bench)).unwrap();
    assert!(
        report["images_per_second"].as_f64().unwrap() > 0.0,
        "{report}"
    );

    let output = command(dir, &["train", "mean-gan", "--set", "penalty=-1"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("penalty: expected at least 0, found -1"),
        "{error}"
    );
    let output = command(dir, &["train", "mean-gna"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("did you mean \"mean-gan\"?"), "{error}");
}
