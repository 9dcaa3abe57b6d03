//! Models whose likelihood is a mixture over orderings of the pixels: what eval, sample and compress
//! do with it, and what they say.

mod common;

use common::{fails, genzoo, image_set, ok, pixels, text, tiny_set};
use dataset::{Binarize, Dataset, Examples, ImageShape, Split};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use train::{Evaluation, Images, RunDir, Trained};

/// A short run of a model on a data set of `dir`.
fn run_of(dir: &Path, out: &str, model: &str, data: &str, set: &[&str]) {
    let set: Vec<&str> = set.iter().flat_map(|size| ["--set", size]).collect();
    let ends = [
        "--steps",
        "30",
        "--batch-size",
        "10",
        "--lr",
        "0.02",
        "--seed",
        "3",
    ];
    let train = ["train", model, "--data", data, "--out", out];
    ok(dir, &[&train[..], &ends, &set].concat());
}

/// -log p of all 16 binary images of 2x2 pixels, in nats, by the run's own model.
fn nats_of_all(run: &Path) -> Vec<f64> {
    let dir = RunDir::open(run).unwrap();
    let config = train::read_config(&dir).unwrap();
    let entry = genzoo::all_models().find(|entry| entry.name == config.model);
    let trained = Trained::read(&dir, entry.unwrap(), &config).unwrap();
    let all: Vec<u8> = (0..64).map(|i| ((i / 4) >> (i % 4) & 1) as u8).collect();
    let shape = ImageShape {
        height: 2,
        width: 2,
        channels: 1,
    };
    let images = |pixels| Examples {
        pixels,
        labels: None,
    };
    let splits = [images(&all[..4]), images(&[]), images(&all)];
    let data = Dataset::in_memory("all", shape, 2, splits).unwrap();
    let evaluation = Evaluation {
        model: &*trained.model,
        params: &trained.params,
        train: &Images::evaluation(&data, Split::Train, Binarize::None),
        split: &Images::evaluation(&data, Split::Test, Binarize::None),
        batch_size: 16,
        samples: 1,
        seed: 0,
        thorough: true,
    };
    let measured = evaluation.run(&trained.model.scores(), &AtomicBool::new(false));
    measured.unwrap().remove(0).values.unwrap()
}

/// 60,000 samples of the command, counted against the density of the mixture of five orderings:
/// chi-squared with 15 degrees of freedom is above 37.7 in one case of a thousand.
#[test]
fn samples_follow_the_mixture() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    image_set(dir, "squares", [2, 2], [60, 12]);
    run_of(
        dir,
        "run",
        "orderless-nade",
        "squares",
        &["hidden=16,16", "orderings=5"],
    );
    let nats = nats_of_all(&dir.join("run"));
    let total: f64 = nats.iter().map(|nats| (-nats).exp()).sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");
    let count = 60_000;
    ok(
        dir,
        &[
            "sample",
            "run",
            "--count",
            "60000",
            "--seed",
            "1",
            "--out",
            "drawn.png",
        ],
    );
    let (width, _, drawn) = pixels(&dir.join("drawn.png"));
    // Each pixel is drawn twice as large, between images are two.
    let (cell, columns) = (2 * 2 + 2, (width - 2) / 6);
    let mut found = [0.0; 16];
    for n in 0..count {
        let pixel = |d: usize| {
            let (y, x) = (
                n / columns * cell + 2 + d / 2 * 2,
                n % columns * cell + 2 + d % 2 * 2,
            );
            usize::from(drawn[y * width + x] == 255) << d
        };
        found[(0..4).map(pixel).sum::<usize>()] += 1.0;
    }
    let term = |(found, nats): (f64, &f64)| {
        let expected = count as f64 * (-nats).exp();
        (found - expected).powi(2) / expected
    };
    let chi_squared: f64 = found.into_iter().zip(&nats).map(term).sum();
    assert!(
        chi_squared < 37.7,
        "chi-squared {chi_squared}: {found:?} {nats:?}"
    );
}

