//! What the command promises for every model that it lists: it trains, is judged by what it says it
//! is judged by, and does what it says it can do. What the models themselves promise is tested in
//! the crate `battery`.

mod common;

use common::{fails, image_set, label_set, ok};
use nn::model::{Accepts, Entry, ImageSpec};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A few steps of the smallest such model, on images of 6x6 pixels in ten classes.
fn train(dir: &Path, entry: &Entry) {
    let accepts = (entry.accepts)(&entry.small_hypers());
    let binarize = if accepts.levels(2) { "dynamic" } else { "none" };
    let sizes: Vec<String> = (entry.small.iter())
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let set = sizes.iter().flat_map(|size| ["--set", size]);
    let args = [
        "train",
        entry.name,
        "--data",
        "labelled",
        "--binarize",
        binarize,
        "--steps",
        "3",
        "--batch-size",
        "5",
        "--out",
        entry.name,
    ];
    ok(dir, &args.into_iter().chain(set).collect::<Vec<_>>());
}

#[test]
fn every_model_is_judged_by_what_it_says_and_does_what_it_can() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    image_set(dir, "labelled", [6, 6], [40, 12]);
    label_set(dir, "labelled", [40, 12]);
    let list = ok(dir, &["models"]);
    for entry in genzoo::all_models() {
        let name = entry.name;
        assert!(
            list.lines()
                .any(|line| line.starts_with(&format!("{name} "))),
            "{name}:\n{list}"
        );
        train(dir, entry);
        let accepts = (entry.accepts)(&entry.small_hypers());
        let levels = if accepts == Accepts::Levels { 256 } else { 2 };
        let spec = ImageSpec::new(6, 6, 1, levels).with_classes(10);
        let (model, _) = entry.build_for(&entry.small_hypers(), spec, 0).unwrap();

        let told: Vec<_> = model
            .scores()
            .iter()
            .flat_map(|score| score.about())
            .collect();
        if told.is_empty() {
            let error = fails(dir, 1, &["eval", name]);
            assert!(
                error.contains("nothing that it is judged by"),
                "{name}: {error}"
            );
        } else {
            let json = ok(dir, &["eval", name, "--json"]);
            let report: Value = serde_json::from_str(&json).unwrap();
            let scores = report["scores"].as_array().unwrap();
            // More may stand beside them, as a partition function.
            assert!(scores.len() >= told.len(), "{name}: {json}");
            for (score, info) in scores.iter().zip(&told) {
                let word = |key: &str| score[key].as_str().unwrap();
                assert_eq!(word("name"), info.name, "{name}");
                assert_eq!(word("unit"), info.unit, "{name}");
                assert_eq!(word("kind"), info.kind.name(), "{name}");
                assert_eq!(word("better"), info.better.name(), "{name}");
                assert!(
                    score["value"].is_f64() && score.get("standard_error").is_some(),
                    "{json}"
                );
            }
            let nats = report.get("nats").and_then(Value::as_f64);
            let likelihood = told.iter().position(|info| info.is_likelihood());
            assert_eq!(
                nats,
                likelihood.map(|i| scores[i]["value"].as_f64().unwrap()),
                "{name}"
            );
            let words = ok(dir, &["eval", name]);
            assert!(words.lines().count() > told.len(), "{name}: {words}");
        }

        let drawn = |out: &str, args: &[&str]| {
            ok(dir, &[args, &["--out", out]].concat());
            fs::read(dir.join(out)).unwrap()
        };
        let abilities: [(bool, &str, &[&str]); 3] = [
            (
                model.sampler().is_some(),
                "sample",
                &["sample", name, "--count", "5"],
            ),
            (
                model.completer().is_some(),
                "complete",
                &["complete", name, "--rows", "2"],
            ),
            (
                model.coder().is_some(),
                "compress",
                &["compress", name, "--from", "test"],
            ),
        ];
        for (can, what, args) in abilities {
            if can {
                let one = drawn("one", &[args, &["--threads", "1"]].concat());
                assert!(
                    one == drawn("three", &[args, &["--threads", "3"]].concat()),
                    "{name}: {what}"
                );
            } else {
                let error = fails(dir, 1, args);
                assert!(
                    error.starts_with(&format!("error: {name} does not ")),
                    "{name}: {error}"
                );
            }
        }
    }
}
