//! Judged samples and fooled classifiers, as a user meets them.

mod common;

use common::{genzoo, ok, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Images of 8x8 pixels whose left or right half is bright: two classes.
fn halves(dir: &Path) {
    let dir = dir.join("halves");
    fs::create_dir_all(&dir).unwrap();
    for (prefix, count) in [("train", 480u32), ("t10k", 120)] {
        let class = |i: u32| (i * 7 / 3) % 2;
        let pixel = |i: u32, at: u32| {
            let bright = u32::from(at % 8 >= 4) == class(i);
            let grain = (i * 31 + at * 17 + i * at) % 60;
            (if bright { 190 + grain } else { grain }) as u8
        };
        let head = |kind: u8, sizes: &[u32]| -> Vec<u8> {
            let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
            [0, 0, 8, kind].into_iter().chain(sizes).collect()
        };
        let mut images = head(3, &[count, 8, 8]);
        images.extend((0..count).flat_map(|i| (0..64).map(move |at| pixel(i, at))));
        let mut labels = head(1, &[count]);
        labels.extend((0..count).map(|i| class(i) as u8));
        fs::write(dir.join(format!("{prefix}-images-idx3-ubyte")), images).unwrap();
        fs::write(dir.join(format!("{prefix}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// A directory with the data, a classifier in `clf` and a GAN in `gan`.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("judge-tests");
    if place.exists() {
        fs::remove_dir_all(&place).unwrap();
    }
    fs::create_dir_all(&place).unwrap();
    halves(&place);
    let clf = [
        "train",
        "conv-classifier",
        "--data",
        "halves",
        "--epochs",
        "2",
        "--out",
        "clf",
    ];
    ok(
        &place,
        &[&clf[..], &["--set", "channels=4,8", "--set", "hidden=16"]].concat(),
    );
    let gan = [
        "train", "gan", "--data", "halves", "--epochs", "2", "--out", "gan",
    ];
    ok(
        &place,
        &[&gan[..], &["--set", "hidden=16", "--set", "latents=4"]].concat(),
    );
    place
});

fn json(output: &str) -> serde_json::Value {
    serde_json::from_str(output).unwrap()
}

#[test]
fn a_run_without_a_score_is_selected_by_the_judge() {
    let metrics = fs::read_to_string(PLACE.join("gan/metrics.jsonl")).unwrap();
    let valid: Vec<_> = (metrics.lines().map(json))
        .filter(|event| event["split"] == "valid")
        .collect();
    assert_eq!(valid.len(), 2);
    for event in &valid {
        for name in ["kid", "frechet", "frechet_floor", "coverage", "imbalance"] {
            assert!(event[name].is_number(), "{name}: {event}");
        }
    }
    let train = json(metrics.lines().next().unwrap());
    for name in ["d_real", "d_fake", "diversity", "generator_gradient_norm"] {
        assert!(train[name].is_number(), "{name}: {train}");
    }
    assert!(PLACE.join("gan/best.safetensors").exists());
}

#[test]
fn judge_reports_samples_beside_real_images() {
    let report = json(&ok(
        &PLACE,
        &["judge", "gan", "--json", "--neighbours", "near.png"],
    ));
    assert_eq!(report["images"], 60);
    for of in ["samples", "real"] {
        for name in [
            "kernel_distance",
            "frechet_distance",
            "precision",
            "recall",
            "told_apart",
        ] {
            assert!(report[of][name].is_number(), "{of} {name}: {report}");
        }
    }
    let worse = |name: &str| {
        report["samples"][name].as_f64().unwrap() > report["real"][name].as_f64().unwrap()
    };
    assert!(
        worse("kernel_distance") && worse("frechet_distance"),
        "{report}"
    );
    assert!(
        report["judge_accuracy"].as_f64().unwrap() > 0.95,
        "{report}"
    );
    assert!(PLACE.join("near.png").exists());
    let told = ok(&PLACE, &["judge", "gan", "--last"]);
    assert!(
        told.contains("not Inception") && told.contains("real against real"),
        "{told}"
    );
}

/// A folder of pictures by anyone: here real images, so they get what real images get.
#[test]
fn judge_takes_a_folder_of_pictures() {
    let folder = PLACE.join("pictures");
    fs::create_dir_all(&folder).unwrap();
    for i in 0..40u32 {
        let class = i % 2;
        let pixels: Vec<u8> = (0..64)
            .map(|at: u32| {
                if u32::from(at % 8 >= 4) == class {
                    220
                } else {
                    (i + at) as u8 % 60
                }
            })
            .collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&pixels)
            .unwrap();
        fs::write(folder.join(format!("{i:03}.png")), bytes).unwrap();
    }
    let report = json(&ok(
        &PLACE,
        &["judge", "pictures", "--data", "halves", "--json"],
    ));
    assert_eq!(report["images"], 40);
    assert_eq!(report["class_shares"][0], 0.5);
}

#[test]
fn fool_attacks_and_draws() {
    let args = [
        "fool",
        "clf",
        "--count",
        "60",
        "--steps",
        "4",
        "--ascent-steps",
        "4",
        "--json",
    ];
    let report = json(&ok(
        &PLACE,
        &[&args[..], &["--epsilon", "0,0.1,0.5"]].concat(),
    ));
    let accuracy = report["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "{report}");
    let attacks = report["attacks"].as_array().unwrap();
    let of = |row: &serde_json::Value, how: &str| row[how]["accuracy"].as_f64().unwrap();
    for row in attacks {
        assert!(of(row, "projected") <= of(row, "fast"), "{row}");
        if row["epsilon"] == 0.0 {
            assert_eq!(
                (of(row, "fast"), of(row, "projected")),
                (accuracy, accuracy)
            );
        }
    }
    assert!(of(&attacks[2], "projected") < 0.5 * accuracy, "{report}");
    for name in [
        "adversarial.png",
        "saliency.png",
        "classes.png",
        "units-0.png",
        "accuracy-l-inf.svg",
        "accuracy-l2.svg",
    ] {
        assert!(PLACE.join("clf/fool").join(name).exists(), "{name}");
    }
}

/// Stopped in the middle of a critic's turn and gone on with other threads: the same bytes.
#[test]
fn a_turn_that_was_cut_in_two_has_the_bytes_of_a_whole_one() {
    let train = |out: &str, steps: &str, threads: &str| {
        let sizes = [
            "--set",
            "channels=3",
            "--set",
            "latents=4",
            "--set",
            "discriminator_steps=3",
        ];
        let turn = [
            "--set",
            "long_discriminator_steps=1",
            "--batch-size",
            "16",
            "--no-judge",
        ];
        let args = ["train", "wgan-gp", "--data", "halves", "--out", out];
        let ends = ["--steps", steps, "--threads", threads];
        ok(&PLACE, &[&args[..], &ends, &sizes, &turn].concat());
    };
    train("whole", "8", "1");
    train("parts", "4", "2");
    ok(
        &PLACE,
        &[
            "train",
            "--resume",
            "parts",
            "--steps",
            "8",
            "--threads",
            "2",
            "--no-judge",
        ],
    );
    let bytes = |run: &str| fs::read(PLACE.join(run).join("checkpoint.safetensors")).unwrap();
    assert!(bytes("whole") == bytes("parts"));
}

#[test]
fn what_cannot_be_judged_or_fooled_says_so() {
    fs::create_dir_all(PLACE.join("empty")).unwrap();
    let cases: &[(&[&str], &str)] = &[
        (
            &["judge", "empty"],
            "neither a run nor a folder of PNG files",
        ),
        (&["judge", "nowhere"], "nowhere"),
        (&["judge", "clf"], "does not make new images"),
        (&["fool", "gan"], "does not tell classes"),
        (
            &["fool", "clf", "--target", "2"],
            "expected a class from 0 to 1",
        ),
        (&["fool", "clf", "--epsilon", "-1"], "at least 0"),
    ];
    for (args, expected) in cases {
        let output = genzoo(&PLACE, args);
        let error = text(&output.stderr);
        assert!(
            !output.status.success() && !error.contains("panicked"),
            "{args:?}: {error}"
        );
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}
