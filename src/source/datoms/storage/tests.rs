//! Storages that are not whole, and what the tail does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::record::datom::edn;
use crate::source::datoms::{Location, OnError, Options, Reading, View, open};

fn read(path: &Path, on_error: OnError) -> Result<(Vec<String>, Reading), Error> {
    let mut lines = Vec::new();
    let options = Options { on_error, ..Options::default() };
    let reading = open(&Location::Path(path.to_owned()), &options)?.read(&mut |datom| {
        let mut line = Vec::new();
        edn::print_datom(datom, &mut line);
        lines.push(String::from_utf8(line).unwrap());
        Ok(())
    })?;
    lines.sort();
    Ok((lines, reading))
}

/// A storage with these contents; the root's index is at address 2.
fn storage(contents: &[(i64, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = "{:schema nil, :max-eid 9, :max-tx 536870913, :eavt 2, :aevt 3, :avet 4, :max-addr 9}";
    for (address, text) in [(0, root)].iter().chain(contents) {
        fs::write(folder.path().join(format!("{address:08x}")), text).unwrap();
    }
    folder
}

const LEAF: &str = "{:level 0, :keys [[1 :a \"x\" 536870913] [1 :b 2 536870913]]}";

#[test]
fn the_tail_has_the_last_word() {
    for (tail, expected) in [
        ("[]", vec!["[1 :a \"x\" 536870913 true]", "[1 :b 2 536870913 true]"]),
        ("[[[1 :a \"x\" -536870914]]]", vec!["[1 :b 2 536870913 true]"]),
        (
            "[[[1 :a \"x\" -536870914] [1 :a \"y\" 536870914]] [[1 :a \"y\" -536870915] [1 :a \"x\" 536870915]]]",
            vec!["[1 :a \"x\" 536870915 true]", "[1 :b 2 536870913 true]"],
        ),
        // Equal as numbers, but not the same value.
        ("[[[1 :b 2.0 -536870914]]]", vec!["[1 :a \"x\" 536870913 true]", "[1 :b 2 536870913 true]"]),
    ] {
        let folder = storage(&[(1, tail), (2, LEAF)]);
        let (lines, reading) = read(folder.path(), OnError::Abort).unwrap();
        assert_eq!(lines, expected, "{tail}");
        assert_eq!(reading.view, View::Current);
        assert!(!reading.properties.contains_key("schema"));
    }
    let folder = storage(&[(1, "[[[1 :a \"x\" -536870920]]]"), (2, LEAF)]);
    assert_eq!(read(folder.path(), OnError::Abort).unwrap().1.properties["max-t"], "536870920");
    // Without a tail, and with an index that is empty.
    let folder = storage(&[(2, LEAF)]);
    assert_eq!(read(folder.path(), OnError::Abort).unwrap().0.len(), 2);
    fs::write(folder.path().join("00000000"), "{:eavt nil}").unwrap();
    assert_eq!(read(folder.path(), OnError::Abort).unwrap().0.len(), 0);
}

#[test]
fn what_is_not_whole_is_named() {
    let branch = "{:level 1, :keys [[1 :a 1 5] [2 :a 1 5]], :addresses [5 6]}";
    for (contents, expected) in [
        (vec![(1, "[]")], "00000002: the node is missing"),
        (vec![(2, branch), (5, LEAF)], "00000006: the node is missing"),
        (vec![(2, "{:level 1, :keys [[1 :a 1 5]], :addresses [2]}")], "00000002: two nodes name this one"),
        (vec![(2, "{:level 1, :keys [[1 :a 1 5]], :addresses [5 6]}")], "2 addresses for 1 keys"),
        (vec![(2, "{:level 0}")], "without keys"),
        (vec![(2, "")], "not EDN"),
        (vec![(2, "{:level 0, :keys [[1 :a")], "not EDN"),
        (vec![(2, LEAF), (1, "{}")], "00000001: no tail"),
        (vec![(2, LEAF), (1, "[[[1 :a]]]")], "00000001: not a datom"),
        (vec![(2, "{:level 0, :keys [[1 :a 1]]}")], "not a datom"),
        (vec![(0, "[]")], "00000000: no root"),
        (vec![(0, "{:schema {}}")], "no :eavt"),
    ] {
        let folder = storage(&contents);
        let error = read(folder.path(), OnError::Abort).unwrap_err();
        assert!(error.to_string().contains(expected), "{contents:?}: {error}");
    }
    let deep: Vec<String> = (3..60).map(|n| format!("{{:level 1, :keys [[1 :a 1 5]], :addresses [{n}]}}")).collect();
    let contents: Vec<_> = (2_i64..).zip(deep.iter().map(String::as_str)).collect();
    assert!(read(storage(&contents).path(), OnError::Abort).unwrap_err().to_string().contains("too deep"));
    let folder = storage(&[(2, "{:level 0, :keys [[1 :a nil 5] [1 :a 1 5]]}")]);
    let (lines, reading) = read(folder.path(), OnError::Collect).unwrap();
    assert_eq!((lines.len(), reading.problems_count), (1, 1));
}

#[test]
fn a_folder_that_changes_while_it_is_read_is_refused() {
    let folder = storage(&[(1, "[]"), (2, LEAF)]);
    let mut source = open(&Location::Path(folder.path().to_owned()), &Options::default()).unwrap();
    let tail = folder.path().join("00000001");
    let error = source.read(&mut |_| fs::write(&tail, "[[]]").map_err(|e| Error::io("tail", e))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("while it was read"), "{error}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_in_use_is_read_with_its_write_ahead_log_and_as_of_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite");
    let writer = rusqlite::Connection::open(&path).unwrap();
    let mode: String = writer.query_row("PRAGMA journal_mode = wal", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    writer
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0; CREATE TABLE kvs (addr INTEGER PRIMARY KEY, content TEXT, addresses JSON)",
        )
        .unwrap();
    let put = |address: i64, content: &str, addresses: Option<&str>| {
        let values = rusqlite::params![address, content, addresses];
        writer.execute("INSERT OR REPLACE INTO kvs VALUES (?1, ?2, ?3)", values).unwrap();
    };
    put(0, "[\"^ \",\"~:eavt\",7,\"~:max-tx\",5]", None);
    put(7, "[\"^ \",\"~:level\",1,\"~:keys\",[[1,\"~:attr\",1,5],[2,\"^2\",2,5]]]", Some("[8,9]"));
    put(8, "[\"^ \",\"~:level\",0,\"~:keys\",[[1,\"~:attr\",1,5]]]", None);
    put(9, "[\"^ \",\"~:level\",0,\"~:keys\",[[2,\"~:attr\",2,5]]]", Some("null"));
    put(1, "[]", None);
    // All of it is in the log; the file itself is as good as empty.
    let mut source = open(&Location::Path(path.clone()), &Options::default()).unwrap();
    let mut count = 0;
    source
        .read(&mut |_| {
            count += 1;
            put(9, "[\"^ \",\"~:keys\",[]]", None);
            put(1, "[[[3,\"~:attr\",3,6]]]", None);
            Ok(())
        })
        .unwrap();
    assert_eq!(count, 2);
    let (lines, _) = read(&path, OnError::Abort).unwrap();
    assert_eq!(lines, ["[1 :attr 1 5 true]", "[3 :attr 3 6 true]"]);
    put(9, "x", None);
    let error = read(&path, OnError::Abort).unwrap_err().to_string();
    assert!(error.contains("address 9: not Transit"), "{error}");
    put(7, "[\"^ \",\"~:keys\",[[1,\"~:attr\",1,5]]]", Some("[\"x\"]"));
    assert!(read(&path, OnError::Abort).unwrap_err().to_string().contains("no list of integers"));
}

#[cfg(feature = "sqlite")]
#[test]
fn other_databases_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE users (id, name)").unwrap();
    let error = read(&path, OnError::Abort).unwrap_err();
    assert!(error.to_string().contains("without a table of DataScript's nodes"), "{error}");
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(600);
    fs::write(&path, bytes).unwrap();
    assert!(read(&path, OnError::Abort).is_err());
}
