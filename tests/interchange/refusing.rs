//! Bad input is refused with an error that names what is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use packstone::source::datoms::{DatomSource, OnError, Options, datacamp, dump, flat_cbor};
use packstone::{Error, ErrorKind, Result};

use super::fixture;

fn read_all(source: Result<Box<dyn DatomSource>>) -> Result<u64> {
    source.and_then(|mut source| source.read(&mut |_| Ok(()))).map(|reading| reading.datoms)
}

/// The error of a dump whose manifest or files `change` has changed.
fn dump_error(change: impl FnOnce(&Path, &mut String)) -> Error {
    let directory = tempfile::tempdir().unwrap();
    let copy = copy_of(&fixture("dump-b"), directory.path());
    let mut manifest = fs::read_to_string(copy.join("manifest.edn")).unwrap();
    change(&copy, &mut manifest);
    fs::write(copy.join("manifest.edn"), manifest).unwrap();
    read_all(dump::open(&copy, &Options::default())).unwrap_err()
}

fn copy_of(from: &Path, to: &Path) -> PathBuf {
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_of(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    to.to_owned()
}

fn check(error: Error, kind: ErrorKind, part: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn a_manifest_that_is_not_right_is_refused() {
    let replaced = |from: &str, to: &str| {
        dump_error(|_, manifest| {
            assert!(manifest.contains(from));
            *manifest = manifest.replacen(from, to, 1);
        })
    };
    check(replaced("datoms-000002.cbor.gz", "../datoms-000002.cbor.gz"), ErrorKind::Data, "climbs out");
    check(replaced("datoms-000002.cbor.gz", "/etc/passwd"), ErrorKind::Data, "climbs out");
    check(replaced("datoms-000002.cbor.gz", ".."), ErrorKind::Data, "climbs out");
    check(replaced("datoms-000002.cbor.gz", "datoms-000001.cbor.gz"), ErrorKind::Data, "listed twice");
    check(replaced(":db.type/string]", ":db.type/hologram]"), ErrorKind::Foreign, ":db.type/hologram");
    check(replaced(":requires [", ":requires [:datahike.migrate/warp "), ErrorKind::Foreign, ":datahike.migrate/warp");
    check(replaced("format-version 1", "format-version 2"), ErrorKind::Foreign, "newer");
    check(replaced(":source-datom-count 529", ":source-datom-count 600"), ErrorKind::Data, "529 of the 600");
    check(replaced(":store-refs nil", ":store-refs nil, :store-refs nil"), ErrorKind::Data, "occurs twice");
    check(replaced(":p/n #:db{", ":p/n #:db{:ident 1, "), ErrorKind::Data, "occurs twice");
    check(replaced("6240bbb59575092e", "6240bbb59575092f"), ErrorKind::Damaged, "semantic digest");
    check(replaced("75252ae4", "75252ae5"), ErrorKind::Damaged, "datoms-000001.cbor.gz");
    check(replaced(":raw-bytes 4507", ":raw-bytes 4508"), ErrorKind::Damaged, "4507 bytes, not 4508");
    check(replaced("{:source-config", &"[".repeat(10_000)), ErrorKind::Data, "not a map");
    check(replaced(":schema {", &format!(":schema {}", "[".repeat(10_000))), ErrorKind::Data, "nested too deep");
}

#[test]
fn chunks_that_are_not_right_are_named() {
    let chunk = "datoms-000002.cbor.gz";
    check(dump_error(|path, _| fs::remove_file(path.join(chunk)).unwrap()), ErrorKind::Damaged, "chunk is missing");
    let extra = "datoms-000004.cbor.gz";
    check(dump_error(|path, _| fs::write(path.join(extra), b"").unwrap()), ErrorKind::Data, extra);
    let flip = |at: usize| {
        dump_error(|path, _| {
            let mut bytes = fs::read(path.join(chunk)).unwrap();
            bytes[at] ^= 1;
            fs::write(path.join(chunk), bytes).unwrap();
        })
    };
    for at in [0, 20, 100, 500, 960, 970] {
        let error = flip(at);
        assert_eq!(error.kind(), ErrorKind::Damaged, "{at} {error}");
        assert!(error.to_string().contains(chunk), "{error}");
    }
}

#[test]
fn a_flat_export_cut_at_any_byte_is_an_error_or_whole_items() {
    let bytes = fs::read(fixture("a-small-history/export-db.cbor")).unwrap();
    let bytes = &bytes[..600];
    let (mut whole, mut cut) = (0, 0);
    for len in 1..bytes.len() {
        let reader = Box::new(std::io::Cursor::new(bytes[..len].to_vec()));
        match read_all(flat_cbor::open(reader, "input".to_owned(), &Options::default())) {
            Ok(_) => whole += 1,
            Err(error) => {
                check(error, ErrorKind::Damaged, "cut off inside item ");
                cut += 1;
            }
        }
    }
    assert!(whole > 5 && cut > 500, "{whole} {cut}");
}

#[test]
fn what_is_no_datom_is_refused_or_listed() {
    let good = b"\x85\x01\xd8\x27\x63:ab\x01\x02\xf5";
    let mut mixed = good.to_vec();
    mixed.extend_from_slice(b"\x85\x01\xd8\x27\x63:ab\xd8\x25\x41\x01\x02\xf5");
    mixed.extend_from_slice(good);
    let open = |bytes: &[u8], on_error| {
        let options = Options { on_error, ..Options::default() };
        flat_cbor::open(Box::new(std::io::Cursor::new(bytes.to_vec())), "input".to_owned(), &options)
    };
    check(
        read_all(open(b"\xa1\x01\x02", OnError::Abort)).unwrap_err(),
        ErrorKind::Data,
        "not a CBOR sequence of datoms",
    );
    check(read_all(open(&mixed, OnError::Abort)).unwrap_err(), ErrorKind::Data, "item 2 at byte 11: invalid UUID");
    let reading = open(&mixed, OnError::Collect).unwrap().read(&mut |_| Ok(())).unwrap();
    assert_eq!((reading.datoms, reading.problems_count), (2, 1));
    assert_eq!(reading.problems[0].0, "item 2 at byte 11");
}

#[test]
fn a_corrupted_datacamp_chunk_is_named() {
    let error = read_all(datacamp::open(&fixture("datacamp/corrupted"), &Options::default())).unwrap_err();
    check(error, ErrorKind::Damaged, "chunks/datoms-1.fressian.gz");
}

#[test]
fn a_datacamp_backup_that_is_not_whole_is_refused_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let copy = copy_of(&fixture("datacamp/a-small-history/fressian"), directory.path());
    fs::remove_file(copy.join("complete.marker")).unwrap();
    check(read_all(datacamp::open(&copy, &Options::default())).unwrap_err(), ErrorKind::Data, "complete.marker");
    let incomplete = Options { allow_incomplete: true, ..Options::default() };
    assert_eq!(read_all(datacamp::open(&copy, &incomplete)).unwrap(), 1051);
    fs::remove_file(copy.join("chunks/datoms-0.fressian.gz")).unwrap();
    let reading = datacamp::open(&copy, &incomplete).unwrap().read(&mut |_| Ok(())).unwrap();
    assert!(reading.notes.iter().any(|(note, count)| note.contains("missing chunk") && *count == 1051));
}

#[test]
fn keys_of_an_object_store_find_the_local_files() {
    let directory = tempfile::tempdir().unwrap();
    let copy = copy_of(&fixture("datacamp/a-small-history/fressian"), directory.path());
    let manifest = fs::read_to_string(copy.join("manifest.edn")).unwrap();
    let change = |from: &str, to: &str| {
        assert!(manifest.contains(from));
        fs::write(copy.join("manifest.edn"), manifest.replace(from, to)).unwrap();
        read_all(datacamp::open(&copy, &Options::default()))
    };
    assert_eq!(change("\"chunks/", "\"datahike-backups/db/20240101/chunks/").unwrap(), 1051);
    check(change("\"chunks/", "\"../").unwrap_err(), ErrorKind::Data, "s3-key");
}

#[test]
fn a_datacamp_chunk_that_was_never_compressed_is_read_under_its_name() {
    use sha2::{Digest as _, Sha256};
    let directory = tempfile::tempdir().unwrap();
    let copy = copy_of(&fixture("datacamp/a-small-history/fressian"), directory.path());
    let chunk = copy.join("chunks/datoms-0.fressian.gz");
    let stored = fs::read(&chunk).unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(stored.as_slice()), &mut plain).unwrap();
    let hash = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let manifest = fs::read_to_string(copy.join("manifest.edn")).unwrap();
    assert!(manifest.contains(&hash(&stored)));
    fs::write(copy.join("manifest.edn"), manifest.replace(&hash(&stored), &hash(&plain))).unwrap();
    fs::write(&chunk, &plain).unwrap();
    assert_eq!(read_all(datacamp::open(&copy, &Options::default())).unwrap(), 1051);
    fs::write(&chunk, &plain[..plain.len() / 2]).unwrap();
    assert_eq!(read_all(datacamp::open(&copy, &Options::default())).unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn the_oldest_exports_are_lines_of_datoms() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("export");
    fs::write(
        &path,
        "#datahike/Datom [1 :a \"x\" 536870913 true]\n#datahike/Datom [2 :a #uuid \"x\" 536870913 true]\n",
    )
    .unwrap();
    let open = |on_error| {
        let options = Options { on_error, ..Options::default() };
        packstone::source::datoms::open(&packstone::source::datoms::Location::Path(path.clone()), &options)
    };
    check(read_all(open(OnError::Abort)).unwrap_err(), ErrorKind::Data, "not a UUID");
    let reading = open(OnError::Collect).unwrap().read(&mut |_| Ok(())).unwrap();
    assert_eq!(
        (reading.datoms, reading.problems_count, reading.format),
        (1, 1, packstone::source::datoms::Format::Edn)
    );
}
