//! Sampling with a class and a temperature, completing, compressing: the command on models that
//! draw one pixel after another.

mod common;

use common::{fails, ok, pixels, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// A run of `model` on the built-in images, a few steps long.
fn run_of(name: &str, args: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
    let run = root.join(name);
    if run.exists() {
        fs::remove_dir_all(&run).unwrap();
    }
    fs::create_dir_all(&root).unwrap();
    let out = ["--out", name, "--steps", "20", "--batch-size", "16"];
    ok(&root, &[&["train"], args, &out].concat());
    run
}

static NADE: LazyLock<PathBuf> =
    LazyLock::new(|| run_of("nade", &["nade", "--set", "hidden=16", "--lr", "0.01"]));

static CONDITIONAL: LazyLock<PathBuf> = LazyLock::new(|| {
    let sizes = ["channels=4", "layers=2", "head=4", "conditional=true"];
    let set: Vec<&str> = sizes.iter().flat_map(|size| ["--set", size]).collect();
    run_of(
        "gated",
        &[&["gated-pixelcnn", "--binarize", "static"], &set[..]].concat(),
    )
});

fn name(run: &Path) -> &str {
    run.to_str().unwrap()
}

fn write_png(path: &Path, width: usize, height: usize, data: &[u8]) {
    let file = fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(data)
        .unwrap();
}

/// Pixel (y, x) of cell (row, column) of a grid of 28x28 images.
fn cell(picture: &(usize, usize, Vec<u8>), row: usize, column: usize, y: usize, x: usize) -> u8 {
    let (top, left) = (2 + row * 58 + 2 * y, 2 + column * 58 + 2 * x);
    picture.2[top * picture.0 + left]
}

#[test]
fn samples_follow_class_and_temperature() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let draw = |run: &Path, out: &str, more: &[&str]| {
        let args = ["sample", name(run), "--count", "12", "--out", out];
        ok(dir, &[&args[..], more].concat());
        fs::read(dir.join(out)).unwrap()
    };
    let plain = draw(&NADE, "a.png", &[]);
    assert!(plain == draw(&NADE, "b.png", &["--temperature", "1.0", "--threads", "1"]));
    assert!(plain != draw(&NADE, "c.png", &["--temperature", "0.5"]));
    let classes = ["0", "3"].map(|class| draw(&CONDITIONAL, "d.png", &["--class", class]));
    assert!(classes[0] != classes[1]);
    let error = fails(dir, 2, &["sample", name(&NADE), "--class", "1"]);
    assert!(error.contains("knows no classes"), "{error}");
    let error = fails(dir, 2, &["sample", name(&CONDITIONAL), "--class", "10"]);
    assert!(error.contains("a class from 0 to 9"), "{error}");
    let error = fails(dir, 2, &["sample", name(&NADE), "--temperature", "0"]);
    assert!(error.contains("at least 0.001"), "{error}");
}

