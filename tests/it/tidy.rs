//! Rules of the tree that no compiler checks: dependency edges, lengths, module sentences, duplicates, licences.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::root;

/// No source file is longer, tests not counted.
const MAX_FILE_LINES: usize = 500;

/// Crates that are in the tree in more than one version, each for a reason outside our reach.
const KNOWN_DUPLICATES: &str = include_str!("duplicates.txt");

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Our crates: name → (folder, ordinary dependencies).
fn our_crates(metadata: &Value) -> BTreeMap<String, (PathBuf, BTreeSet<String>)> {
    let ours: BTreeSet<_> = metadata["workspace_members"].as_array().unwrap().iter().map(Value::to_string).collect();
    let packages = metadata["packages"].as_array().unwrap().iter().filter(|it| ours.contains(&it["id"].to_string()));
    packages
        .map(|it| {
            let folder = Path::new(text(it, "manifest_path")).parent().unwrap().to_owned();
            let dependencies = it["dependencies"].as_array().unwrap().iter();
            let ordinary = dependencies.filter(|it| it["kind"].is_null()).map(|it| text(it, "name").to_owned());
            (text(it, "name").to_owned(), (folder, ordinary.collect()))
        })
        .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for part in ["framework", "connectors", "runtime", "tests"] {
        rust_files(&root().join(part), &mut found);
    }
    found
}

fn is_test(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name == "tests.rs"
        || path.components().any(|it| matches!(it.as_os_str().to_str(), Some("tests" | "it" | "benches")))
}

#[test]
fn connectors_know_only_the_api() {
    let crates = our_crates(&metadata());
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("tidegate-api", &["tidegate-macros"] as &[_]),
        ("tidegate-macros", &[]),
        ("tidegate-formats", &["tidegate-api"]),
        ("tidegate-storage", &["tidegate-api"]),
        ("tidegate-epoch", &["tidegate-api", "tidegate-storage"]),
        ("tidegate-sql", &["tidegate-api", "tidegate-formats"]),
        (
            "tidegate-engine",
            &["tidegate-api", "tidegate-formats", "tidegate-storage", "tidegate-epoch", "tidegate-sql"],
        ),
        (
            "tidegate-builder",
            &["tidegate-api", "tidegate-formats", "tidegate-storage", "tidegate-epoch", "tidegate-engine"],
        ),
        ("tidegate-testkit", &["tidegate-api", "tidegate-epoch", "tidegate-storage"]),
        ("tidegate-file", &["tidegate-api", "tidegate-formats", "tidegate-storage"]),
        ("tidegate-kafka", &["tidegate-api", "tidegate-formats", "tidegate-kafka-ffi"]),
        ("tidegate-kafka-ffi", &["tidegate-api"]),
        ("tidegate-socket", &["tidegate-api"]),
        ("tidegate-rate", &["tidegate-api"]),
        ("tidegate-console", &["tidegate-api"]),
        ("tidegate-delta", &["tidegate-api", "tidegate-storage"]),
        ("tidegate-cassandra", &["tidegate-api"]),
    ]);
    for (name, (_, dependencies)) in &crates {
        let Some(allowed) = allowed.get(name.as_str()) else { continue };
        for dependency in dependencies.iter().filter(|it| it.starts_with("tidegate")) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not depend on {dependency}");
        }
    }
    let unchecked = ["tidegate", "tidegate-tests"];
    let all: BTreeSet<_> = allowed.keys().copied().chain(unchecked).collect();
    assert_eq!(crates.keys().map(String::as_str).collect::<BTreeSet<_>>(), all, "every crate has its rule here");
}

#[test]
fn only_sql_and_engine_link_datafusion() {
    for (name, (_, dependencies)) in our_crates(&metadata()) {
        let links = dependencies.iter().any(|it| it.starts_with("datafusion"));
        let may = ["tidegate-sql", "tidegate-engine"].contains(&name.as_str());
        assert!(!links || may, "{name} may not depend on DataFusion");
        let http = dependencies.iter().any(|it| ["axum", "hyper", "reqwest"].contains(&it.as_str()));
        assert!(!http || name == "tidegate", "{name} may not depend on HTTP");
    }
}

#[test]
fn dependencies_are_used() {
    for (name, (folder, dependencies)) in our_crates(&metadata()) {
        let mut files = Vec::new();
        rust_files(&folder, &mut files);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        let code: String = files.iter().map(|it| fs::read_to_string(it).unwrap()).collect::<String>() + &readme;
        for dependency in dependencies {
            let ident = dependency.replace('-', "_");
            assert!(code.contains(&ident), "{name} does not use {dependency}");
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for path in all_sources() {
        let source = fs::read_to_string(&path).unwrap();
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        let lines = source.lines().count();
        if lines > MAX_FILE_LINES && !is_test(&path) {
            wrong.push(format!("{shown}: {lines} lines, at most {MAX_FILE_LINES}"));
        }
        let first = source.lines().next().unwrap_or_default();
        if !is_test(&path) && !first.starts_with("//!") && !first.starts_with("#![doc") {
            wrong.push(format!("{shown}: does not begin with a //! sentence"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_undone() {
    let marks = ["#[ign", "todo!", "unimplemented!", "FIXME"];
    for path in all_sources().iter().filter(|it| !it.ends_with("tidy.rs")) {
        let source = fs::read_to_string(path).unwrap();
        let found = marks.iter().find(|mark| source.contains(**mark));
        assert!(found.is_none(), "{}: {found:?}", path.display());
    }
}

#[test]
fn unsafe_stands_in_one_crate() {
    for path in all_sources().iter().filter(|it| !it.ends_with("tidy.rs")) {
        let source = fs::read_to_string(path).unwrap();
        let code = source.lines().filter(|it| !it.trim_start().starts_with("//"));
        let found =
            code.clone().any(|it| it.contains("unsafe {") || it.contains("unsafe fn") || it.contains("unsafe impl"));
        let may = path.components().any(|it| it.as_os_str() == "kafka-ffi");
        assert!(!found || may, "{}: unsafe outside connectors/kafka-ffi", path.display());
    }
}

#[test]
fn duplicates_are_known() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        versions.entry(text(package, "name")).or_default().insert(text(package, "version"));
    }
    let found: BTreeSet<_> = versions.iter().filter(|(_, it)| it.len() > 1).map(|(name, _)| *name).collect();
    let known: BTreeSet<_> = KNOWN_DUPLICATES.lines().filter(|it| !it.starts_with('#') && !it.is_empty()).collect();
    assert_eq!(found, known, "tests/it/duplicates.txt lists what is there twice, no more and no less");
}

#[test]
fn licences_let_us_ship() {
    let allowed = [
        "MIT",
        "Apache-2.0",
        "BSD",
        "ISC",
        "Zlib",
        "Unicode",
        "CC0-1.0",
        "0BSD",
        "Unlicense",
        "BSL-1.0",
        "CDLA-Permissive",
        "MPL-2.0",
    ];
    for package in metadata()["packages"].as_array().unwrap() {
        let licence = text(package, "license");
        // Some crates name a file instead of a licence.
        let by_file = licence.is_empty() && !package["license_file"].is_null();
        let permissive = allowed.iter().any(|it| licence.contains(it));
        assert!(by_file || permissive, "{}: licence '{licence}'", text(package, "name"));
    }
}

#[test]
fn no_place_of_this_machine_is_named() {
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output().expect("git ls-files");
    let forbidden = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("..", "/shared")];
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        let Ok(source) = fs::read_to_string(root().join(name)) else { continue };
        for place in forbidden {
            assert!(!source.contains(place), "{name} names {place}");
        }
    }
}
