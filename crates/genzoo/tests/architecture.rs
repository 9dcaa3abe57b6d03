//! The structure that ARCHITECTURE.md promises, read off the manifests and the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates a crate may import, bottom to top. Whatever is not named here may not be.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("dataset", &[]),
    ("grad", &["kernels"]),
    ("nn", &["grad"]),
    ("lossless", &["nn", "grad"]),
    ("autoregressive", &["nn", "grad", "kernels"]),
    ("vae", &["nn", "grad", "kernels"]),
    ("classifier", &["nn", "grad", "kernels"]),
    ("judge", &["nn", "grad", "kernels"]),
    ("gan", &["nn", "grad", "kernels"]),
    ("flow", &["nn", "grad", "autoregressive"]),
    ("markov", &["nn", "grad", "kernels"]),
    ("train", &["nn", "grad", "dataset"]),
    (
        "genzoo",
        &[
            "kernels",
            "grad",
            "nn",
            "dataset",
            "lossless",
            "autoregressive",
            "vae",
            "gan",
            "classifier",
            "judge",
            "flow",
            "markov",
            "train",
        ],
    ),
    (
        "battery",
        &["grad", "nn", "dataset", "lossless", "train", "genzoo"],
    ),
];

/// Files that may hold `unsafe`: SIMD and buffers, the memory map, and tests that count
/// allocations.
const MAY_BE_UNSAFE: &[&str] = &["crates/kernels/", "crates/dataset/src/map.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn names_in(manifest: &toml::Table, table: &str) -> Vec<String> {
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table.map_or_else(Vec::new, |table| table.keys().cloned().collect())
}

#[test]
fn crates_import_only_what_lies_below_them() {
    let ours: Vec<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in MAY_IMPORT {
        let manifest = manifest(&root().join("crates").join(name).join("Cargo.toml"));
        for import in names_in(&manifest, "dependencies") {
            assert!(
                !ours.contains(&&import[..]) || allowed.contains(&&import[..]),
                "{name} imports {import}; it may import {allowed:?}"
            );
        }
    }
}

#[test]
fn every_crate_is_in_the_table_and_stands_alone() {
    let mut found: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected: Vec<String> = MAY_IMPORT.iter().map(|(name, _)| (*name).into()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "crates/ and the import table differ");
    for name in &found {
        let dir = root().join("crates").join(name);
        let readme = fs::read_to_string(dir.join("README.md")).unwrap_or_default();
        assert!(
            readme.lines().count() > 5,
            "crates/{name}/README.md says nothing"
        );
        let manifest = manifest(&dir.join("Cargo.toml"));
        let shared = [
            "version",
            "edition",
            "rust-version",
            "license",
            "repository",
        ];
        for key in shared {
            let inherited = manifest["package"][key].get("workspace").is_some();
            assert!(
                inherited,
                "crates/{name}/Cargo.toml: {key} must come from the workspace"
            );
        }
        assert_eq!(
            manifest["lints"]["workspace"].as_bool(),
            Some(true),
            "crates/{name}/Cargo.toml: lints must come from the workspace"
        );
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(table).and_then(toml::Value::as_table) else {
                continue;
            };
            for (import, how) in table {
                let shared = how.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(
                    shared,
                    Some(true),
                    "crates/{name}/Cargo.toml: the version of {import} must come from the workspace"
                );
            }
        }
    }
}

#[test]
fn every_library_has_an_example() {
    let no_library = ["genzoo", "battery"];
    for (name, _) in MAY_IMPORT
        .iter()
        .filter(|(name, _)| !no_library.contains(name))
    {
        let mut examples = Vec::new();
        sources(
            &root().join("crates").join(name).join("examples"),
            &mut examples,
        );
        assert!(!examples.is_empty(), "crates/{name}/examples is empty");
    }
}

/// What the registry shows of a package, and the licences that travel with it.
#[test]
fn every_crate_can_be_published() {
    // The battery is for this workspace alone.
    for (name, _) in MAY_IMPORT.iter().filter(|(name, _)| *name != "battery") {
        let dir = root().join("crates").join(name);
        let manifest = manifest(&dir.join("Cargo.toml"));
        let package = manifest["package"].as_table().unwrap();
        let full = package["name"].as_str().unwrap();
        assert!(
            package.get("publish").is_none() && full.starts_with("genzoo"),
            "{full}"
        );
        for key in ["description", "readme"] {
            assert!(package[key].as_str().is_some(), "{full}: no {key}");
        }
        let page = format!("https://docs.rs/{full}");
        assert_eq!(package["documentation"].as_str(), Some(&page[..]), "{full}");
        for key in ["keywords", "categories"] {
            let words = package[key].as_array().unwrap();
            assert!((1..=5).contains(&words.len()), "{full}: {key} {words:?}");
            let fits = |word: &toml::Value| word.as_str().is_some_and(|word| word.len() <= 20);
            assert!(
                key != "keywords" || words.iter().all(fits),
                "{full}: keywords of at most 20 letters, found {words:?}"
            );
        }
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let text = fs::read_to_string(root().join(licence)).unwrap();
            let found = fs::read_to_string(dir.join(licence)).unwrap_or_default();
            assert!(found == text, "crates/{name}/{licence} is not the root's");
        }
    }
    let benches = manifest(&root().join("benches/Cargo.toml"));
    assert_eq!(benches["package"]["publish"].as_bool(), Some(false));
}