#[test]
fn eval_says_what_its_options_mean() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    tiny_set(dir);
    let eval = |run: &str, options: &[&str]| {
        let output = genzoo(dir, &[&["eval", run, "--json"], options].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_str(text(&output.stdout)).unwrap();
        (
            report["nats"].as_f64().unwrap(),
            text(&output.stderr).to_string(),
        )
    };
    run_of(
        dir,
        "orderless",
        "orderless-nade",
        "tiny-set",
        &["hidden=12"],
    );
    run_of(
        dir,
        "made",
        "made",
        "tiny-set",
        &["hidden=24", "masks=2", "shuffle=true"],
    );
    run_of(dir, "nade", "nade", "tiny-set", &["hidden=8"]);
    run_of(dir, "vae", "vae", "tiny-set", &["hidden=8", "latents=2"]);

    // Orderless NADE is trained with all orderings, and averages over as many as one likes.
    let (one, several) = (
        eval("orderless", &[]),
        eval("orderless", &["--orderings", "6"]),
    );
    assert!(several.0 < one.0, "an ensemble is better than its members");
    assert_eq!((&one.1[..], &several.1[..]), ("", ""));
    // MADE knows the masks that it has seen.
    let (as_trained, said) = eval("made", &["--orderings", "2"]);
    assert_eq!((eval("made", &[]).0, &said[..]), (as_trained, ""));
    let (more, said) = eval("made", &["--orderings", "5"]);
    let expected = "--orderings 5: this made was trained with 2; the others are new to it";
    assert_eq!(said.trim_end(), expected);
    assert_ne!(more, as_trained);
    let error = fails(dir, 2, &["eval", "nade", "--orderings", "2"]);
    assert!(error.contains("nade has one ordering"), "{error}");

    let (once, none) = eval("nade", &[]);
    let (often, said) = eval("nade", &["--samples", "5"]);
    assert_eq!((once, &none[..]), (often, ""));
    assert_eq!(
        said.trim_end(),
        "--samples 5: nade is exact, so it has no effect"
    );
    let (once, _) = eval("vae", &[]);
    let (often, said) = eval("vae", &["--samples", "200"]);
    assert!(often < once && said.is_empty(), "{often} {once} {said}");
}

/// A file is as long as the first ordering promises, and says by which it was coded.
#[test]
fn compress_codes_by_the_first_ordering_and_says_so() {
    let help = ok(Path::new("."), &["compress", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("codes by the first of them"), "{help}");
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    // A second data set with more images to test with: a file's own bytes weigh less.
    image_set(dir, "tiny-set", [5, 4], [60, 250]);
    run_of(
        dir,
        "made",
        "made",
        "tiny-set",
        &["hidden=24", "masks=3", "shuffle=true"],
    );
    run_of(dir, "nade", "nade", "tiny-set", &["hidden=8"]);
    let said = ok(
        dir,
        &["compress", "made", "--from", "test", "--out", "made.gzll"],
    );
    assert!(
        said.trim_end()
            .ends_with(" bits a dimension, by ordering 1 of 3"),
        "{said}"
    );
    let json = ok(dir, &["eval", "made", "--json", "--orderings", "1"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let bits = 250.0 * 20.0 * report["bits_per_dim"].as_f64().unwrap();
    let excess = std::fs::read(dir.join("made.gzll")).unwrap().len() as f64 - bits / 8.0;
    assert!(
        (0.0..130.0).contains(&excess),
        "{excess} bytes more than the first ordering says"
    );
    let said = ok(dir, &["decompress", "made", "made.gzll", "--out", "back"]);
    assert!(
        said.trim_end().ends_with(" bytes, by ordering 1 of 3"),
        "{said}"
    );
    let said = ok(dir, &["compress", "nade", "--from", "test"]);
    assert!(said.trim_end().ends_with(" bits a dimension"), "{said}");
}
