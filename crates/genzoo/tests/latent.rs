//! The code of a model, looked into by commands; a classifier on its encoder.

mod common;

use common::{RUN, genzoo, ok, text};
use std::fs;
use std::path::Path;

fn run() -> &'static str {
    RUN.to_str().unwrap()
}

/// [width, height] and the pixels of a PNG file.
fn png(path: &Path) -> ([u32; 2], Vec<u8>) {
    let file = std::io::BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    ([info.width, info.height], pixels)
}

#[test]
fn each_picture_is_drawn_and_does_not_depend_on_threads() {
    let root = tempfile::tempdir().unwrap();
    let pictures: [&[&str]; 8] = [
        &["manifold", "--size", "4"],
        &["traverse", "--steps", "5"],
        &["traverse", "--at", "test:2", "--dims", "1"],
        &["interpolate", "test:0", "train:7"],
        &["arithmetic", "--plus", "3,test:0..4", "--minus", "1"],
        &["scatter", "--from", "test:0..50"],
        &["reconstruct", "--from", "valid:0..12"],
        &["dimensions", "--from", "valid:0..40"],
    ];
    for arguments in pictures {
        let draw = |threads: &str| {
            let name = format!("{}.png", arguments[0]);
            let ends = ["--out", &name, "--threads", threads];
            ok(
                root.path(),
                &[&["latent", run()], arguments, &ends[..]].concat(),
            );
            png(&root.path().join(name))
        };
        let ([width, height], pixels) = draw("1");
        assert!(width > 40 && height > 40, "{arguments:?}");
        assert!(
            pixels.iter().any(|&p| p != pixels[0]),
            "{arguments:?}: one colour"
        );
        assert!(draw("3").1 == pixels, "{arguments:?}");
    }
}

/// What `encode` writes and `decode` draws is what `reconstruct` shows.
#[test]
fn encode_then_decode_is_reconstruct() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    ok(dir, &["latent", run(), "encode", "--from", "test:3..4"]);
    let codes = fs::read(dir.join("codes.npy")).unwrap();
    assert!(codes.starts_with(b"\x93NUMPY"));
    let labels = fs::read(dir.join("codes.labels.npy")).unwrap();
    assert_eq!(labels.len() % 64, 4, "one label of four bytes");
    ok(dir, &["latent", run(), "decode", "codes.npy"]);
    ok(
        dir,
        &["latent", run(), "reconstruct", "--from", "test:3..4"],
    );
    // Images of 28x28 at twice their size: at (2, 2) of a grid; in a table the second row.
    let ([wide, _], decoded) = png(&dir.join("decoded.png"));
    let ([width, _], table) = png(&dir.join("reconstruct.png"));
    let part = |x: usize, y: usize| decoded[(y + 2) * wide as usize + x + 2];
    let whole = |x: usize, y: usize| table[3 * (y * width as usize + x)];
    // Find the place: words stand to the left, the title above.
    let place = (0..width as usize - 56).find_map(|left| {
        (0..140).find(|&top| {
            (0..56).step_by(5).all(|y| {
                (0..56)
                    .step_by(5)
                    .all(|x| part(x, y) == whole(left + x, top + y))
            })
        })
    });
    assert!(
        place.is_some(),
        "the decoded image is part of the reconstructions"
    );
}

#[test]
fn what_cannot_be_is_told_in_a_line() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    fs::write(dir.join("bad.npy"), b"\x93NUMPY\x01\x00\x04\x00{}  ").unwrap();
    fs::write(dir.join("text.npy"), "no array").unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["decode", "bad.npy"], "floats"),
        (&["decode", "text.npy"], "expected a .npy file"),
        (&["decode", "none.npy"], "none.npy"),
        (&["manifold", "--dims", "0,7"], "from 0 to 1"),
        (&["interpolate", "test:0", "nowhere.png"], "nowhere.png"),
        (&["interpolate", "test:0..3", "test:1"], "found 3"),
        (&["arithmetic", "--plus", "77"], "77"),
        (&["reconstruct", "--from", "test:99999..100000"], "has"),
    ];
    for (arguments, word) in cases {
        let output = genzoo(dir, &[&["latent", run()], arguments].concat());
        let error = text(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            error.contains(word) && !error.contains("panicked"),
            "{arguments:?}: {error}"
        );
    }
}

#[test]
fn a_classifier_is_put_on_the_encoder() {
    let root = tempfile::tempdir().unwrap();
    let few = [
        "--labels", "20,40", "--seeds", "2", "--steps", "3", "--json",
    ];
    let tune = |more: &[&str]| {
        let output = ok(
            root.path(),
            &[&["finetune", run()], &few[..], more].concat(),
        );
        serde_json::from_str::<serde_json::Value>(&output).unwrap()
    };
    let lines = tune(&[]);
    assert_eq!(lines[1]["labels"], 40);
    for side in ["pretrained", "random"] {
        let accuracy = lines[0][side]["accuracy"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&accuracy), "{lines}");
    }
    assert_eq!(
        lines,
        tune(&["--threads", "1"]),
        "threads do not change results"
    );
    assert_ne!(lines[0]["pretrained"], tune(&["--freeze"])[0]["pretrained"]);
    png(&root.path().join("finetune.png"));
    let output = genzoo(root.path(), &["finetune", run(), "--labels", "none"]);
    assert!(text(&output.stderr).contains("`all`"));
}
