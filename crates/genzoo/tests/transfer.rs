//! Parameters that come from elsewhere: from another run, or from a file.

mod common;

use common::{fails, genzoo, ok, text, tiny_set};
use grad::Tensor;
use nn::model::ImageSpec;
use nn::save::{Metadata, read_tensors};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Trains a VAE; gives what it says on standard error.
fn train(dir: &Path, out: &str, more: &[&str]) -> String {
    let args = [
        "train",
        "vae",
        "--data",
        "tiny-set",
        "--out",
        out,
        "--batch-size",
        "10",
    ];
    let output = genzoo(dir, &[&args[..], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr).into()
}

const SMALL: [&str; 4] = ["--set", "hidden=8", "--set", "latents=2"];
/// A step that changes no bit.
const STILL: [&str; 4] = ["--steps", "1", "--lr", "1e-30"];

/// The parameters that a run ended with.
fn params(dir: &Path, run: &str) -> BTreeMap<String, Tensor<f32>> {
    let bytes = fs::read(dir.join(run).join("checkpoint.safetensors")).unwrap();
    let (tensors, _) = read_tensors(&bytes).unwrap();
    let params = tensors.into_iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("params.")?;
        Some((name.to_string(), tensor))
    });
    params.collect()
}

#[test]
fn a_part_of_another_run_is_taken_over_by_name() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    tiny_set(dir);
    train(dir, "first", &[&SMALL[..], &["--steps", "5"]].concat());
    let first = params(dir, "first");
    // Another seed, another code: the encoder fits, and nothing else is looked at.
    let other = [
        &["--set", "hidden=8", "--set", "latents=3", "--seed", "9"][..],
        &STILL,
    ]
    .concat();
    let said = train(
        dir,
        "second",
        &[&["--from", "first", "--prefix", "encoder"], &other[..]].concat(),
    );
    assert!(
        said.lines().any(|line| line == "2 tensors taken over"),
        "{said}"
    );
    train(dir, "fresh", &other);
    let (second, fresh) = (params(dir, "second"), params(dir, "fresh"));
    for (name, tensor) in &second {
        let from = if name.starts_with("encoder.") {
            &first
        } else {
            &fresh
        };
        assert!(tensor == &from[name], "{name}");
    }
    assert_ne!(second["encoder.0.weight"], fresh["encoder.0.weight"]);
    let config: toml::Table = fs::read_to_string(dir.join("second/config.toml"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(config["from"]["prefix"].as_str(), Some("encoder"));

    // Without a prefix, everything that fits; the others are listed.
    let said = train(dir, "third", &[&["--from", "first"], &other[..]].concat());
    let line = said
        .lines()
        .find(|line| line.contains("taken over"))
        .unwrap();
    assert!(
        line.starts_with("5 tensors taken over; of another shape: "),
        "{line}"
    );
    for part in [
        "posterior.weight ([8, 6] here, [8, 4] there)",
        "decoder.0.weight",
    ] {
        assert!(line.contains(part), "{line}");
    }
    let deeper = [
        "--from",
        "first",
        "--set",
        "hidden=8,4",
        "--set",
        "latents=2",
    ];
    let said = train(dir, "fourth", &[&deeper[..], &STILL].concat());
    let line = said
        .lines()
        .find(|line| line.contains("taken over"))
        .unwrap();
    assert!(
        line.contains("not there: encoder.1.weight, encoder.1.bias"),
        "{line}"
    );

    // The same from a file of settings; the run goes on when the first one is gone.
    let text = "model = \"vae\"\nhypers.hidden = [8]\nhypers.latents = 3\nseed = 9\nsteps = 1\nlr = 1e-30\n";
    let from = "[from]\nrun = \"first\"\nprefix = \"encoder\"\n";
    fs::write(dir.join("settings.toml"), format!("{text}{from}")).unwrap();
    let args = [
        "train",
        "--config",
        "settings.toml",
        "--data",
        "tiny-set",
        "--batch-size",
        "10",
    ];
    ok(dir, &[&args[..], &["--out", "fifth"]].concat());
    assert!(params(dir, "fifth") == second);
    fs::rename(dir.join("first"), dir.join("gone")).unwrap();
    ok(dir, &["train", "--resume", "second", "--steps", "3"]);
}

#[test]
fn what_cannot_be_taken_over_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    tiny_set(dir);
    train(dir, "first", &[&SMALL[..], &["--steps", "1"]].concat());
    fs::write(dir.join("text"), "no tensors").unwrap();
    let base = ["train", "vae", "--data", "tiny-set", "--out", "second"];
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--from", "first", "--prefix", "encode"], 1, "encode"),
        (&["--from", "nowhere"], 1, "expected a run, found nothing"),
        (&["--from", "text"], 1, "text"),
        (&["--prefix", "encoder"], 2, "--from"),
        (&["--from", "first", "--resume", "first"], 2, "--resume"),
    ];
    for (more, code, expected) in cases {
        let args = [&base[..], more].concat();
        let error = fails(dir, *code, &args);
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}