/// Crates that compile C or look for a C library of the system.
const BUILDS_C: &[&str] = &[
    "autotools",
    "bindgen",
    "cc",
    "cmake",
    "meson",
    "nasm-rs",
    "pkg-config",
    "system-deps",
    "vcpkg",
];
/// Crates called `-sys` that are declarations alone: nothing is compiled or looked for.
const ONLY_DECLARES: &[&str] = &["js-sys", "linux-raw-sys", "windows-sys"];

/// Over all targets and features, so this may be stricter than a build needs. `deny.toml` says
/// the same for who has that tool.
#[test]
fn nothing_that_is_built_by_default_needs_c() {
    let lock = manifest(&root().join("Cargo.lock"));
    let packages = lock["package"].as_array().unwrap();
    let workspace = manifest(&root().join("Cargo.toml"));
    let mut reached: Vec<String> = Vec::new();
    for (name, _) in MAY_IMPORT {
        let dir = root().join("crates").join(name);
        assert!(!dir.join("build.rs").exists(), "{name} has a build script");
        let manifest = manifest(&dir.join("Cargo.toml"));
        for table in ["dependencies", "build-dependencies"] {
            for import in names_in(&manifest, table) {
                let shared = &workspace["workspace"]["dependencies"][&import[..]];
                let package = shared.get("package").and_then(toml::Value::as_str);
                reached.push(package.unwrap_or(&import).into());
            }
        }
    }
    let mut next = 0;
    while next < reached.len() {
        let name = reached[next].clone();
        next += 1;
        // What a crate of ours needs for its tests alone is in the lock file, too.
        if name.starts_with("genzoo") {
            continue;
        }
        let named = |package: &&toml::Value| package["name"].as_str() == Some(&name);
        let of_name: Vec<_> = packages.iter().filter(named).collect();
        assert!(!of_name.is_empty(), "Cargo.lock does not know {name}");
        for package in of_name {
            let imports = package.get("dependencies").and_then(toml::Value::as_array);
            for import in imports.into_iter().flatten() {
                let import = import.as_str().unwrap().split(' ').next().unwrap();
                if !reached.iter().any(|known| known == import) {
                    reached.push(import.into());
                }
            }
        }
    }
    assert!(reached.iter().any(|name| name == "rayon-core"));
    for name in reached {
        let binds = name.ends_with("-sys") && !ONLY_DECLARES.contains(&&name[..]);
        assert!(
            !binds && !BUILDS_C.contains(&&name[..]),
            "{name} needs C; the default build does without"
        );
    }
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    for (name, _) in MAY_IMPORT {
        let dir = root().join("crates").join(name);
        let mut files = Vec::new();
        sources(&dir.join("src"), &mut files);
        if !["kernels", "dataset"].contains(name) {
            let library = dir.join("src/lib.rs");
            let entry = if library.exists() {
                library
            } else {
                dir.join("src/main.rs")
            };
            let text = fs::read_to_string(&entry).unwrap();
            assert!(
                text.contains("#![forbid(unsafe_code)]"),
                "{name} must forbid unsafe code"
            );
        }
        for file in files {
            let relative = file
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            let text = fs::read_to_string(&file).unwrap();
            let holds = text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or("");
                ["unsafe {", "unsafe fn", "unsafe impl"]
                    .iter()
                    .any(|word| code.contains(word))
            });
            assert!(
                !holds || MAY_BE_UNSAFE.iter().any(|room| relative.starts_with(room)),
                "{relative} holds unsafe code; only {MAY_BE_UNSAFE:?} may"
            );
        }
    }
}

#[test]
fn no_target_cpu_is_set() {
    for file in [".cargo/config.toml", ".cargo/config", "Cargo.toml"] {
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(
            !text.contains("target-cpu"),
            "{file}: one binary must be fast everywhere"
        );
    }
}
