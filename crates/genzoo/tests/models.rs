//! What the command promises for every model that it lists.

mod common;

use common::{ok, tiny_set};
use std::fs;

/// Hyper-parameters that make a model small enough for a test.
const SIZES: &[(&str, &[&str])] = &[
    ("vae", &["hidden=16", "latents=2"]),
    ("fvsbn", &["reach=2"]),
    ("nade", &["hidden=8"]),
    ("orderless-nade", &["hidden=8,8"]),
    ("made", &["hidden=24", "masks=2", "shuffle=true"]),
    ("pixelcnn", &["channels=4", "blocks=1", "head=4"]),
    ("gated-pixelcnn", &["channels=4", "layers=2", "head=4"]),
];

/// The names that `genzoo models` prints, with their sizes.
fn models() -> Vec<(String, &'static [&'static str])> {
    let list = ok(std::path::Path::new("."), &["models"]);
    let names: Vec<&str> = (list.lines().skip(1))
        .map_while(|line| line.split_whitespace().next())
        .collect();
    let size = |name: &str| SIZES.iter().find(|(known, _)| *known == name);
    for (name, _) in SIZES {
        assert!(names.contains(name), "{name} is not listed:\n{list}");
    }
    names
        .into_iter()
        .map(|name| {
            let size = size(name).unwrap_or_else(|| panic!("give {name} a size in this test"));
            (name.to_string(), size.1)
        })
        .collect()
}

/// Half a run, resumed on another number of threads, has the bytes of the whole run; read from its
/// files it evaluates and samples, on any number of threads the same.
#[test]
fn every_model_resumes_evaluates_and_samples_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    tiny_set(dir);
    // A schedule that ends with the run would make the first half of it another run.
    fs::write(dir.join("constant.toml"), "schedule.kind = \"constant\"").unwrap();
    for (model, size) in models() {
        let set: Vec<&str> = size.iter().flat_map(|size| ["--set", size]).collect();
        let train = |out: &str, steps: &str, threads: &str| {
            let ends = ["--steps", steps, "--threads", threads];
            let common = [
                "--data",
                "tiny-set",
                "--config",
                "constant.toml",
                "--batch-size",
                "5",
                "--out",
                out,
            ];
            ok(
                dir,
                &[&["train", &model], &ends[..], &common, &set].concat(),
            );
        };
        let (whole, parts) = (format!("{model}-whole"), format!("{model}-parts"));
        train(&whole, "4", "1");
        train(&parts, "2", "3");
        let resume = ["train", "--resume", &parts, "--steps", "4"];
        ok(dir, &[&resume[..], &["--threads", "2"]].concat());
        let bytes = |file: &str| fs::read(dir.join(file)).unwrap();
        let checkpoint = |run: &str| bytes(&format!("{run}/checkpoint.safetensors"));
        assert!(checkpoint(&whole) == checkpoint(&parts), "{model}");
        let use_it = |threads: &str| {
            let threads = ["--threads", threads];
            let sample = ["sample", &whole, "--count", "5", "--out", "drawn.png"];
            ok(dir, &[&sample[..], &threads].concat());
            let likelihood = ok(dir, &[&["eval", &whole, "--json"], &threads[..]].concat());
            (likelihood, bytes("drawn.png"))
        };
        assert!(use_it("1") == use_it("3"), "{model}");
    }
}
