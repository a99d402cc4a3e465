//! What is read equals the database's own answer.

use std::collections::BTreeMap;
use std::fs;

use packstone::source::datoms::{Options, View, datacamp, dump, flat_cbor};

use super::{fixture, lines_of};

/// The fixture's lines, sorted, changed by `change`, and without those it says nothing for.
fn truth(name: &str, change: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let text = fs::read_to_string(fixture(name)).unwrap();
    let mut lines: Vec<String> = text.lines().filter_map(change).collect();
    lines.sort();
    lines
}

fn check(mut found: Vec<String>, expected: &[String]) {
    found.sort();
    let difference: Vec<_> = found.iter().filter(|line| expected.binary_search(line).is_err()).take(5).collect();
    assert!(difference.is_empty(), "not in the truth: {difference:#?}");
    assert_eq!(found.len(), expected.len());
    assert_eq!(found, expected);
}

/// What flat exports lose for good: the sign of zero.
fn without_zero_sign(line: &str) -> String {
    line.replace(" -0.0 ", " 0.0 ").replace("#float \"-0.0\"", "#float \"0.0\"")
}

#[test]
fn a_flat_export_has_the_types_of_the_history() {
    for name in ["a-small-history", "h-small-importable"] {
        let path = fixture(name).join("export-db.cbor");
        let expected = truth(&format!("{name}/datoms-history.edn"), |line| Some(without_zero_sign(line)));
        let (lines, reading) = lines_of(&mut *flat_cbor::open_path(&path, &Options::default()).unwrap());
        check(lines, &expected);
        assert_eq!(reading.view, View::History);
        let stream = Box::new(fs::File::open(&path).unwrap());
        let (lines, _) = lines_of(&mut *flat_cbor::open(stream, "-".to_owned(), &Options::default()).unwrap());
        check(lines, &expected);
    }
}

#[test]
fn a_flat_export_with_attribute_references_has_all_but_the_system_datoms() {
    let path = fixture("e-attribute-refs/export-db.cbor");
    let (lines, _) = lines_of(&mut *flat_cbor::open_path(&path, &Options::default()).unwrap());
    let expected = truth("e-attribute-refs/datoms-history.edn", |line| {
        (!line.ends_with(" 536870912 true]")).then(|| without_zero_sign(line))
    });
    check(lines, &expected);
}

#[test]
fn corrections_are_counted() {
    let path = fixture("a-small-history/export-db.cbor");
    let (_, reading) = lines_of(&mut *flat_cbor::open_path(&path, &Options::default()).unwrap());
    let counted = |note: &str| reading.notes.get(note).copied().unwrap_or_default();
    assert!(counted("half floats read as doubles, by schema") > 0, "{:?}", reading.notes);
    assert!(counted("integers read as big integers, by schema") > 0);
    assert!(counted("zeros whose sign the format does not keep") > 0);
    assert_eq!(counted("half floats read as doubles, without a schema that says so"), 0);
}

#[test]
fn a_dump_is_the_history_exactly() {
    for name in ["dump-history-gzip", "dump-history-none"] {
        let path = fixture("head-small-history").join(name);
        let (lines, reading) = lines_of(&mut *dump::open(&path, &Options::default()).unwrap());
        check(lines, &truth("head-small-history/datoms-history.edn", |line| Some(line.to_owned())));
        assert_eq!((reading.view, reading.datoms, reading.notes), (View::History, 1255, BTreeMap::new()));
        assert_eq!(reading.properties["max-t"], "536870922");
        assert!(reading.properties["schema"].starts_with("{:t/nohist #:db{"));
    }
}

#[test]
fn a_datacamp_backup_is_the_current_state() {
    for name in ["fressian", "cbor"] {
        let path = fixture("datacamp/a-small-history").join(name);
        let (lines, reading) = lines_of(&mut *datacamp::open(&path, &Options::default()).unwrap());
        // Fressian keeps the sign of a float's zero, clj-cbor of none.
        let expected = truth("a-small-history/datoms-current.edn", |line| {
            Some(if name == "cbor" { without_zero_sign(line) } else { line.replace(" -0.0 ", " 0.0 ") })
        });
        check(lines, &expected);
        assert_eq!(reading.view, View::Current);
    }
}
