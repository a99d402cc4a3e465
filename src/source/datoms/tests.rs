//! Text sources from files and directories.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::record::datom::edn;
use crate::source::datoms::{Format, Location, OnError, Options, Reading, View, open};

/// The datoms of a path as EDN lines, and what the source tells.
fn read(path: &Path, options: &Options) -> Result<(String, Reading), Error> {
    let mut text = Vec::new();
    let reading = open(&Location::Path(path.to_owned()), options)?.read(&mut |datom| {
        edn::print_datom(datom, &mut text);
        text.push(b'\n');
        Ok(())
    })?;
    Ok((String::from_utf8(text).unwrap(), reading))
}

fn refused(path: &Path, options: &Options) -> Error {
    read(path, options).map(|(text, _)| text).expect_err("this cannot be read")
}

fn collect() -> Options {
    Options { on_error: OnError::Collect, ..Options::default() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const THREE: &str = "[1 :a 2 5 true]\n[1 :a 2 6 false]\n[7 :a 3 6 true]\n";

#[test]
fn plain_and_compressed_files_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (first, rest) = THREE.split_at(20);
    let two_members = [gzip(first.as_bytes()), gzip(rest.as_bytes())].concat();
    let json = "[1,\":a\",2,5,true]\n\n{\"e\":1,\"a\":\":a\",\"v\":2,\"t\":6,\"added\":false}\r\n[7,\":a\",3,6]";
    for (bytes, format) in [
        (THREE.as_bytes().to_vec(), Format::Edn),
        (format!("\u{feff}; comment\n\n{}", THREE.trim_end()).into_bytes(), Format::Edn),
        (THREE.replace('\n', "\r\n").into_bytes(), Format::Edn),
        (gzip(THREE.as_bytes()), Format::Edn),
        (two_members, Format::Edn),
        (zstd::encode_all(THREE.as_bytes(), 1).unwrap(), Format::Edn),
        (json.as_bytes().to_vec(), Format::Json),
    ] {
        let path = folder.path().join("datoms");
        fs::write(&path, &bytes).unwrap();
        let (text, reading) = read(&path, &Options::default()).unwrap();
        assert_eq!(text, THREE);
        assert_eq!((reading.format, reading.view, reading.datoms, reading.retractions), (format, View::History, 3, 1));
        assert_eq!(reading.bytes, bytes.len() as u64);
        assert_eq!(reading.properties["max-t"], "6");
        assert_eq!(reading.properties["max-eid"], "7");
    }
}

#[test]
fn a_real_history_is_read_and_summed_up() {
    let path = Path::new("tests/fixtures/a-small-history/datoms-history.edn");
    let (text, reading) = read(path, &Options::default()).unwrap();
    assert_eq!(text, fs::read_to_string(path).unwrap());
    assert_eq!((reading.datoms, reading.view), (1257, View::History));
    assert_eq!(reading.properties["max-t"], "536870922");
    assert_eq!(reading.properties["max-eid"], "72");
    let (_, reading) = read(&path.with_file_name("datoms-current.edn"), &Options::default()).unwrap();
    assert_eq!((reading.datoms, reading.view), (1051, View::Unstated));
}

#[test]
fn a_bad_line_stops_or_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.edn");
    fs::write(&path, "[1 :a 2 5]\n[1 :a #inst \"x\" 5]\n\n[1 :a 2]\n[2 :a 2 5]\n").unwrap();
    let error = refused(&path, &Options::default());
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.object(), format!("{}:2:13", path.display()));
    let (text, reading) = read(&path, &collect()).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(reading.problems_count, 2);
    assert_eq!(reading.problems[0].0, format!("{}:2", path.display()));
    assert!(reading.problems[0].1.starts_with("column 13: not an instant"), "{:?}", reading.problems);
    assert_eq!(reading.problems[1].0, format!("{}:4", path.display()));
}

