//! `genzoo explore`: the page, asked by hand and driven in a browser where there is one.
#![cfg(feature = "explore")]

mod common;

use common::http::{Browser, ask};
use common::{CACHE, RUN, fails, ok, text};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The command at work, ended with this value.
struct Page {
    child: Child,
    port: u16,
}

impl Page {
    fn of(run: &Path) -> Page {
        let mut child = Command::new(env!("CARGO_BIN_EXE_genzoo"))
            .args(["explore", run.to_str().unwrap(), "--threads", "2"])
            .env("GENZOO_CACHE", &*CACHE)
            .env_remove("KERNELS_ISA")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.split('/').nth(2).expect("an address");
        let port = address.strip_prefix("127.0.0.1:").unwrap().parse().unwrap();
        Page { child, port }
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let (code, answer) = ask(self.port, "POST", path, &[], &body.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        match code {
            200 => Ok(answer),
            400 => Err(answer["error"].as_str().unwrap().into()),
            _ => panic!("{path}: {code}: {answer}"),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run of a model that completes images.
fn completing(root: &Path) -> std::path::PathBuf {
    let args = ["train", "fvsbn", "--steps", "3", "--out", "run"];
    ok(root, &args);
    root.join("run")
}

#[test]
fn questions_have_the_answers_of_the_other_commands() {
    let root = tempfile::tempdir().unwrap();
    let page = Page::of(&RUN);
    let (code, html) = ask(page.port, "GET", "/", &[], "");
    assert_eq!(code, 200);
    assert!(html.starts_with("<!doctype html>"));
    let elsewhere = ["http://", "https://", "//cdn", "@import"];
    assert!(
        elsewhere.iter().all(|word| !html.contains(word)),
        "it asks others for something"
    );

    let (_, about) = ask(page.port, "GET", "/api/run", &[], "");
    let about: Value = serde_json::from_str(&about).unwrap();
    assert_eq!(about["model"], "vae");
    assert_eq!(about["code"].as_array().unwrap().len(), 2);
    assert_eq!(about["completes"], false);

    // A code that is encoded and decoded here is what `latent reconstruct` shows.
    let image = page
        .post("/api/image", &json!({ "split": "test", "index": 3 }))
        .unwrap();
    let pixels = &image["pixels"];
    let code = &page
        .post("/api/encode", &json!({ "pixels": pixels }))
        .unwrap()["code"];
    let decoded = page
        .post("/api/decode", &json!({ "codes": [code] }))
        .unwrap();
    let run = RUN.to_str().unwrap();
    ok(
        root.path(),
        &["latent", run, "encode", "--from", "test:3..4"],
    );
    let bytes = std::fs::read(root.path().join("codes.npy")).unwrap();
    let tail = &bytes[bytes.len() - 8..];
    for (i, number) in tail.chunks(4).enumerate() {
        let number = f32::from_le_bytes(number.try_into().unwrap());
        assert_eq!(code[i].as_f64().unwrap() as f32, number);
    }
    let dims = pixels.as_array().unwrap().len();
    assert_eq!(decoded["images"][0].as_array().unwrap().len(), dims);

    // The nearest to a training image is that image.
    let image = page
        .post("/api/image", &json!({ "split": "train", "index": 7 }))
        .unwrap();
    let near = page
        .post("/api/nearest", &json!({ "pixels": image["pixels"] }))
        .unwrap();
    assert_eq!(
        (&near["index"], &near["distance"]),
        (&json!(7), &json!(0.0))
    );
    assert_eq!(near["pixels"], image["pixels"]);

    let draw = |seed: u32| {
        page.post("/api/sample", &json!({ "count": 2, "seed": seed }))
            .unwrap()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn what_is_given_stays_in_a_completion() {
    let root = tempfile::tempdir().unwrap();
    let page = Page::of(&completing(root.path()));
    let image = page
        .post("/api/image", &json!({ "split": "test", "index": 0 }))
        .unwrap();
    let pixels = image["pixels"].as_array().unwrap();
    let known: Vec<bool> = (0..pixels.len()).map(|i| i % 3 != 0).collect();
    let body =
        json!({ "pixels": pixels, "known": known, "count": 3, "seed": 5, "temperature": 0.7 });
    let drawn = page.post("/api/complete", &body).unwrap();
    assert_eq!(drawn["images"].as_array().unwrap().len(), 3);
    for image in drawn["images"].as_array().unwrap() {
        let kept = |i: usize| !known[i] || image[i] == pixels[i];
        assert!((0..pixels.len()).all(kept));
    }
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let page = Page::of(&RUN);
    let refused = |path: &str, body: Value, expected: &str| {
        let error = page.post(path, &body).unwrap_err();
        assert!(error.contains(expected), "{path}: {error}");
    };
    refused(
        "/api/decode",
        json!({ "codes": [[0.5]] }),
        "expected 2 finite numbers each, found 1",
    );
    refused(
        "/api/decode",
        json!({ "codes": [] }),
        "expected 1 to 100 images, found 0",
    );
    refused("/api/encode", json!({ "pixels": [1, 2] }), "found 2");
    refused("/api/encode", json!({ "pixels": [256] }), "256");
    refused(
        "/api/sample",
        json!({ "count": 1_000_000, "seed": 0 }),
        "found 1000000",
    );
    refused(
        "/api/sample",
        json!({ "count": 1, "seed": 0, "class": 3 }),
        "knows no classes",
    );
    refused("/api/sample", json!({ "count": 1 }), "seed");
    refused(
        "/api/image",
        json!({ "split": "test", "index": u32::MAX }),
        "images",
    );
    refused(
        "/api/complete",
        json!({ "pixels": [], "known": [], "count": 1, "seed": 0 }),
        "does not complete",
    );
    let status = |method: &str, path: &str, headers: &[&str], body: &str| {
        ask(page.port, method, path, headers, body).0
    };
    assert_eq!(status("POST", "/api/decode", &[], "no JSON"), 400);
    assert_eq!(status("GET", "/etc/passwd", &[], ""), 404);
    assert_eq!(status("POST", "/api/other", &[], "{}"), 404);
    assert_eq!(status("DELETE", "/", &[], ""), 405);
    // Other hosts' pages: by a name that leads here, and by asking from theirs.
    assert_eq!(status("GET", "/api/run", &["Host: evil.example"], ""), 403);
    assert_eq!(
        status("GET", "/api/run", &["Origin: http://evil.example"], ""),
        403
    );
    let own = format!("Origin: http://localhost:{}", page.port);
    assert_eq!(status("GET", "/api/run", &[&own], ""), 200);
    // And it still answers.
    assert_eq!(status("GET", "/", &[], ""), 200);
}

#[test]
fn a_taken_port_is_named() {
    let page = Page::of(&RUN);
    let port = page.port.to_string();
    let error = fails(
        Path::new("."),
        1,
        &["explore", RUN.to_str().unwrap(), "--port", &port],
    );
    assert!(
        error.contains(&format!("127.0.0.1:{port}: cannot listen there")),
        "{error}"
    );
}

#[test]
fn a_browser_moves_through_the_code() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let page = Page::of(&RUN);
    browser.open(&format!("http://127.0.0.1:{}/", page.port));
    browser.until("document.body.dataset.ready === 'true' && document.body.dataset.busy === '0'");
    let visible =
        |id: &str| browser.script(&format!("return !document.getElementById('{id}').hidden;"));
    for id in ["code-section", "between-section", "sample-section"] {
        assert_eq!(visible(id), json!(true), "{id}");
    }
    assert_eq!(visible("complete-section"), json!(false));

    let shown = || browser.script("return document.getElementById('decoded').toDataURL();");
    let changed = |what: &dyn Fn()| {
        let before = shown();
        what();
        let is_new = format!("document.getElementById('decoded').toDataURL() !== {before}");
        browser.until(&is_new);
        browser.until("document.body.dataset.busy === '0'");
    };
    changed(&|| browser.click("#random-code"));
    changed(&|| browser.drag("#pad", [-90, -90], [90, 80]));
    changed(&|| {
        browser.script(
            "const slider = document.querySelector('#sliders input');
             slider.value = slider.min; slider.dispatchEvent(new Event('input'));",
        );
    });
    browser.click("#pick canvas:nth-child(5)");
    browser.until("document.body.dataset.busy === '0'");
    let count = browser.script("return document.querySelectorAll('#between canvas').length;");
    assert_eq!(count, json!(9));
    let error = browser.script("return document.getElementById('error').textContent;");
    assert_eq!((error, browser.errors()), (json!(""), vec![]));
}

#[test]
fn a_browser_erases_and_completes() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let page = Page::of(&completing(root.path()));
    browser.open(&format!("http://127.0.0.1:{}/", page.port));
    browser.until("document.body.dataset.ready === 'true' && document.body.dataset.busy === '0'");
    let count = browser.script("return document.querySelectorAll('#completions canvas').length;");
    assert_eq!(count, json!(8));
    let paper = || browser.script("return document.getElementById('paper').toDataURL();");
    let before = paper();
    browser.drag("#paper", [-80, -80], [80, -60]);
    browser.until("document.body.dataset.busy === '0'");
    assert_ne!(paper(), before);
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn a_model_without_images_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let args = ["train", "mlp-classifier", "--steps", "2", "--out", "run"];
    ok(root.path(), &args);
    let error = fails(root.path(), 1, &["explore", "run"]);
    assert!(
        text(error.as_bytes()).contains("makes no images"),
        "{error}"
    );
}
