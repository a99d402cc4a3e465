//! Real stores: source, repository, EDN; compared with the database's own answer.

use std::collections::BTreeSet;
use std::path::Path;

use packstone::ErrorKind;
use packstone::datahike::{Address, Head, Node, Secret, StoreKey};
use packstone::ops::{DatahikeSource, View};
use packstone::record::datom::edn;

use crate::shared::shared;
use crate::world::{Home, Unpacked, answer_file, assert_same, properties, root, without_signs_of_zero};

/// What goes through a repository is what the database answers.
async fn check(unpacked: &Unpacked, history: Option<&[String]>, current: &[String]) {
    let home = Home::new().await;
    let name = unpacked.location();
    let summary = home.backup(unpacked.source()).await.unwrap();
    let found = home.restored(&summary, None, View::Current).await;
    assert_same(&as_printed(&found), &as_printed(&without_signs_of_zero(current)), &format!("{name}: current"));
    let expected = history.unwrap_or(current);
    let found = home.restored(&summary, None, View::AsBackedUp).await;
    assert_same(&as_printed(&found), &as_printed(&without_signs_of_zero(expected)), &format!("{name}: history"));
    assert_eq!(properties(&summary)["view"], if history.is_some() { "history" } else { "current" });
    // The same datoms as lines have the same root.
    let lines = home.folder.path().join("lines.edn");
    std::fs::write(&lines, found.join("\n") + "\n").unwrap();
    if history.is_some() {
        let of_lines = home.backup_datoms(&lines).await;
        assert_eq!(root(&summary, "log").id, root(&of_lines, "log").id, "{name}");
    }
}

