//! Databases that are relatives of Datahike, in the forms in which they are given away.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use packstone::source::datoms::{Format, Location, OnError, Options, Reading, View, open};
use packstone::{Error, ErrorKind};

use super::shared::shared;
use super::{fixture, lines};

fn read(path: &Path, options: &Options) -> Result<(Vec<String>, Reading), Error> {
    let mut found = Vec::new();
    let reading = open(&Location::Path(path.to_owned()), options)?.read(&mut |datom| {
        found.push(lines::line(datom));
        Ok(())
    })?;
    Ok((found, reading))
}

fn relative(name: &str) -> PathBuf {
    fixture("relatives").join(name)
}

/// The lines of a text, which may be gzipped; Datalevin's own answer names big integers in a way of its own.
fn truth(path: &Path) -> BTreeSet<String> {
    let mut text = String::new();
    let mut file = fs::File::open(path).unwrap();
    if path.extension().is_some_and(|ending| ending == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        file.read_to_string(&mut text).unwrap();
    }
    let big = |line: &str| match line.split_once("#biginteger \"") {
        Some((before, after)) => format!("{before}{}", after.replacen('"', "N", 1)),
        None => line.to_owned(),
    };
    text.lines().map(big).collect()
}

/// A form of a database gives these datoms, each once.
fn check(path: &Path, expected: &BTreeSet<String>, format: Format, view: View) -> Reading {
    let (found, reading) = read(path, &Options::default()).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!((reading.format, reading.view, reading.datoms), (format, view, found.len() as u64), "{path:?}");
    let set: BTreeSet<String> = found.iter().cloned().collect();
    let wrong: Vec<_> = set.symmetric_difference(expected).take(6).collect();
    assert!(wrong.is_empty(), "{path:?}: {wrong:#?}");
    assert_eq!(found.len(), set.len(), "{path:?}");
    let (forced, _) = read(path, &Options { format: Some(format), ..Options::default() }).unwrap();
    assert_eq!(forced, found);
    reading
}

/// A file with this text.
fn written(text: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_ref()).unwrap();
    file
}

fn lines_in(text: impl AsRef<[u8]>, options: &Options) -> Result<(Vec<String>, Reading), Error> {
    read(written(text).path(), options)
}

fn refused(text: &str, options: &Options, expected: &str) {
    match lines_in(text, options) {
        Ok((lines, _)) => panic!("{text} gives {lines:?}"),
        Err(error) => assert!(error.to_string().contains(expected), "{text}: {error}"),
    }
}

fn log() -> Options {
    Options { format: Some(Format::Log), ..Options::default() }
}

#[test]
fn a_serialized_datascript_database_is_its_datoms() {
    let reading = check(
        &relative("serializable.json.gz"),
        &truth(&relative("serializable.datoms.edn")),
        Format::Serializable,
        View::Current,
    );
    // The last transaction only retracted.
    assert_eq!(reading.properties["max-t"], "536870951");
    assert_eq!(reading.properties["max-eid"], "6000");
    assert!(reading.properties["schema"].contains("\"person/id\" {:db/unique"));
}

