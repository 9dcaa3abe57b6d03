//! `genzoo inspect`: what models see, in words and in pictures.

mod common;

use common::{RUN, genzoo, ok, text};
use std::path::{Path, PathBuf};

/// A run of a few steps of a tiny model on the built-in images.
fn run_of(name: &str, model: &str, sizes: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspect");
    let run = root.join(name);
    if run.exists() {
        std::fs::remove_dir_all(&run).unwrap();
    }
    std::fs::create_dir_all(&root).unwrap();
    let mut args = vec![
        "train",
        model,
        "--out",
        name,
        "--steps",
        "2",
        "--batch-size",
        "4",
    ];
    // Grey levels are binarised, as other models of this crate have them.
    args.extend(["--binarize", "static"]);
    args.extend(sizes.iter().flat_map(|size| ["--set", size]));
    ok(&root, &args);
    run
}

/// What the command says, after it has written a picture of the kind.
fn inspect(run: &Path, more: &[&str]) -> String {
    let picture = run.join("inspect.png");
    let _ = std::fs::remove_file(&picture);
    let mut args = vec![
        "inspect",
        run.to_str().unwrap(),
        "--out",
        picture.to_str().unwrap(),
    ];
    args.extend(more);
    let said = ok(run, &args);
    let bytes = std::fs::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"), "{said}");
    said
}

#[test]
fn receptive_fields_tell_a_triangle_from_all_that_came_before() {
    let sees = |model: &str, sizes: &[&str]| -> usize {
        let run = run_of(model, model, sizes);
        let said = inspect(
            &run,
            &["--receptive-field", "--at", "27,2", "--from", "test:0..4"],
        );
        assert!(!said.contains("leak"), "{said}");
        let line = said.lines().next().unwrap();
        assert!(line.ends_with("of the 758 before it"), "{line}");
        line.split(' ').nth(2).unwrap().parse().unwrap()
    };
    let sizes = ["hidden=4", "layers=1", "head=4"];
    // Far to the right in the rows just above, a row LSTM sees nothing; the diagonal one does.
    assert!(sees("row-lstm", &sizes) < 700);
    assert!(sees("diagonal-bilstm", &sizes) > 700);
    // Models of dense layers, too.
    assert!(sees("nade", &["hidden=8"]) > 100);
}

#[test]
fn attention_and_filters_are_pictures() {
    let sizes = ["channels=8", "layers=2", "heads=2", "inner=8"];
    let run = run_of("transformer", "image-transformer", &sizes);
    let said = inspect(
        &run,
        &["--attention", "--at", "20,14", "--from", "test:0..2"],
    );
    assert!(
        said.contains("2 layers below each other, 2 heads"),
        "{said}"
    );
    let run = run_of("pixels", "pixelcnn", &["channels=4", "blocks=1", "head=4"]);
    let said = inspect(&run, &["--filters"]);
    assert!(
        said.contains("4 of the 4 filters of first.weight, 7 x 7"),
        "{said}"
    );
}

#[test]
fn what_a_model_cannot_show_is_said_in_a_line() {
    let root = RUN.parent().unwrap();
    let run = RUN.to_str().unwrap();
    for (code, args, expected) in [
        (
            1,
            &["--receptive-field"][..],
            "does not predict one pixel after the other",
        ),
        (
            1,
            &["--attention"],
            "does not predict one pixel after the other",
        ),
        (2, &[], "--receptive-field"),
        (2, &["--filters", "--attention"], "cannot be used with"),
        (2, &["--receptive-field", "--at", "5"], "ROW,COLUMN"),
    ] {
        let output = genzoo(root, &[&["inspect", run], args].concat());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(
            error.contains(expected) && !error.contains("panicked"),
            "{args:?}: {error}"
        );
    }
    let pixels = run_of("small", "nade", &["hidden=2"]);
    for (args, expected) in [
        (["--receptive-field", "--at", "28,0"], "28 rows"),
        (["--receptive-field", "--from", "test:0..9000"], "images"),
    ] {
        let output = genzoo(
            root,
            &[&["inspect", pixels.to_str().unwrap()], &args[..]].concat(),
        );
        let error = text(&output.stderr);
        assert!(
            !output.status.success() && error.contains(expected),
            "{args:?}: {error}"
        );
    }
    let output = genzoo(root, &["inspect", pixels.to_str().unwrap(), "--attention"]);
    assert!(text(&output.stderr).contains("nade has no attention"));
}
