//! EDN text of real databases: what Clojure printed reads, and prints as the same bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fixtures/shared.rs"]
mod shared;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use packstone::record::datom::edn::{parse_datom_line, print_datom};

fn every_line_prints_the_same(name: &str, text: &[u8]) -> usize {
    let mut lines = 0;
    for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let datom = parse_datom_line(line).unwrap_or_else(|why| panic!("{name}:{}: {why}", lines + 1));
        let mut printed = Vec::new();
        print_datom(&datom, &mut printed);
        lines += 1;
        assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(line), "{name}:{lines}");
    }
    lines
}

#[test]
fn bundled_fixtures_print_as_clojure_printed_them() {
    let mut lines = 0;
    for folder in ["a-small-history", "e-attribute-refs"] {
        for file in ["datoms-current.edn", "datoms-history.edn"] {
            let path = Path::new("tests/fixtures").join(folder).join(file);
            lines += every_line_prints_the_same(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
    assert_eq!(lines, 1051 + 1257 + 1037 + 1203);
}

#[test]
fn all_fixtures_print_as_clojure_printed_them() {
    let Some(shared) = shared::shared() else { return };
    let mut folders = vec![shared];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.contains("datoms") && (name.ends_with(".edn") || name.ends_with(".edn.gz")) {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 10, "{files:?}");
    for path in files {
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|e| e == "gz") {
            let mut text = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut text).unwrap();
            bytes = text;
        }
        assert!(every_line_prints_the_same(&path.display().to_string(), &bytes) > 0, "{path:?}");
    }
}