#[test]
fn markers_keywords_and_strings_of_a_serialized_database_are_told_apart() {
    let text = |eavt: &str| {
        format!(
            "{{\"count\":{},\"tx0\":536870912,\"max-eid\":3,\"max-tx\":536870913,\"schema\":\"nil\",\
             \"attrs\":[\":a/b\",\"plain\",\":c\"],\"keywords\":[\":k/x\",\"text\"],\"eavt\":[{eavt}],\"aevt\":[],\"avet\":[]}}",
            eavt.matches("],[").count() + 1
        )
    };
    let good = "[1,0,[0,0],1],[1,0,[0,1],1],[1,1,[1,\"#inst \\\"2024\\\"\"],1],[1,2,[2],1],[1,2,[3],1],[1,2,[4],1],\
                [2,0,\"[0 1]\",1],[2,0,1.5,2],[2,0,-7,2],[2,0,true,1],[3,0,[1,\"[1 nil \\\"x\\\"]\"],1],[3,0,[1,\"5N\"],1]";
    let (lines, reading) = lines_in(text(good), &Options::default()).unwrap();
    let expected = [
        "[1 :a/b :k/x 536870913 true]",
        "[1 :a/b \"text\" 536870913 true]",
        "[1 \"plain\" #inst \"2024-01-01T00:00:00.000-00:00\" 536870913 true]",
        "[1 :c ##Inf 536870913 true]",
        "[1 :c ##-Inf 536870913 true]",
        "[1 :c ##NaN 536870913 true]",
        "[2 :a/b \"[0 1]\" 536870913 true]",
        "[2 :a/b 1.5 536870914 true]",
        "[2 :a/b -7 536870914 true]",
        "[2 :a/b true 536870913 true]",
        "[3 :a/b [1 nil \"x\"] 536870913 true]",
        "[3 :a/b 5N 536870913 true]",
    ];
    assert_eq!(lines, expected);
    assert!(!reading.properties.contains_key("schema"));
    // Other writers put the keys in another order.
    let (head, rest) =
        text(good).split_once("\"attrs\"").map(|(a, b)| (a.to_owned(), format!("\"attrs\"{b}"))).unwrap();
    let (lists, datoms) = rest.split_once("\"eavt\"").unwrap();
    let datoms = datoms.trim_end_matches('}');
    let reordered = format!("{head}\"eavt\"{datoms},{}}}", lists.trim_end_matches(','));
    let (again, second) = lines_in(reordered, &Options::default()).unwrap();
    assert_eq!(again, expected);
    assert_eq!((second.datoms, second.properties), (reading.datoms, reading.properties));
    for (eavt, expected) in [
        ("[1,3,1,1]", "attribute 3, which is not in the list"),
        ("[1,0,[0,2],1]", "keyword 2, which is not in the list"),
        ("[1,0,[5],1]", "marker that is not known"),
        ("[1,0,null,1]", "no string, number"),
        ("[1,0,[1,\"{\"],1]", "no EDN"),
        ("[1,0,1]", "not a datom"),
        ("[1,0,1,9223372036854775807]", "beyond 64 bits"),
        ("[1,0,1,1", "not a datom"),
    ] {
        refused(&text(eavt), &Options::default(), expected);
    }
    refused(&text("[1,0,1,1]").replace("\"count\":1", "\"count\":2"), &Options::default(), "1 datoms, not 2");
    refused("{\"count\":0,\"eavt\":[]}", &Options::default(), "are missing");
    let collect = Options { on_error: OnError::Collect, ..Options::default() };
    let (lines, reading) = lines_in(text("[1,0,1,1],[1,9,1,1]"), &collect).unwrap();
    assert_eq!((lines.len(), reading.problems_count), (1, 1));
}

#[test]
fn a_printed_datascript_database_is_its_datoms() {
    let expected = truth(&relative("datascript-db.datoms.edn"));
    let reading = check(&relative("datascript-db.edn"), &expected, Format::DataScript, View::Current);
    assert!(reading.properties["schema"].starts_with("{:block/uuid {:db/unique :db.unique/identity}"));
    // The other order, datoms behind their tag, line breaks and comments.
    let text = "#datascript/DB {:datoms [#datascript/Datom [1 :a 2 5 true] ; one\n [1 :b [:x] 5]], :schema nil}\n";
    let (lines, _) = lines_in(text, &Options::default()).unwrap();
    assert_eq!(lines, ["[1 :a 2 5 true]", "[1 :b [:x] 5 true]"]);
    refused("#datascript/DB {:datoms [[1 :a 2 5]", &Options::default(), "cut short");
    refused("#datascript/DB {:datoms [[1 :a 2 5}", &Options::default(), "a closing bracket where a value");
    refused("#datascript/DB {:datoms [[1 :a]]}", &Options::default(), "not a datom");
    refused("#datascript/DB {:datoms 5}", &Options::default(), "no list");
}