#[test]
fn an_error_of_the_sink_is_handed_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.edn");
    fs::write(&path, THREE).unwrap();
    let mut source = open(&Location::Path(path), &collect()).unwrap();
    let error = source.read(&mut |_| Err(Error::new(ErrorKind::NoSpace, "disk", "full"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
}

#[test]
fn truncated_compression_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.edn.gz");
    let text = THREE.repeat(10_000);
    for bytes in [gzip(text.as_bytes()), zstd::encode_all(text.as_bytes(), 1).unwrap()] {
        for cut in [5, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).unwrap();
            let error = refused(&path, &collect());
            assert_eq!(error.kind(), ErrorKind::Data, "{error}");
            assert!(error.message().contains("cut short"), "{error}");
        }
    }
    let mut damaged = gzip(text.as_bytes());
    let last = damaged.len() - 1;
    damaged[last - 5] ^= 0x55;
    fs::write(&path, &damaged).unwrap();
    assert_eq!(refused(&path, &collect()).kind(), ErrorKind::Data);
}

#[test]
fn long_lines_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.edn");
    let long = format!("[1 :a \"{}\" 5 true]\n", "x".repeat(5 << 20));
    fs::write(&path, format!("{THREE}{long}{THREE}{long}")).unwrap();
    let (text, reading) = read(&path, &Options::default()).unwrap();
    assert_eq!(reading.datoms, 8);
    assert_eq!(text, format!("{THREE}{long}{THREE}{long}"));
}

#[test]
fn a_directory_of_exports_is_read_in_the_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.jsonl"), "[2,\":a\",1,6]\n").unwrap();
    fs::write(folder.path().join("a.json"), "[1,\":a\",1,5]\n").unwrap();
    fs::write(folder.path().join("c.edn.gz"), gzip(b"[3 :a 1 7]\n")).unwrap();
    fs::write(folder.path().join("README"), "hello").unwrap();
    let (text, reading) = read(folder.path(), &Options::default()).unwrap();
    assert_eq!(text, "[1 :a 1 5 true]\n[2 :a 1 6 true]\n[3 :a 1 7 true]\n");
    assert_eq!((reading.format, reading.datoms), (Format::Json, 3));
    assert_eq!(reading.notes.values().sum::<u64>(), 1);
    fs::write(folder.path().join("d.json"), "hello").unwrap();
    assert!(refused(folder.path(), &Options::default()).object().ends_with("d.json"));
}

#[test]
fn other_things_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, file: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
        fs::write(path.join(file), text).unwrap();
        path
    };
    for (path, expected) in [
        (make("store", "0a.ksv", ""), "Datahike file store"),
        (make("lmdb", "data.mdb", ""), "LMDB"),
        (make("empty", "x.bin", ""), "without datoms"),
        (make("manifest", "manifest.edn", "{:a 1}"), "neither the manifest"),
        (make("broken", "manifest.edn", "{:a "), "not a manifest"),
        (make("one", "x.edn", "SQLite format 3\0"), "SQLite"),
    ] {
        let error = refused(&path, &Options::default());
        assert!(error.to_string().contains(expected), "{error}");
    }
    make("camp/20240101-000000-abcdef", "chunks/datoms-0.fressian.gz", "");
    let camp = make("camp/20240101-000000-abcdef", "manifest.edn", "#:backup{:id \"x\"}");
    let error = refused(camp.parent().unwrap(), &Options::default());
    assert!(error.to_string().contains("1 datacamp backups, of which one has to be named"), "{error}");
    assert!(error.to_string().contains("20240101-000000-abcdef"), "{error}");
    let error = refused(&folder.path().join("nowhere"), &Options::default());
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn values_printed_as_objects_are_kept_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.edn");
    let line = "[19 :p/bytes #object[\"[B\" 0x7e1b1315 \"[B@7e1b1315\"] 536870914 true]\n";
    fs::write(&path, line).unwrap();
    let (text, reading) = read(&path, &Options::default()).unwrap();
    assert_eq!(text, line);
    assert_eq!(reading.problems_count, 1);
    assert!(
        reading.problems[0].0.contains("entity 19") && reading.problems[0].1.contains("#object"),
        "{:?}",
        reading.problems
    );
}