#[test]
fn completions_keep_what_is_given() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let run = name(&NADE);
    let args = [
        "complete",
        run,
        "--from",
        "test:3..6",
        "--rows",
        "9",
        "--count",
        "4",
    ];
    ok(dir, &[&args[..], &["--out", "a.png"]].concat());
    let a = pixels(&dir.join("a.png"));
    assert_eq!((a.0, a.1), (6 * 58 + 2, 3 * 58 + 2));
    let mut drawn = [0; 3];
    for (row, drawn) in drawn.iter_mut().enumerate() {
        for (y, x) in (0..28).flat_map(|y| (0..28).map(move |x| (y, x))) {
            let of = |column| cell(&a, row, column, y, x);
            if y < 9 {
                assert!(
                    (1..6).all(|column| of(column) == of(0)),
                    "row {row}: {y}, {x}"
                );
            } else {
                assert_eq!(of(1), 102, "the part that is not given");
                *drawn += i32::from(of(2) != of(3));
            }
        }
    }
    assert!(drawn.iter().all(|&differ| differ > 0), "{drawn:?}");

    // From files: the right half is given.
    let image: Vec<u8> = (0..784).map(|i| if i % 3 == 0 { 250 } else { 9 }).collect();
    let mask: Vec<u8> = (0..784)
        .map(|i| if i % 28 >= 14 { 255 } else { 0 })
        .collect();
    write_png(&dir.join("image.png"), 28, 28, &image);
    write_png(&dir.join("mask.png"), 28, 28, &mask);
    ok(
        dir,
        &[
            "complete",
            run,
            "image.png",
            "--mask",
            "mask.png",
            "--count",
            "2",
            "--out",
            "b.png",
        ],
    );
    let b = pixels(&dir.join("b.png"));
    for (y, x) in (0..28).flat_map(|y| (14..28).map(move |x| (y, x))) {
        let expected = if (y * 28 + x) % 3 == 0 { 255 } else { 0 };
        assert!((0..4).all(|column| cell(&b, 0, column, y, x) == expected));
    }

    write_png(&dir.join("small.png"), 27, 28, &image[..27 * 28]);
    let error = fails(dir, 1, &["complete", run, "small.png"]);
    assert!(
        error.contains("expected a picture of 28x28x1, found 28x27x1"),
        "{error}"
    );
    fs::write(dir.join("text.png"), "no picture").unwrap();
    let error = fails(dir, 1, &["complete", run, "text.png"]);
    assert!(error.contains("text.png: not a PNG file"), "{error}");
    let error = fails(dir, 2, &["complete", run, "--rows", "29"]);
    assert!(error.contains("the images have 28 rows"), "{error}");
    let error = fails(dir, 2, &["complete", run, "--from", "test:4990..5001"]);
    assert!(error.contains("has 5000 images"), "{error}");
    let error = fails(dir, 2, &["complete", run, "--from", "test:9"]);
    assert!(error.contains("expected a range such as 0..16"), "{error}");
}

#[test]
fn compressed_images_are_as_small_as_eval_says_and_come_back() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let run = name(&NADE);
    let compress = ["compress", run, "--from", "test"];
    ok(dir, &[&compress[..], &["--out", "a.gzll"]].concat());
    ok(
        dir,
        &[&compress[..], &["--out", "b.gzll", "--threads", "1"]].concat(),
    );
    let file = fs::read(dir.join("a.gzll")).unwrap();
    assert!(
        file == fs::read(dir.join("b.gzll")).unwrap(),
        "threads change the file"
    );
    let json: serde_json::Value = serde_json::from_str(&ok(dir, &["eval", run, "--json"])).unwrap();
    let expected = json["bits_per_dim"].as_f64().unwrap();
    let found = 8.0 * file.len() as f64 / (5000.0 * 784.0);
    assert!(
        (found / expected - 1.0).abs() < 0.01,
        "{found}, expected {expected}"
    );

    ok(
        dir,
        &[
            "decompress",
            run,
            "a.gzll",
            "--out",
            "one",
            "--threads",
            "1",
        ],
    );
    ok(
        dir,
        &[
            "decompress",
            run,
            "a.gzll",
            "--out",
            "three",
            "--threads",
            "3",
        ],
    );
    let idx = fs::read(dir.join("one/test-0-5000.idx")).unwrap();
    assert_eq!(idx.len(), 16 + 5000 * 784);
    assert!(idx == fs::read(dir.join("three/test-0-5000.idx")).unwrap());

    // Files: the very bytes, and the pixels of a picture.
    let part = [
        &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28],
        &idx[16..16 + 1568],
    ]
    .concat();
    fs::write(dir.join("two.idx"), &part).unwrap();
    let amat: String = (0..784)
        .map(|i| if i % 5 == 0 { "1 " } else { "0 " })
        .collect();
    fs::write(dir.join("x.amat"), format!("{}\n", amat.trim_end())).unwrap();
    write_png(&dir.join("p.png"), 28, 28, &idx[16..16 + 784]);
    ok(dir, &["compress", run, "two.idx", "x.amat", "p.png"]);
    ok(dir, &["decompress", run, "images.gzll", "--out", "back"]);
    for name in ["two.idx", "x.amat"] {
        let bytes = |dir: &Path| fs::read(dir.join(name)).unwrap();
        assert!(bytes(dir) == bytes(&dir.join("back")), "{name}");
    }
    assert_eq!(pixels(&dir.join("back/p.png")), pixels(&dir.join("p.png")));

    let error = fails(dir, 1, &["compress", run, "images.gzll"]);
    assert!(
        error.contains("expected IDX, CIFAR-10, .amat or PNG"),
        "{error}"
    );
    fs::write(dir.join("loose.amat"), amat.replace(' ', "  ")).unwrap();
    let error = fails(dir, 1, &["compress", run, "loose.amat"]);
    assert!(
        error.contains("do not follow from its images alone"),
        "{error}"
    );
    fs::write(dir.join("back/two.idx"), "mine").unwrap();
    let error = fails(dir, 1, &["decompress", run, "images.gzll", "--out", "back"]);
    assert!(error.contains("two.idx: there is another file"), "{error}");
}