#[test]
fn a_transaction_log_has_its_retractions() {
    let text = fs::read_to_string(relative("datascript-txlog.edn")).unwrap();
    let expected: BTreeSet<String> = text
        .lines()
        .filter_map(|line| Some(line.split_once(":data [[")?.1))
        .flat_map(|datoms| datoms.trim_end_matches("]]}").split("] ["))
        .map(|datom| format!("[{datom}]"))
        .collect();
    let reading = check(&relative("datascript-txlog.edn"), &expected, Format::Log, View::History);
    assert!(reading.retractions > 0);
}

#[test]
fn a_storage_is_its_index_with_its_tail() {
    let expected = truth(&relative("storage.datoms.edn"));
    let reading = check(&relative("storage"), &expected, Format::Storage, View::Current);
    assert_eq!(reading.properties["max-t"], "536870954");
    assert_eq!(reading.notes["transactions of the tail, replayed over the index"], 3);
    if cfg!(feature = "sqlite") {
        let reading = check(&relative("logseq.sqlite"), &expected, Format::Storage, View::Current);
        assert_eq!(reading.properties["max-t"], "536870954");
        assert!(reading.properties["schema"].contains(":block/refs"));
    }
}

#[test]
fn a_datalevin_dump_is_its_datoms() {
    let expected = truth(&relative("datalevin-datoms.edn"));
    let reading = check(&relative("datalevin-dump.edn"), &expected, Format::Datalevin, View::Current);
    assert!(reading.timeless);
    assert!(reading.properties["config"].contains(":closed-schema? false"));
    assert!(reading.properties["schema"].contains(":person/id {"));
    // Older dumps have no options.
    let text =
        "#:db{:ident {:db/aid 0}, :x {:db/valueType :db.type/float}}\n[1 :db/x 1.1]\n[1 :r #datalevin/regex \"a.\"]\n";
    let (lines, _) = lines_in(text, &Options::default()).unwrap();
    assert_eq!(lines, ["[1 :db/x #float \"1.1\" 1 true]", "[1 :r Regex([97, 46]) 1 true]"]);
    let secret = "{:db-name \"x\", :client-opts {:password \"hunter2\"}}\n{:db/ident {}}\n";
    let (_, reading) = lines_in(secret, &Options::default()).unwrap();
    assert!(!reading.properties["config"].contains("hunter2"), "{:?}", reading.properties);
    for (text, expected) in [
        ("{:opts 1}\n{:db/ident {}}\n[1 :a b c]", ":3 (byte 26): not a datom of Datalevin"),
        ("{:opts 1}\n[1 :a 2]", "no map of a schema"),
        ("{:opts 1}\n{:db/ident {}}\n[1 :a #datalevin/bytes \"*\"]", "Base64"),
        ("{:opts 1}\n{:db/ident {}}\n[1 :a #datalevin/bigint \"x\"]", "bigint"),
        ("{:opts 1}\n{:db/ident {}}\n[1 :a 2]\n[1 :a", "cut short"),
        ("{:opts 1}", "cut short"),
        ("{:dbi \"datalevin/eav\" :entries 5}\nAAAA", "raw keys and values"),
        ("NPY\0\x01", "dump it as text"),
        ("0123456789abcdef\u{de}", "no format"),
    ] {
        refused(text, &Options::default(), expected);
    }
    let lmdb = [&[0; 16][..], &[0xde, 0xc0, 0xef, 0xbe], &[0; 40]].concat();
    assert!(lines_in(lmdb, &Options::default()).unwrap_err().to_string().contains("dtlv"));
    let collect = Options { on_error: OnError::Collect, ..Options::default() };
    let (lines, reading) = lines_in("{:o 1}{:db/ident {}}[1 :a 2][1 :a b c][2 :a 2]", &collect).unwrap();
    assert_eq!((lines.len(), reading.problems_count), (2, 1));
    assert!(lines_in("{:o 1}{:db/ident {}}[1 :a 2][1 :a", &collect).is_err());
}