/// The answers of the second set were printed by Clojure itself: arrays as objects, floats as doubles. In the first set
/// nothing of this occurs but with a tag, which is the same on both sides.
fn as_printed(lines: &[String]) -> Vec<String> {
    let plain = |line: &String| {
        for start in ["#object", "#bytes", "#doubles", "#floats"] {
            if let Some(at) = line.find(start) {
                let end = line.rfind(" 5368").unwrap();
                return format!("{}#object{}", &line[..at], &line[end..]);
            }
        }
        match line.split_once("#float \"") {
            Some((before, after)) => format!("{before}{}", after.replacen('"', "", 1)),
            None => line.clone(),
        }
    };
    let mut lines: Vec<_> = lines.iter().map(plain).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clojure_prints_badly_keeps_its_type() {
    let home = Home::new().await;
    let summary = home.backup(Unpacked::fixture("store-a").source()).await.unwrap();
    let found = home.restored(&summary, None, View::Current).await;
    for value in ["bytes #bytes \"0001ff\"", "da #doubles [0.0 1.5]", "fa #floats [1.0 -0.0]", "float #float \"1.1\""] {
        let line = format!("[19 :p/{value} 536870914 true]");
        assert!(found.binary_search(&line).is_ok(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_of_every_kind_are_what_the_database_answers() {
    for name in ["store-a", "store-aes", "store-attrrefs", "store-bf8", "store-crypto", "store-diffbuf", "store1607"] {
        let unpacked = Unpacked::fixture(name);
        check(&unpacked, Some(&unpacked.answer("history")), &unpacked.answer("current")).await;
    }
}

/// Stores of `writer.py`, of kinds that none of Datahike's own is here of: `--datoms 200 --branching 8 --commits 20
/// --operations 4 --answers`, with `--no-history`, `--legacy --inline-schema`, and `--upgrade-after 18 --inline-schema`.
#[tokio::test(flavor = "multi_thread")]
async fn stores_without_history_with_the_schema_in_the_head_and_of_two_generations_are_what_was_written() {
    for (name, keeps_history) in [("written-current", false), ("written-inline", true), ("written-mixed", true)] {
        let unpacked = Unpacked::fixture(name);
        let history = keeps_history.then(|| unpacked.answer("history"));
        let current = unpacked.answer("current");
        assert!(current.len() > 150);
        check(&unpacked, history.as_deref(), &current).await;
        let head = unpacked.store().head("db").unwrap();
        assert_eq!(head.keeps_history(), keeps_history, "{name}");
        assert_eq!(head.inline_schema.is_some(), name == "written-inline", "{name}");
        let generations = generations(&unpacked, head.eavt.address.unwrap());
        let expected: &[&str] = match name {
            "written-current" => &[NEW],
            "written-inline" => &[OLD],
            _ => &[OLD, NEW],
        };
        assert_eq!(generations.into_iter().collect::<Vec<_>>(), expected, "{name}");
    }
}

/// How leaves begin: in 0.8, and before.
const NEW: &str = "pss/leaf";
const OLD: &str = "datahike.index.PersistentSortedSet.Leaf";

/// The generations of the leaves of an index.
fn generations(unpacked: &Unpacked, root: Address) -> BTreeSet<&'static str> {
    let blob = unpacked.store().blob(StoreKey::address(&root)).unwrap().unwrap();
    if let Node::Branch(branch) = Node::decode(&blob.bytes).unwrap() {
        return branch.addresses.iter().flat_map(|address| generations(unpacked, *address)).collect();
    }
    let names = [NEW, OLD].into_iter();
    names.filter(|name| blob.bytes.windows(name.len()).any(|window| window == name.as_bytes())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hitchhiker_tree_with_datoms_is_refused_by_its_name() {
    let Some(shared) = shared() else { return };
    let unpacked = Unpacked::of(&shared.join("g-hitchhiker/store.tar.zst"), "store");
    let error = Home::new().await.backup(unpacked.source()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("hitchhiker"), "{error}");
    assert!(error.to_string().contains("export"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_0_6_is_what_the_database_answers() {
    let unpacked = Unpacked::fixture("a-small-history");
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/a-small-history");
    let history = answer_file(&answers.join("datoms-history.edn"));
    let current = answer_file(&answers.join("datoms-current.edn"));
    assert_eq!((history.len(), current.len()), (1257, 1051));
    check(&unpacked, Some(&history), &current).await;
    // 38 current datoms are not in the history with their transaction: these are kept as exceptions.
    let home = Home::new().await;
    let summary = home.backup(unpacked.source()).await.unwrap();
    assert!(root(&summary, "exceptions").records >= 38);
    let properties = properties(&summary);
    assert_eq!((properties["max-t"].as_str(), properties["max-eid"].as_str()), ("536870922", "72"));
    assert_eq!(properties["branches"], "[:db]");
    assert_eq!(summary.snapshot.sources[0].consistency_point, "t 536870922");
    assert!(summary.snapshot.sources[0].atomic);
    assert!(properties["commit"].len() == 36 && properties["parents"].starts_with("#{"), "{properties:?}");
    assert!(properties["schema"].contains(":db/valueType"));
}

#[tokio::test(flavor = "multi_thread")]
async fn store_dump_and_export_of_one_database_have_one_root() {
    let Some(shared) = shared() else { return };
    for (name, other) in [
        ("head-small-history", "head-small-history/dump-history-gzip"),
        ("h-small-importable", "h-small-importable/export-db.cbor"),
    ] {
        let unpacked = Unpacked::of(&shared.join(name).join("store.tar.zst"), "store");
        let home = Home::new().await;
        let store = home.backup(unpacked.source()).await.unwrap();
        let other = home.backup_datoms(&shared.join(other)).await;
        if name == "h-small-importable" {
            assert_eq!(root(&store, "log").id, root(&other, "log").id, "{name}");
        }
        // A store cannot keep the sign of a double's zero, as Fressian has one zero only; a dump can.
        let stored = home.restored(&store, None, View::History).await;
        let mut dumped = home.restored(&other, None, View::History).await;
        assert!(name == "h-small-importable" || stored != dumped, "{name}");
        dumped.iter_mut().for_each(|line| *line = line.replace(":t/double -0.0 ", ":t/double 0.0 "));
        dumped.sort();
        assert!(stored == dumped, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_a_datacamp_backup_of_one_database_have_one_current_view() {
    let Some(shared) = shared() else { return };
    for name in ["a-small-history", "h-small-importable"] {
        let unpacked = Unpacked::of(&shared.join(name).join("store.tar.zst"), "store");
        let home = Home::new().await;
        let store = home.backup(unpacked.source()).await.unwrap();
        let camp = home.backup_datoms(&shared.join("datacamp").join(name).join("fressian")).await;
        let stored = home.restored(&store, None, View::Current).await;
        assert!(stored.len() > 1000);
        assert_eq!(stored, home.restored(&camp, None, View::Current).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_large_and_small_stores_of_the_first_set_are_what_the_database_answers() {
    let Some(shared) = shared() else { return };
    for name in ["a-small-history", "e-attribute-refs", "h-small-importable", "head-small-history"] {
        let folder = shared.join(name);
        let unpacked = Unpacked::of(&folder.join("store.tar.zst"), "store");
        let answer = |view: &str| answer_file(&folder.join(format!("datoms-{view}.edn")));
        check(&unpacked, Some(&answer("history")), &answer("current")).await;
    }
    let c = shared.join("c-200k");
    for (store, answers) in [("store", c.clone()), ("store-tx10", c.join("at-tx10")), ("store-gc", c.clone())] {
        let unpacked = Unpacked::of(&c.join("stores.tar.zst"), store);
        let answer = |view: &str| answer_file(&answers.join(format!("datoms-{view}.edn.gz")));
        check(&unpacked, Some(&answer("history")), &answer("current")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_set_of_stores_is_what_the_database_answers() {
    let Some(shared) = shared() else { return };
    let packed = shared.join("datahike-stores.tar.zst");
    let unpacked = Unpacked::of(&packed, "store-nograph");
    check(&unpacked, Some(&unpacked.answer("history")), &unpacked.answer("current")).await;
    // The answers of store-amp are of an earlier transaction: the sizes are what the head says.
    let amp = Unpacked::of(&packed, "store-amp");
    let head: Head = amp.store().head("db").unwrap();
    let home = Home::new().await;
    let summary = home.backup(amp.source()).await.unwrap();
    assert_eq!(root(&summary, "log").records, 21_259);
    assert_eq!(home.restored(&summary, None, View::Current).await.len() as u64, head.eavt.count.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_not_kept() {
    let config = edn::parse_value(
        br#"{:keep-history? true :store {:backend :jdbc :dbtype "postgresql" :host "h" :user "u" :password "hunter2"
             :jdbcUrl "jdbc:x?password=hunter2" :path "s3://k:hunter2@b" :nested {:secret "hunter2"}}
            :writer {:backend :datahike-server :token "hunter2"}}"#,
    )
    .unwrap();
    let mut text = Vec::new();
    edn::print_value(&packstone::source::datahike::redacted(&config), &mut text);
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("\"u\""), "{text}");
    assert!(text.contains(":keep-history? true") && text.contains("postgresql") && text.contains(":datahike-server"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_by_its_name() {
    let home = Home::new().await;
    let hitchhiker = Unpacked::fixture("store1607hh");
    let error = home.backup(hitchhiker.source()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("hitchhiker"), "{error}");
    assert!(error.to_string().contains("export"), "{error}");

    let aes = Unpacked::fixture("store-aes");
    let error = home.backup(DatahikeSource::new(aes.location(), None)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::WrongKey && error.to_string().contains("key"), "{error}");
    let error = home.backup(DatahikeSource::new(aes.location(), Some(Secret::text("wrong")))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::WrongKey && !error.to_string().contains("wrong key of"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let refused = async |location: &Path| {
        home.backup(DatahikeSource::new(location.to_str().unwrap(), None)).await.unwrap_err().to_string()
    };
    assert!(refused(folder.path()).await.contains("empty directory"));
    std::fs::create_dir(folder.path().join("meta")).unwrap();
    assert!(refused(folder.path()).await.contains("before version 0.6"));
    std::fs::remove_dir(folder.path().join("meta")).unwrap();
    std::fs::write(folder.path().join("B_0594e3b6-9635-5c99-8142-412accf3023b"), "x").unwrap();
    assert!(refused(folder.path()).await.contains("before version 0.6"));
    std::fs::remove_file(folder.path().join("B_0594e3b6-9635-5c99-8142-412accf3023b")).unwrap();
    std::fs::create_dir(folder.path().join("roots")).unwrap();
    assert!(refused(folder.path()).await.contains("Datomic"));
    std::fs::remove_dir(folder.path().join("roots")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    assert!(refused(folder.path()).await.contains("not a file store"));
    assert!(refused(&folder.path().join("notes.txt")).await.contains("not a directory"));
    let error = home.backup(DatahikeSource::new("/nonexistent/store", None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_directory_is_never_made_or_written() {
    let unpacked = Unpacked::fixture("store1607");
    let before = listing(&unpacked.path());
    let store = unpacked.store();
    store.head("db").unwrap();
    store.branches().unwrap();
    store.home().list().unwrap();
    assert!(store.head("nonexistent").is_err());
    assert_eq!(listing(&unpacked.path()), before);
}

fn listing(path: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            (entry.file_name().into_string().unwrap(), metadata.len(), metadata.modified().unwrap())
        })
        .collect();
    names.sort();
    names
}
