//! What a state is compared with: the newest snapshot of the same branch of the same database.

use std::path::Path;
use std::sync::Arc;

use packstone::datahike::home;
use packstone::ops::{
    self, BackupSummary, CompareOptions, DatabaseOptions, DatahikeSource, TimePoint, compare_database,
};
use packstone::progress::Silent;

use crate::world::{Home, Unpacked};

/// A database that was backed up.
struct Origin {
    home: Home,
    backup: BackupSummary,
    unpacked: Unpacked,
}

impl Origin {
    async fn new(name: &str) -> Self {
        let unpacked = Unpacked::fixture(name);
        let home = Home::new().await;
        let backup = home.backup(unpacked.source()).await.unwrap();
        Self { home, backup, unpacked }
    }

    /// Makes `place` what the database was at a t, without history.
    async fn write_state(&self, place: &Path, t: Option<i64>) {
        let _ = std::fs::remove_dir_all(place);
        let location = place.to_string_lossy().into_owned();
        let store = home::create(&location).unwrap();
        let options = DatabaseOptions { current: true, as_of: t.map(TimePoint::T), ..DatabaseOptions::default() };
        let (repository, snapshot) = (&self.home.repository, self.backup.snapshot.id);
        ops::restore_database(repository, snapshot, store, location, options, Arc::new(Silent)).await.unwrap();
    }

    /// A transaction before the last.
    fn earlier(&self) -> i64 {
        self.unpacked.heads(3)[0].0
    }
}

fn source(place: &Path) -> DatahikeSource {
    DatahikeSource::new(place.to_string_lossy(), None)
}

/// What the trees of the main branch hold, whatever the repository.
fn trees(summary: &BackupSummary) -> Vec<(String, u64, Vec<u8>)> {
    let roots = summary.snapshot.roots.iter().filter(|root| !root.name.contains('/'));
    roots.map(|root| (root.name.clone(), root.records, root.digest.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_made_of_states_goes_on_after_a_backup_of_another_branch() {
    let origin = Origin::new("store-bf8").await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let mut found = Vec::new();
    for between in [false, true] {
        let home = Home::new().await;
        origin.write_state(&place, Some(origin.earlier())).await;
        let first = home.backup(source(&place)).await.unwrap();
        if between {
            let mut other = source(&place);
            other.options.branches = vec!["staging".to_owned()];
            assert!(trees(&home.backup(other).await.unwrap()).is_empty());
        }
        origin.write_state(&place, None).await;
        let second = home.backup(source(&place)).await.unwrap();
        assert!(trees(&second)[0].1 > trees(&first)[0].1, "it has both states");
        found.push(trees(&second));
    }
    assert_eq!(found[0], found[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_of_the_same_name_begins_a_history_of_its_own() {
    let (one, other) = (Origin::new("store-bf8").await, Origin::new("store-a").await);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let (mixed, alone, of_other) = (Home::new().await, Home::new().await, Home::new().await);
    one.write_state(&place, Some(one.earlier())).await;
    for home in [&mixed, &alone] {
        home.backup(source(&place)).await.unwrap();
    }
    other.write_state(&place, None).await;
    let expected = of_other.backup(source(&place)).await.unwrap();
    let found = mixed.backup(source(&place)).await.unwrap();
    assert_eq!(trees(&found), trees(&expected));
    assert_eq!(found.snapshot.parent, None);
    one.write_state(&place, None).await;
    let expected = alone.backup(source(&place)).await.unwrap();
    let found = mixed.backup(source(&place)).await.unwrap();
    assert_eq!(trees(&found), trees(&expected), "the snapshot before the other's is its parent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_reads_the_store_whatever_is_known_of_it() {
    let origin = Origin::new("store-bf8").await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    origin.write_state(&place, None).await;
    let home = Home::new().await;
    let snapshot = home.backup(source(&place)).await.unwrap().snapshot.id;
    let compare = || {
        let silent = Arc::new(Silent);
        compare_database(&home.repository, snapshot, source(&place), CompareOptions::default(), silent)
    };
    assert!(compare().await.unwrap().iter().all(|branch| branch.equal));
    let head = packstone::datahike::Store::open(&source(&place).location, None).unwrap().head("db").unwrap();
    let key = packstone::datahike::StoreKey::address(&head.eavt.address.unwrap());
    std::fs::remove_file(place.join(key.file_name())).unwrap();
    compare().await.unwrap_err();
}