#[test]
fn transit_of_its_own_writers_is_understood() {
    let all: Vec<String> =
        fs::read_to_string(relative("datascript-db.datoms.edn")).unwrap().lines().map(str::to_owned).collect();
    let first: BTreeSet<String> = all[..200].iter().cloned().collect();
    let all: BTreeSet<String> = all.into_iter().collect();
    for name in ["transit-lines.json", "transit-verbose-lines.json"] {
        check(&relative(name), &first, Format::Transit, View::Unstated);
    }
    for name in ["transit-db.json", "transit-db-verbose.json"] {
        let reading = check(&relative(name), &all, Format::Transit, View::Current);
        assert!(reading.properties["schema"].starts_with("{:block/uuid {:db/unique :db.unique/identity}"));
    }
    let names = fs::read(relative("transit-wrap.json")).unwrap();
    let read = packstone::record::datom::transit::Reader::new().value(&names).unwrap();
    let packstone::record::datom::Value::Tuple(names) = read else { panic!("an array") };
    assert_eq!(names.len(), 2201);
    for (at, number) in (0..2100).chain(2000..2100).chain([0]).enumerate() {
        assert_eq!(names[at], packstone::record::datom::Value::Keyword(format!("name{number}").into()), "{at}");
    }
    // A cache belongs to one value: the next line begins anew.
    refused("[1,\"~:attr\",2,5]\n[1,\"^0\",2,5]\n", &Options::default(), "stands for nothing");
}

#[test]
fn transactions_come_as_edn_and_transit_and_in_lists() {
    let expected = ["[1 :name \"x\" 5 true]", "[1 :name \"x\" 6 false]"];
    for text in [
        "{:t 5, :data [[1 :name \"x\" 5 true]]}\n{:t 6, :data [[1 :name \"x\" 6 false]]}\n",
        "{:tx 5 :data ([1 :name \"x\"])} {:tx 6 :data [{:e 1 :a :name :v \"x\" :tx 6 :added false}]}",
        "[{:t 5, :data [#datom[1 :name \"x\" 5 true]]} {:t 6, :data (#datahike/Datom [1 :name \"x\" 6 false])}]",
        "{:start-t 5, :transactions [{:t 5 :data [[1 :name \"x\" 5]]} {:t 6 :data [[1 :name \"x\" 6 false]]}], :end-t 6}",
        "[\"^ \",\"~:t\",5,\"~:data\",[[1,\"~:name\",\"x\",5,true]]]\n[\"^ \",\"~:t\",6,\"~:data\",[\"~#list\",[[1,\"~:name\",\"x\",6,false]]]]",
        "{\"~:t\":5,\"~:data\":[[1,\"~:name\",\"x\",5]]}{\"~:t\":6,\"~:data\":{\"~#list\":[[1,\"~:name\",\"x\",6,false]]}}",
        "[[\"^ \",\"~:t\",5,\"~:data\",[[1,\"~:name\",\"x\",5]]],[\"^ \",\"~:t\",6,\"^0\",[[1,\"^1\",\"x\",6,false]]]]",
    ] {
        let (lines, reading) = lines_in(text, &Options::default()).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(lines, expected, "{text}");
        assert_eq!(reading.view, View::History, "{text}");
        if text.starts_with(['{', '[']) && text.contains("~:") {
            assert_eq!(lines_in(text, &log()).unwrap().0, expected, "{text}");
        }
    }
    for (text, expected) in [
        ("{:t 5 :data [[1 :a 2 5 true 6]]}", "not a datom"),
        ("{:t 5 :data [[1 :a nil 5]]}", "nil is not"),
        ("{:t 5 :data [5]}", "not a datom"),
        ("{:t 5 :data [[1 :a 2 5]] ", "cut short"),
        ("{:t 5 :data [[1 :a 2 5)]}", "a closing bracket where a value"),
        ("{:t 5 :data #x/y [[1 :a 2 5]]}", "#x/y"),
        ("{:t 5 :data {:e 1}}", "no list"),
        ("{:t 5} 5", "neither a datom"),
    ] {
        refused(text, &log(), expected);
    }
    let deep = format!("{}1", "[{:data ".repeat(5000));
    assert!(lines_in(deep, &log()).is_err());
    let collect = Options { on_error: OnError::Collect, ..log() };
    let (lines, reading) = lines_in("{:t 5 :data [[1 :a nil] [1 :a #inst \"x\"] [1 :a 2]]}", &collect).unwrap();
    assert_eq!((lines.len(), reading.problems_count), (1, 2));
    let (_, reading) = lines_in("{:t 5 :data [[1 :a 2]] :who \"me\"}", &log()).unwrap();
    assert_eq!(reading.notes["entries of maps around the datoms, not read"], 1);
}

