//! Stores whose databases are what a test says, and generated histories for them.

use std::path::Path;
use std::sync::Arc;

use packstone::datahike::Home as StoreHome;
use packstone::datahike::home;
use packstone::id::SnapshotId;
use packstone::ops::{self, DatabaseOptions, DatahikeSource};
use packstone::progress::Silent;

use crate::world::Home;

/// A store whose database is whatever lines of EDN say, and then something else.
pub struct Scripted {
    home: Home,
}

impl Scripted {
    /// Of no database yet.
    pub async fn new() -> Self {
        Self { home: Home::new().await }
    }

    /// The database is what these lines say.
    pub async fn becomes(&self, lines: &[String]) {
        let file = self.home.folder.path().join("state.edn");
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        let summary = self.home.backup_datoms(&file).await;
        let store = self.home.folder.path().join("store");
        restore(&self.home, summary.snapshot.id, &store, store.exists()).await;
    }

    pub fn source(&self) -> DatahikeSource {
        DatahikeSource::new(self.home.folder.path().join("store").to_str().unwrap(), None)
    }
}

/// The transaction before the first.
pub const T: i64 = 536_870_912;

/// What is said of an attribute of numbers.
pub fn attribute(e: i64, name: &str, t: i64, more: &[&str]) -> Vec<String> {
    let mut lines = vec![format!("[{e} :db/ident {name} {} true]", T + t)];
    lines.push(format!("[{e} :db/cardinality :db.cardinality/one {} true]", T + t));
    lines.push(format!("[{e} :db/valueType :db.type/long {} true]", T + t));
    lines.extend(more.iter().map(|said| format!("[{e} {said} {} true]", T + t)));
    lines
}

/// A retraction, without which lines are a state and no history.
pub fn history() -> Vec<String> {
    let doc = |t: i64, added: bool| format!("[9 :db/doc \"gone\" {} {added}]", T + t);
    vec![doc(1, true), doc(2, false), instant(1), instant(2)]
}

/// When a transaction was.
pub fn instant(t: i64) -> String {
    format!("[{} :db/txInstant #inst \"2026-01-01T00:{:02}:00.000-00:00\" {} true]", T + t, t % 60, T + t)
}

/// What happens to one value: entity, value, and whether it is said or taken back.
pub type Saying = (u8, u8, bool);

/// Lines of a database in which transactions say things, of an attribute with one value, one with several, and one without
/// history.
pub fn database(transactions: &[Vec<Saying>]) -> Vec<String> {
    let mut lines = attribute(1, ":a/one", 1, &[":db/index true"]);
    lines.extend(
        attribute(2, ":a/many", 1, &[]).into_iter().map(|line| line.replace("cardinality/one", "cardinality/many")),
    );
    lines.extend(attribute(3, ":a/brief", 1, &[":db/noHistory true"]));
    lines.extend(history());
    let mut now: std::collections::BTreeMap<(u8, usize, u8), i64> = std::collections::BTreeMap::new();
    let names = [":a/one", ":a/many", ":a/brief"];
    for (at, sayings) in transactions.iter().enumerate() {
        let t = T + 3 + at as i64;
        let mut said = std::collections::BTreeSet::new();
        for (e, value, put) in sayings {
            let which = usize::from(value % 3);
            if !said.insert((*e, which)) {
                continue;
            }
            let old: Vec<_> = now
                .keys()
                .filter(|(of, a, v)| *of == *e && *a == which && if which == 1 { v == value } else { true })
                .copied()
                .collect();
            if old.contains(&(*e, which, *value)) && *put {
                continue;
            }
            for key in old {
                let since = now.remove(&key).unwrap();
                let (e, _, v) = key;
                if which == 2 {
                    // Without history what was is gone.
                    lines.retain(|line| *line != format!("[{} :a/brief {v} {since} true]", 100 + i64::from(e)));
                } else {
                    lines.push(format!("[{} {} {v} {t} false]", 100 + i64::from(e), names[which]));
                }
            }
            if *put {
                now.insert((*e, which, *value), t);
                lines.push(format!("[{} {} {value} {t} true]", 100 + i64::from(*e), names[which]));
            }
        }
        lines.push(instant(3 + at as i64));
    }
    lines
}

/// Restores a snapshot to a store, which is there already or is not.
pub async fn restore(home: &Home, snapshot: SnapshotId, to: &Path, replace: bool) {
    std::fs::create_dir_all(to).unwrap();
    let location = to.to_str().unwrap().to_owned();
    let store: Arc<dyn StoreHome> = match replace {
        true => home::open(&location).unwrap(),
        false => home::create(&location).unwrap(),
    };
    let options = DatabaseOptions { replace, ..DatabaseOptions::default() };
    ops::restore_database(&home.repository, snapshot, store, location, options, Arc::new(Silent)).await.unwrap();
}