/// Weights from elsewhere, in a file that any program could have written.
#[test]
fn a_file_of_weights_becomes_a_run() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    tiny_set(dir);
    let entry = genzoo::all_models()
        .find(|entry| entry.name == "vae")
        .unwrap();
    let mut hypers = entry.defaults();
    hypers.set("hidden", "8").unwrap();
    hypers.set("latents", "2").unwrap();
    let (_, weights) = entry
        .build_for(&hypers, ImageSpec::new(5, 4, 1, 2), 7)
        .unwrap();
    fs::write(
        dir.join("w.safetensors"),
        weights.to_bytes(&Metadata::new()),
    )
    .unwrap();
    let import = |sizes: &[&'static str], out: &'static str| {
        let args = ["import", "vae", "w.safetensors", "--data", "tiny-set"];
        [&args[..], sizes, &["--out", out]].concat()
    };
    let said = ok(dir, &import(&SMALL, "run"));
    assert!(
        said.starts_with("run: 8 tensors taken over; `genzoo eval run`"),
        "{said}"
    );
    for (name, tensor) in params(dir, "run") {
        let id = weights.find(&name).unwrap();
        assert!(weights[id].value == tensor, "{name}");
    }
    // It is a run like any other: judged, sampled from, trained on.
    let json: serde_json::Value =
        serde_json::from_str(&ok(dir, &["eval", "run", "--json"])).unwrap();
    assert!(
        (json["nats"].as_f64().unwrap() - 20.0 * 2f64.ln()).abs() < 2.0,
        "{json}"
    );
    ok(dir, &["sample", "run", "--count", "3"]);
    fs::remove_file(dir.join("w.safetensors")).unwrap();
    ok(dir, &["train", "--resume", "run", "--steps", "2"]);

    fs::write(
        dir.join("w.safetensors"),
        weights.to_bytes(&Metadata::new()),
    )
    .unwrap();
    let error = fails(
        dir,
        1,
        &import(&["--set", "hidden=8", "--set", "latents=3"], "other"),
    );
    assert!(
        error.contains(
            "expected the parameters of vae, found 5 tensors taken over; of another shape: "
        ) && error.contains("hint: `--set`"),
        "{error}"
    );
    let error = fails(
        dir,
        1,
        &import(&["--set", "hidden=8,8", "--set", "latents=2"], "other"),
    );
    assert!(error.contains("not there: "), "{error}");
    let mut bytes = fs::read(dir.join("w.safetensors")).unwrap();
    bytes.truncate(bytes.len() - 1);
    fs::write(dir.join("w.safetensors"), bytes).unwrap();
    let error = fails(dir, 1, &import(&SMALL, "other"));
    assert!(error.contains("w.safetensors"), "{error}");
    assert!(
        !dir.join("other").exists(),
        "nothing is written before everything fits"
    );
}