#[test]
fn a_conditional_model_compresses_by_class() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let run = name(&CONDITIONAL);
    ok(dir, &["compress", run, "--from", "valid:0..20"]);
    ok(dir, &["decompress", run, "images.gzll"]);
    let idx = "valid-0-20.idx";
    let error = fails(dir, 1, &["compress", run, idx]);
    assert!(error.contains("needs classes"), "{error}");
    ok(
        dir,
        &["compress", run, idx, "--class", "4", "--out", "again.gzll"],
    );
    ok(dir, &["decompress", run, "again.gzll", "--out", "again"]);
    assert!(fs::read(dir.join(idx)).unwrap() == fs::read(dir.join("again").join(idx)).unwrap());
}

#[test]
fn other_weights_damage_and_other_instruction_sets_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let run = name(&NADE);
    ok(dir, &["compress", run, "--from", "test:0..3"]);
    let other = run_of("other", &["nade", "--set", "hidden=16", "--seed", "1"]);
    let error = fails(dir, 1, &["decompress", name(&other), "images.gzll"]);
    assert!(
        error.contains("images.gzll: it was compressed with the weights"),
        "{error}"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_genzoo"))
        .current_dir(dir)
        .args(["decompress", run, "images.gzll"])
        .env("GENZOO_CACHE", &*common::CACHE)
        .env("KERNELS_ISA", "portable")
        .output()
        .unwrap();
    if !text(&output.stderr).is_empty() {
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            error.contains("the instruction set") && error.contains("portable"),
            "{error}"
        );
    }
    let mut bytes = fs::read(dir.join("images.gzll")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(dir.join("changed"), &bytes).unwrap();
    let error = fails(dir, 1, &["decompress", run, "changed"]);
    assert!(
        error.starts_with("error: changed: expected images with the checksum"),
        "{error}"
    );
    fs::write(dir.join("cut"), &bytes[..last]).unwrap();
    let error = fails(dir, 1, &["decompress", run, "cut"]);
    assert!(error.starts_with("error: cut: byte "), "{error}");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 3, "nothing was written");
}

#[test]
fn presets_are_described_and_used() {
    let nade = ok(Path::new("."), &["models", "nade"]);
    assert!(
        nade.contains("--preset short") && nade.contains("weight_decay"),
        "{nade}"
    );
    let run = run_of(
        "preset",
        &["nade", "--preset", "short", "--set", "hidden=8"],
    );
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(
        config.contains("adam-w") && config.contains("batch_size = 16"),
        "{config}"
    );
    let error = fails(Path::new("."), 2, &["train", "nade", "--preset", "shrt"]);
    assert!(
        error.contains("no preset \"shrt\"") && error.contains("did you mean"),
        "{error}"
    );
}
