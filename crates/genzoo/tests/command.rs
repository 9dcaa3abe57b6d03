//! The command as a user meets it: what it prints and what it leaves behind.

mod common;

use common::{CACHE, RUN, genzoo_in, ok, text, tiny_set, train};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn keys(json: &str) -> Vec<String> {
    assert_eq!(json.lines().count(), 1, "{json}");
    // serde_json sorts the keys of a parsed object; their order in the text is looked up.
    let object: Value = serde_json::from_str(json).unwrap();
    let mut keys: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
    keys.sort_by_key(|key| json.find(&format!("\"{key}\":")));
    keys
}

fn png_size(path: &Path) -> (u32, u32) {
    let file = std::io::BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert!(
        pixels.iter().any(|&p| p != pixels[0]),
        "{}: one colour",
        path.display()
    );
    (info.width, info.height)
}

#[test]
fn training_leaves_a_run() {
    let root = tempfile::tempdir().unwrap();
    let args = [
        "train",
        "vae",
        "--steps",
        "3",
        "--batch-size",
        "50",
        "--set",
        "hidden=8,4",
    ];
    let output = ok(root.path(), &args);
    let run = root.path().join("runs/vae-glyphs-0");
    assert!(output.contains("runs/vae-glyphs-0"), "{output}");
    assert!(output.contains("samples.png"), "{output}");
    let cell = 2 * 28 + 2;
    assert_eq!(
        png_size(&run.join("samples.png")),
        (8 * cell + 2, 8 * cell + 2)
    );
    assert_eq!(
        png_size(&run.join("reconstructions.png")),
        (8 * cell + 2, 8 * cell + 2)
    );
    let config: toml::Table = fs::read_to_string(run.join("config.toml"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(config["model"].as_str(), Some("vae"));
    assert_eq!(config["binarize"].as_str(), Some("dynamic"));
    assert_eq!(config["batch_size"].as_integer(), Some(50));
    assert_eq!(config["hypers"]["hidden"].to_string(), "[8, 4]");
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let first = [
        "step",
        "epoch",
        "split",
        "nats",
        "images_per_second",
        "seconds",
    ];
    for line in metrics.lines() {
        assert_eq!(keys(line)[..6], first, "{line}");
    }
    // Again: another place, the first run untouched.
    let output = ok(root.path(), &args);
    assert!(output.contains("runs/vae-glyphs-0-2"), "{output}");
}

#[test]
fn flags_beat_the_file_and_the_file_beats_the_recipe() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("settings.toml");
    fs::write(
        &file,
        "model = \"vae\"\nseed = 7\nlr = 0.5\nbatch_size = 9\nepochs = 99\nhypers.latents = 3\n",
    )
    .unwrap();
    let args = [
        "train",
        "--config",
        "settings.toml",
        "--steps",
        "1",
        "--batch-size",
        "11",
        "--out",
        "run",
    ];
    ok(root.path(), &args);
    let read = |run: &str| -> toml::Table {
        fs::read_to_string(root.path().join(run).join("config.toml"))
            .unwrap()
            .parse()
            .unwrap()
    };
    let config = read("run");
    assert_eq!(config["seed"].as_integer(), Some(7));
    assert_eq!(config["batch_size"].as_integer(), Some(11));
    assert_eq!(config["steps"].as_integer(), Some(1));
    assert!(!config.contains_key("epochs"));
    assert_eq!(config["hypers"]["latents"].as_integer(), Some(3));
    assert_eq!(config["optimisers"]["elbo"]["lr"].as_float(), Some(0.5));
    // A run's own configuration is such a file, and makes the same run.
    ok(
        root.path(),
        &["train", "--config", "run/config.toml", "--out", "again"],
    );
    let bytes = |run: &str| fs::read(root.path().join(run).join("checkpoint.safetensors")).unwrap();
    assert!(bytes("run") == bytes("again"));
    assert_eq!(read("run"), read("again"));
}

#[test]
fn threads_and_resuming_give_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    ok(dir, &train("one", &["--threads", "1"]));
    ok(dir, &train("three", &["--threads", "3"]));
    ok(dir, &train("parts", &["--steps", "2"]));
    ok(dir, &["train", "vae", "--resume", "parts", "--steps", "6"]);
    let bytes = |run: &str| fs::read(dir.join(run).join("checkpoint.safetensors")).unwrap();
    assert!(bytes("one") == bytes("three"));
    assert!(bytes("one") == bytes("parts"));
    let sample = |run: &str| fs::read(dir.join(run).join("samples.png")).unwrap();
    assert!(sample("one") == sample("three"));
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_a_run_that_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_genzoo"));
    command
        .current_dir(dir)
        .env("GENZOO_CACHE", &*CACHE)
        .args(train("run", &["--time", "1h"]));
    let child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !dir.join("run/checkpoint.safetensors").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let error = text(&output.stderr);
    let line = error.lines().last().unwrap();
    assert!(
        line.starts_with("resume with: ") && line.ends_with("train --resume run"),
        "{error}"
    );
    ok(dir, &["train", "--resume", "run", "--time", "1s"]);
}

