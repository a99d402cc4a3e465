//! Text targets to files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read as _;
use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::record::datom::edn;
use crate::target::datoms::{Description, Format, Location, Options, Written, create};

fn options() -> Options {
    Options { format: None, overwrite: false, dump_chunk_datoms: 100_000, dump_gzip: true }
}

/// Writes EDN lines through a target.
fn write(path: &Path, options: &Options, lines: &str) -> Result<Written> {
    let mut target = create(&Location::Path(path.to_owned()), options, &Description::default())?;
    for line in lines.lines() {
        target.put(&edn::parse_datom_line(line.as_bytes()).unwrap())?;
    }
    target.finish()
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

const TWO: &str = "[1 :a \"x\" 5 true]\n[1 :a \"x\" 6 false]\n";

#[test]
fn the_name_says_which_format() {
    let folder = tempfile::tempdir().unwrap();
    let json = "[1,\":a\",\"x\",5,true]\n[1,\":a\",\"x\",6,false]\n";
    for (name, expected) in [("x.edn", TWO), ("x", TWO), ("x.json", json), ("x.jsonl", json)] {
        let path = folder.path().join(name);
        let written = write(&path, &options(), TWO).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!((written.datoms, written.bytes), (2, expected.len() as u64));
    }
    let forced = Options { format: Some(Format::Json), ..options() };
    write(&folder.path().join("y.edn"), &forced, TWO).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("y.edn")).unwrap(), json);
    let path = folder.path().join("z.edn.gz");
    let written = write(&path, &options(), &TWO.repeat(50_000)).unwrap();
    assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, TWO.repeat(50_000));
}

#[test]
fn what_exists_is_replaced_only_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.edn");
    fs::write(&path, "old").unwrap();
    assert_eq!(write(&path, &options(), TWO).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    write(&path, &Options { overwrite: true, ..options() }, TWO).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), TWO);
}

#[test]
fn what_appears_meanwhile_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.edn");
    let target = create(&Location::Path(path.clone()), &options(), &Description::default()).unwrap();
    fs::write(&path, "new").unwrap();
    assert_eq!(target.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(names(folder.path()), ["x.edn"]);
}

#[test]
fn an_unfinished_target_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.edn");
    let mut target = create(&Location::Path(path), &options(), &Description::default()).unwrap();
    target.put(&edn::parse_datom_line(b"[1 :a 2 3 true]").unwrap()).unwrap();
    drop(target);
    assert!(names(folder.path()).is_empty());
}