/// Attributes 72 (a name) and 73 (a friend), then two people and a fact about the transaction.
const DATOMIC: &str = "\
{:t 1000 :data [[13194139534312 50 #inst \"2024-01-01\" 13194139534312 true] [72 10 :user/name 13194139534312 true]
 [72 40 23 13194139534312 true] [72 41 35 13194139534312 true] [73 10 :user/friend 13194139534312 true]
 [73 40 20 13194139534312 true] [73 41 36 13194139534312 true] [0 13 72 13194139534312 true]]}
{:t 1003 :data [[13194139534315 50 #inst \"2024-01-02\" 13194139534315 true] [17592186045417 72 \"Ada\" 13194139534315 true]
 [17592186045417 73 17592186045418 13194139534315 true] [17592186045418 72 \"Bob\" 13194139534315 true]]}
{:t 1006 :data [[13194139534318 50 #inst \"2024-01-03\" 13194139534318 true] [17592186045418 72 \"Bob\" 13194139534318 false]
 [13194139534318 999 17592186045417 13194139534318 true]]}
";

#[test]
fn attributes_of_a_datomic_log_get_their_names_and_ids_stay() {
    let (lines, reading) = lines_in(DATOMIC, &Options::default()).unwrap();
    for expected in [
        "[13194139534312 :db/txInstant #inst \"2024-01-01T00:00:00.000-00:00\" 13194139534312 true]",
        "[72 :db/ident :user/name 13194139534312 true]",
        "[72 :db/valueType 23 13194139534312 true]",
        "[17592186045417 :user/friend 17592186045418 13194139534315 true]",
        "[17592186045418 :user/name \"Bob\" 13194139534318 false]",
        "[13194139534318 999 17592186045417 13194139534318 true]",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
    }
    assert_eq!(lines.len(), 15);
    assert_eq!(reading.notes["attributes whose idents are not in the log, kept as their ids"], 1);
    // Ids of a database with attribute references, which are not Datomic's, stay as they are.
    let (lines, reading) =
        lines_in("{:tx 536870913 :data [[72 1 :user/name] [80 72 \"x\"]]}", &Options::default()).unwrap();
    assert_eq!(lines, ["[72 1 :user/name 536870913 true]", "[80 72 \"x\" 536870913 true]"]);
    assert!(reading.notes.is_empty());
    // A map in the stream says what they are, wherever it stands.
    let text = "{:transactions [{:t 5 :data [[80 72 \"x\" 5]]}], :id->attr {72 :user/name}, :refs #{}}";
    assert_eq!(lines_in(text, &Options::default()).unwrap().0, ["[80 :user/name \"x\" 5 true]"]);
}

#[test]
fn ids_of_datomic_become_ids_that_datahike_can_have() {
    let remap = Options { remap_ids: true, ..Options::default() };
    let (lines, reading) = lines_in(DATOMIC, &remap).unwrap();
    let tx = |t: i64| 536_870_912 + t;
    let id = |original: i64| -> i64 {
        let found: Vec<_> =
            lines.iter().filter(|line| line.contains(&format!(" :packstone/original-id {original} "))).collect();
        assert_eq!(found.len(), 1, "{original}: {lines:#?}");
        found[0][1..].split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(id(13_194_139_534_312), tx(1000));
    let (name, friend, ada, bob) = (id(72), id(73), id(17_592_186_045_417), id(17_592_186_045_418));
    // In the order in which they appear; the first is the attribute of the old ids itself.
    assert_eq!((name, friend), (2, 3));
    assert!(friend < ada && ada < bob && bob < 20);
    for expected in [
        format!("[1 :db/ident :packstone/original-id {} true]", tx(1000)),
        format!("[{} :db/txInstant #inst \"2024-01-02T00:00:00.000-00:00\" {} true]", tx(1003), tx(1003)),
        format!("[{name} :db/valueType :db.type/string {} true]", tx(1000)),
        format!("[{friend} :db/valueType :db.type/ref {} true]", tx(1000)),
        format!("[{friend} :db/cardinality :db.cardinality/many {} true]", tx(1000)),
        format!("[{} :db.install/attribute {name} {} true]", id(0), tx(1000)),
        format!("[{ada} :user/friend {bob} {} true]", tx(1003)),
        format!("[{bob} :user/name \"Bob\" {} false]", tx(1006)),
        // Nobody knows that this is a reference.
        format!("[{} {} 17592186045417 {} true]", tx(1006), id(999), tx(1006)),
    ] {
        assert!(lines.contains(&expected), "{expected}: {lines:#?}");
    }
    assert_eq!(reading.retractions, 1);
    assert_eq!(reading.properties["max-t"], tx(1006).to_string());
    // A longer log gives the same ids to what the shorter one had.
    let shorter = DATOMIC.split_inclusive("}\n").take(2).collect::<String>();
    let (before, _) = lines_in(shorter, &remap).unwrap();
    assert_eq!(before, lines[..before.len()]);
    refused("{:t 1 :data [[13197360759809 50 1 13197360759809 true]]}", &remap, "over what Datahike can have");
    let (lines, reading) = lines_in("{:tx 536870913 :data [[1 :a 2]]}", &remap).unwrap();
    assert_eq!(lines, ["[1 :a 2 536870913 true]"]);
    assert_eq!(reading.notes["streams whose ids are not Datomic's and stay as they are"], 1);
    refused("[1 :a 2 5]", &remap, "in the format `edn`");
}

#[test]
fn the_whole_fixtures_are_their_datoms() {
    let Some(shared) = shared() else { return };
    let logseq = truth(&shared.join("datascript/logseq-nbb-datoms.edn.gz"));
    check(&shared.join("datascript/logseq-nbb-db.edn.gz"), &logseq, Format::DataScript, View::Current);
    let datoms = truth(&shared.join("datascript/datoms.edn.gz"));
    check(&shared.join("datascript/serializable.json.gz"), &datoms, Format::Serializable, View::Current);
    let datoms = truth(&shared.join("datalevin/datoms.edn.gz"));
    check(&shared.join("datalevin/dump-datalog.edn.gz"), &datoms, Format::Datalevin, View::Current);
    let nippy = read(&shared.join("datalevin/dump-datalog.nippy"), &Options::default()).unwrap_err();
    // Datalevin freezes without Nippy's header: it can only be said that this is nothing known.
    assert!(nippy.kind() == ErrorKind::Data && nippy.message().contains("in no format that is known"), "{nippy}");
    // The log of the same database folds to its datoms.
    let (log, reading) = read(&shared.join("datascript/logseq-nbb-txlog.edn.gz"), &Options::default()).unwrap();
    assert_eq!(reading.view, View::History);
    let mut state = BTreeSet::new();
    for line in &log {
        let (fact, end) = line.rsplit_once(" 5368").unwrap();
        if end.ends_with("true]") {
            state.insert(fact.to_owned());
        } else {
            state.remove(fact);
        }
    }
    let facts: BTreeSet<String> = logseq.iter().map(|line| line.rsplit_once(" 5368").unwrap().0.to_owned()).collect();
    assert_eq!(state, facts);
}