#[test]
fn eval_tells_nats_and_bits() {
    let run = &*RUN;
    let run = run.to_str().unwrap();
    let json = ok(Path::new("."), &["eval", run, "--json"]);
    let expected = [
        "model",
        "split",
        "examples",
        "nats",
        "nats_standard_error",
        "bits_per_dim",
        "bound",
        "scores",
        "classes",
    ];
    assert_eq!(keys(&json), expected);
    let report: Value = serde_json::from_str(&json).unwrap();
    let classes = report["classes"].as_array().unwrap();
    let examples = |class: &Value| class["examples"].as_u64().unwrap();
    assert_eq!(classes.iter().map(examples).sum::<u64>(), 5000);
    let share = |class: &Value| class["nats"].as_f64().unwrap() * examples(class) as f64 / 5000.0;
    let mean: f64 = classes.iter().map(share).sum();
    assert!((mean - report["nats"].as_f64().unwrap()).abs() < 1e-6);
    let number = |key: &str| report[key].as_f64().unwrap();
    assert_eq!(
        (report["split"].as_str(), report["bound"].as_bool()),
        (Some("test"), Some(true))
    );
    assert_eq!(number("examples"), 5000.0);
    let bits = number("nats") / (784.0 * std::f64::consts::LN_2);
    assert!((number("bits_per_dim") - bits).abs() < 1e-9);
    assert!(number("nats_standard_error") > 0.0);
    let again = ok(Path::new("."), &["eval", run, "--json", "--threads", "1"]);
    assert_eq!(json, again);
    let valid = ok(
        Path::new("."),
        &["eval", run, "--split", "valid", "--samples", "2"],
    );
    assert!(
        valid.contains("5,000 valid images") && valid.contains("bits a dimension"),
        "{valid}"
    );
}

#[test]
fn sample_writes_a_picture() {
    let run = &*RUN;
    let root = tempfile::tempdir().unwrap();
    let run = run.to_str().unwrap();
    ok(
        root.path(),
        &[
            "sample", run, "--count", "10", "--seed", "3", "--out", "a.png",
        ],
    );
    let cell = 2 * 28 + 2;
    assert_eq!(
        png_size(&root.path().join("a.png")),
        (4 * cell + 2, 3 * cell + 2)
    );
    ok(
        root.path(),
        &[
            "sample", run, "--count", "10", "--seed", "3", "--out", "b.png",
        ],
    );
    ok(
        root.path(),
        &[
            "sample", run, "--count", "10", "--seed", "4", "--out", "c.png",
        ],
    );
    let bytes = |name: &str| fs::read(root.path().join(name)).unwrap();
    assert!(bytes("a.png") == bytes("b.png") && bytes("a.png") != bytes("c.png"));
}

#[test]
fn bench_measures() {
    let args = [
        "bench",
        "vae",
        "--batch-size",
        "8",
        "--seconds",
        "0.1",
        "--set",
        "hidden=16",
        "--threads",
        "2",
    ];
    let json = ok(Path::new("."), &[&args[..], &["--json"]].concat());
    let expected = [
        "model",
        "image",
        "levels",
        "batch_size",
        "threads",
        "images_per_second",
        "ms_per_step",
        "peak_rss_mb",
        "peak_gflops",
    ];
    assert_eq!(keys(&json), expected);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (report["batch_size"].as_u64(), report["threads"].as_u64()),
        (Some(8), Some(2))
    );
    let rate = report["images_per_second"].as_f64().unwrap();
    let ms = report["ms_per_step"].as_f64().unwrap();
    assert!((rate * ms / 8000.0 - 1.0).abs() < 1e-6, "{json}");
    assert!(report["peak_gflops"].as_f64().unwrap() > 0.0);
}

#[test]
fn models_and_data_are_listed() {
    let list = ok(Path::new("."), &["models"]);
    assert!(
        list.contains("vae") && list.contains("arXiv:1312.6114"),
        "{list}"
    );
    let vae = ok(Path::new("."), &["models", "vae"]);
    assert!(
        vae.contains("latents=20") && vae.contains("learning rate 0.001"),
        "{vae}"
    );
    let data = ok(Path::new("."), &["data", "list"]);
    assert!(data.contains("glyphs") && data.contains("idx"), "{data}");
    let glyphs = ok(Path::new("."), &["data", "inspect", "glyphs"]);
    assert!(
        glyphs.contains("28x28x1") && glyphs.contains("20,000 images"),
        "{glyphs}"
    );
}

#[test]
fn directories_are_imported_and_named() {
    let root = tempfile::tempdir().unwrap();
    tiny_set(root.path());
    let cache = root.path().join("cache");
    let run = |args: &[&str]| {
        let output = genzoo_in(root.path(), &cache, args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout).to_string()
    };
    let imported = run(&["data", "import", "tiny-set"]);
    assert!(
        imported.contains("tiny-set (55 / 5 / 12 images)"),
        "{imported}"
    );
    assert!(run(&["data", "list"]).contains("tiny-set"));
    let small = ["--set", "hidden=4", "--set", "latents=1", "--steps", "2"];
    run(&[
        &["train", "vae", "--data", "tiny-set", "--out", "a"],
        &small[..],
    ]
    .concat());
    let json = run(&["eval", "a", "--json"]);
    assert!(json.contains("\"examples\":12"), "{json}");
    // Other data than the run's: refused, unless asked for and of the same shape.
    let output = genzoo_in(
        root.path(),
        &cache,
        &["train", "--resume", "a", "--data", "glyphs", "--steps", "9"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("the data the run began with"),
        "{}",
        text(&output.stderr)
    );
    let output = genzoo_in(root.path(), &cache, &["eval", "a", "--data", "glyphs"]);
    assert!(
        text(&output.stderr).contains("expected images 5x4x1"),
        "{}",
        text(&output.stderr)
    );
}
