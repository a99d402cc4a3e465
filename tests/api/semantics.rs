//! What transactions mean, told by a model: every state of a database at every t, and purges between backups.

use std::collections::{BTreeMap, BTreeSet};

use packstone::ops::{RestoreOptions, TimePoint, View};
use packstone::repository::Repository;
use packstone::target::datoms::Format;

use crate::fixtures::{backup, create, fixture, restore, sorted_lines, whole};
use crate::shared::shared;

/// Everything that section H of the format document asks of transactions, t 1 to 9.
const LOG: &str = "\
[100 :db/ident :p/name 1 true]
[100 :db/valueType :db.type/string 1 true]
[100 :db/cardinality :db.cardinality/one 1 true]
[1 :db/txInstant #inst \"2024-01-01T00:00:00.000-00:00\" 1 true]
[10 :p/name \"a\" 1 true]
[10 :p/friend 11 1 true]
[10 :p/friend 999 1 true]
[10 :p/tx 1 1 true]
[10 :p/kind 100 1 true]
[2 :db/txInstant #inst \"2023-01-01T00:00:00.000-00:00\" 2 true]
[2 :tx/user \"u\" 2 true]
[2 :tx/comment \"overwrites\" 2 true]
[10 :p/name \"a\" 2 false]
[10 :p/name \"b\" 2 true]
[10 :p/tag \"x\" 2 true]
[10 :p/tag \"y\" 2 true]
[3 :db/txInstant #inst \"2023-01-01T00:00:00.000-00:00\" 3 true]
[10 :p/name \"b\" 3 true]
[10 :p/tag \"x\" 3 false]
[11 :p/name \"later\" 3 true]
[10 :p/tag \"y\" 4 false]
[10 :p/tag \"y\" 4 true]
[10 :p/tag \"never\" 5 false]
[6 :db/txInstant #inst \"2024-06-01T00:00:00.000-00:00\" 6 true]
[100 :db/ident :p/name 8 false]
[100 :db/ident :p/full-name 8 true]
[100 :db/cardinality :db.cardinality/one 8 false]
[100 :db/cardinality :db.cardinality/many 8 true]
[100 :db/unique :db.unique/identity 8 true]
[8 :db.valid/from #inst \"2020-01-01T00:00:00.000-00:00\" 8 true]
[11 :p/name \"later\" 9 false]
[10 :p/friend 11 9 false]
[10 :free [1 nil \"x\"] 9 true]
";

/// The state after transaction `t`: the datoms, by fact, with the t of their last assertion.
fn state(log: &str, t: i64) -> BTreeSet<String> {
    let mut events: Vec<(i64, bool, String)> = log
        .lines()
        .map(|line| {
            let (rest, added) = line.trim_end_matches(']').rsplit_once(' ').unwrap();
            let (fact, t) = rest.rsplit_once(' ').unwrap();
            (t.parse().unwrap(), added == "true", fact.to_owned())
        })
        .filter(|(at, ..)| *at <= t)
        .collect();
    // Within a transaction retractions come first.
    events.sort();
    let mut current = BTreeMap::new();
    for (t, added, fact) in events {
        if added {
            current.insert(fact, t);
        } else {
            current.remove(&fact);
        }
    }
    current.into_iter().map(|(fact, t)| format!("{fact} {t} true]")).collect()
}

async fn as_of(repository: &Repository, summary: &packstone::ops::BackupSummary, t: i64) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.edn");
    let options = RestoreOptions { as_of: Some(TimePoint::T(t)), ..whole(View::Current, Format::Edn) };
    restore(repository, summary, &out, options).await.unwrap();
    std::fs::read_to_string(&out).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_at_every_t_is_what_transactions_mean() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let source = folder.path().join("log.edn");
    // In order, in reverse, and in the order of the text: the input's order means nothing.
    let mut lines: Vec<&str> = LOG.lines().collect();
    let mut roots = BTreeSet::new();
    for round in 0..3 {
        std::fs::write(&source, lines.join("\n") + "\n").unwrap();
        let summary = backup(&repository, &source).await.unwrap();
        roots.insert(summary.snapshot.roots[0].id.unwrap().to_string());
        for t in 0..=10 {
            assert_eq!(as_of(&repository, &summary, t).await, state(LOG, t), "t {t}");
        }
        let out = folder.path().join(format!("history-{round}.edn"));
        restore(&repository, &summary, &out, whole(View::History, Format::Edn)).await.unwrap();
        let mut all: Vec<&str> = LOG.lines().collect();
        all.sort_unstable();
        assert_eq!(sorted_lines(&out), all);
        std::fs::remove_file(&out).unwrap();
        lines.reverse();
        lines.rotate_left(7);
    }
    assert_eq!(roots.len(), 1, "one content, one root");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_histories_give_the_state_at_every_t() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    for name in ["a-small-history", "head-small-history"] {
        let source = fixture(&format!("{name}/datoms-history.edn"));
        let log = std::fs::read_to_string(&source).unwrap();
        let summary = backup(&repository, &source).await.unwrap();
        for t in 536_870_912..=536_870_923 {
            assert_eq!(as_of(&repository, &summary, t).await, state(&log, t), "{name}, t {t}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_of_the_large_database_is_what_it_was_but_for_what_was_moved_since() {
    let Some(shared) = shared() else { return };
    let c = shared.join("c-200k");
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let late = backup(&repository, &c.join("datoms-history.edn.gz")).await.unwrap();
    let then = backup(&repository, &c.join("at-tx10/datoms-history.edn.gz")).await.unwrap();
    let (late, then) = (as_of(&repository, &late, 536_870_922).await, as_of(&repository, &then, 536_870_922).await);
    let fact = |line: &String| line.rsplitn(3, ' ').nth(2).unwrap().to_owned();
    let (late, then): (BTreeSet<_>, BTreeSet<_>) = (late.iter().map(fact).collect(), then.iter().map(fact).collect());
    // 90 datoms of a t already past appeared later in the database itself.
    let (only_late, only_then) = (late.difference(&then).count(), then.difference(&late).count());
    assert!(only_late + only_then <= 90, "{only_late} {only_then}");
    assert!(then.len() > 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_is_gone_from_the_next_snapshot_and_stays_in_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let source = folder.path().join("log.edn");
    std::fs::write(&source, LOG).unwrap();
    let before = backup(&repository, &source).await.unwrap();
    let history = |lines: &str| lines.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    // A datom, an entity, an attribute, everything before t 3, and what noHistory forgets.
    let purges: [&dyn Fn(&str) -> bool; 4] = [
        &|line| line.contains("\"x\""),
        &|line| line.starts_with("[11 "),
        &|line| line.contains(" :p/friend "),
        &|line| [" 1 true]", " 1 false]", " 2 true]", " 2 false]"].iter().any(|end| line.ends_with(end)),
    ];
    let mut rest = LOG.to_owned();
    for purge in purges {
        let kept: String = rest.split_inclusive('\n').filter(|line| !purge(line.trim_end())).collect();
        assert_ne!(kept, rest);
        rest = kept;
        std::fs::write(&source, &rest).unwrap();
        let after = backup(&repository, &source).await.unwrap();
        assert!(after.snapshot.statistics.records_removed > 0);
        for (summary, expected) in [(&after, rest.as_str()), (&before, LOG)] {
            let out = folder.path().join("out.edn");
            restore(&repository, summary, &out, whole(View::History, Format::Edn)).await.unwrap();
            assert_eq!(history(&std::fs::read_to_string(&out).unwrap()), history(expected));
            std::fs::remove_file(&out).unwrap();
        }
        let fresh = tempfile::tempdir().unwrap();
        let fresh = create(&fresh.path().join("repository")).await;
        let alone = backup(&fresh, &source).await.unwrap();
        assert_eq!(alone.snapshot.roots[0].digest, after.snapshot.roots[0].digest, "no trace is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dumps_of_datalevin_become_a_history_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let dump = folder.path().join("dump.edn");
    let head = "{:db-name \"x\"}\n{:db/ident {:db/aid 0}}\n";
    let mut last = None;
    for facts in ["[1 :a 1]\n[2 :a 2]\n", "[1 :a 1]\n[2 :a 3]\n", "[1 :a 1]\n[2 :a 3]\n", "[2 :a 3]\n[1 :a 9]\n"] {
        std::fs::write(&dump, format!("{head}{facts}")).unwrap();
        last = Some(backup(&repository, &dump).await.unwrap());
    }
    let last = last.unwrap();
    let out = folder.path().join("out.edn");
    restore(&repository, &last, &out, whole(View::History, Format::Edn)).await.unwrap();
    let expected = [
        "[1 :a 1 1 true]",
        "[1 :a 1 3 false]",
        "[1 :a 9 3 true]",
        "[2 :a 2 1 true]",
        "[2 :a 2 2 false]",
        "[2 :a 3 2 true]",
    ];
    assert_eq!(sorted_lines(&out), expected);
    let states = [&["[1 :a 1 1 true]", "[2 :a 2 1 true]"], &["[1 :a 1 1 true]", "[2 :a 3 2 true]"]];
    for (t, state) in (1..).zip(states) {
        assert_eq!(as_of(&repository, &last, t).await, state.iter().map(|line| (*line).to_owned()).collect(), "{t}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relatives_in_two_forms_have_one_root() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    for forms in [
        &["datascript-db.edn", "transit-db.json", "transit-db-verbose.json", "datascript-db.datoms.edn"][..],
        &["storage", "storage.datoms.edn"],
        &["serializable.json.gz", "serializable.datoms.edn"],
    ] {
        let mut roots = BTreeSet::new();
        for form in forms {
            let path = fixture("relatives").join(form);
            let source = packstone::ops::DatomsSource::new(packstone::source::datoms::Location::Path(path));
            let options =
                packstone::ops::BackupOptions { label: Some((*form).to_owned()), ..crate::fixtures::options() };
            let source = packstone::ops::Source::Datoms(source);
            let observer = std::sync::Arc::new(packstone::progress::Silent);
            let summary = packstone::ops::backup(&repository, source, options, observer).await.unwrap();
            roots.insert(summary.snapshot.roots[0].id.unwrap().to_string());
        }
        assert_eq!(roots.len(), 1, "{forms:?}");
    }
}
