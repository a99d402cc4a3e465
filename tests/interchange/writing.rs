//! What is written is what the real programs write, byte for byte where the format fixes the bytes.

use std::fs;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use packstone::record::datom::cbor::{self, Dialect};
use packstone::source::datoms::{self as source, dump, flat_cbor};
use packstone::target::datoms::{self as target, Description, Location, Options};
use packstone::{ErrorKind, Result};

use super::{fixture, lines_of};

fn options(chunk_datoms: u64, gzip: bool) -> Options {
    Options { format: None, overwrite: false, dump_chunk_datoms: chunk_datoms, dump_gzip: gzip }
}

/// Reads a dump and writes its datoms back as one.
fn copy(from: &Path, to: &Path, options: &Options) -> Result<target::Written> {
    let mut source = dump::open(from, &source::Options::default()).unwrap();
    let reading = source.read(&mut |_| Ok(()))?;
    let history = reading.view == source::View::History;
    let description = Description { history, properties: reading.properties };
    let mut target = target::dump::create(&Location::Path(to.to_owned()), options, &description)?;
    source.read(&mut |datom| target.put(datom))?;
    target.finish()
}

fn plain(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if path.extension().unwrap() != "gz" {
        return bytes;
    }
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut MultiGzDecoder::new(bytes.as_slice()), &mut plain).unwrap();
    plain
}

/// The text of a key's value that has no brackets inside but one pair around.
fn entry<'t>(manifest: &'t str, key: &str, close: char) -> &'t str {
    let start = manifest.find(&format!("{key} ")).unwrap();
    let rest = &manifest[start..];
    &rest[..=rest.find(close).unwrap()]
}

#[test]
fn a_real_dump_written_back_is_the_same_dump() {
    let directory = tempfile::tempdir().unwrap();
    for (name, chunk, gzip) in [
        ("dump-b", 200, true),
        ("head-small-history/dump-history-gzip", 100_000, true),
        ("head-small-history/dump-history-none", 100_000, false),
    ] {
        let from = fixture(name);
        let to = directory.path().join(name.replace('/', "-"));
        copy(&from, &to, &options(chunk, gzip)).unwrap();
        let real = fs::read_to_string(from.join("manifest.edn")).unwrap();
        let ours = fs::read_to_string(to.join("manifest.edn")).unwrap();
        for (key, close) in [
            (":semantic-digest", '}'),
            (":stats", '}'),
            (":requires", ']'),
            (":source-config", '}'),
            (":history?", ','),
        ] {
            assert_eq!(entry(&ours, key, close), entry(&real, key, close), "{name}");
        }
        let mut chunks = 0;
        for file in fs::read_dir(&from).unwrap().map(|file| file.unwrap()) {
            if file.file_name() != "manifest.edn" {
                assert_eq!(plain(&to.join(file.file_name())), plain(&file.path()), "{name} {:?}", file.file_name());
                chunks += 1;
            }
        }
        assert_eq!(fs::read_dir(&to).unwrap().count(), chunks + 1, "{name}");
        let options = source::Options::default();
        let (again, _) = lines_of(&mut *dump::open(&to, &options).unwrap());
        assert_eq!(again, lines_of(&mut *dump::open(&from, &options).unwrap()).0);
    }
}

#[test]
fn every_record_of_a_real_dump_encodes_to_itself() {
    for file in ["datoms-000001.cbor.gz", "datoms-000002.cbor.gz", "datoms-000003.cbor.gz"] {
        check_records(&plain(&fixture("dump-b").join(file)), Dialect::Archival);
    }
    check_records(&plain(&fixture("head-small-history/dump-history-none/datoms-000001.cbor")), Dialect::Archival);
}

#[test]
fn every_item_of_a_real_flat_export_encodes_to_itself() {
    for name in ["a-small-history", "e-attribute-refs", "h-small-importable"] {
        check_records(&plain(&fixture(name).join("export-db.cbor")), Dialect::CljCbor);
    }
}

fn check_records(mut bytes: &[u8], dialect: Dialect) {
    while !bytes.is_empty() {
        let (datom, len) = cbor::decode_datom(dialect, bytes).unwrap();
        let mut again = Vec::new();
        cbor::encode_datom(dialect, &datom, &mut again).unwrap();
        assert_eq!(again, &bytes[..len], "{datom:?}");
        bytes = &bytes[len..];
    }
}

#[test]
fn a_corrected_flat_export_written_back_is_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a-small-history", "e-attribute-refs"] {
        let from = fixture(name).join("export-db.cbor");
        let to = directory.path().join(name);
        let location = Location::Path(to.clone());
        let mut target = target::flat_cbor::create(&location, &options(1, false), &Description::default()).unwrap();
        let mut source = flat_cbor::open_path(&from, &source::Options::default()).unwrap();
        source.read(&mut |datom| target.put(datom)).unwrap();
        assert!(!to.exists());
        target.finish().unwrap();
        assert_eq!(fs::read(&to).unwrap(), fs::read(&from).unwrap());
        let again = target::flat_cbor::create(&location, &options(1, false), &Description::default());
        assert_eq!(again.err().unwrap().kind(), ErrorKind::AlreadyExists);
    }
}

#[test]
fn attribute_references_become_keywords_in_a_dump() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("dump");
    let mut source =
        flat_cbor::open_path(&fixture("e-attribute-refs/export-db.cbor"), &source::Options::default()).unwrap();
    let reading = source.read(&mut |_| Ok(())).unwrap();
    let description = Description { history: true, properties: reading.properties };
    let mut target = target::dump::create(&Location::Path(to.clone()), &options(500, true), &description).unwrap();
    source.read(&mut |datom| target.put(datom)).unwrap();
    assert_eq!(target.finish().unwrap().datoms, 1134);
    let (_, reading) = lines_of(&mut *dump::open(&to, &source::Options::default()).unwrap());
    assert!(reading.properties["schema"].contains(":t/double #:db{:ident :t/double, :valueType :db.type/double"));
    assert!(reading.properties["source-config"].contains(":attribute-refs? true"));
}

#[test]
fn an_unfinished_dump_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for to in [empty.clone(), directory.path().join("new")] {
        let mut target =
            target::dump::create(&Location::Path(to), &options(10, false), &Description::default()).unwrap();
        let mut source = dump::open(&fixture("dump-b"), &source::Options::default()).unwrap();
        source.read(&mut |datom| target.put(datom)).unwrap();
        drop(target);
    }
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn only_a_dump_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("dump");
    let overwriting = Options { overwrite: true, ..options(100, false) };
    copy(&fixture("dump-b"), &to, &options(100, false)).unwrap();
    assert_eq!(copy(&fixture("dump-b"), &to, &options(100, false)).unwrap_err().kind(), ErrorKind::AlreadyExists);
    copy(&fixture("dump-b"), &to, &overwriting).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    fs::remove_file(to.join("manifest.edn")).unwrap();
    assert_eq!(copy(&fixture("dump-b"), &to, &overwriting).unwrap_err().kind(), ErrorKind::AlreadyExists);
}
