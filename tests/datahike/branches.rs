//! Databases with several branches: one pair of roots for each.

use packstone::ErrorKind;
use packstone::ops::{self, RestoreOptions, View};
use packstone::progress::Silent;
use packstone::target::datoms::{self as target};
use std::sync::Arc;

use crate::world::{Home, Unpacked, properties, root};

#[tokio::test(flavor = "multi_thread")]
async fn every_branch_has_roots_of_its_own() {
    let unpacked = Unpacked::fixture("store-bf8");
    unpacked.rewind("staging");
    let home = Home::new().await;
    let summary = home.backup(unpacked.source()).await.unwrap();
    let names: Vec<_> = summary.snapshot.roots.iter().map(|root| root.name.as_str()).collect();
    assert_eq!(names, ["log", "exceptions", "branch/staging/log", "branch/staging/exceptions"]);
    let properties = properties(&summary);
    assert_eq!(properties["branches"], "[:db :staging]");
    let head = unpacked.store().head("staging").unwrap();
    assert_eq!(properties["branch/staging/max-t"], head.max_tx.to_string());
    assert!(summary.snapshot.sources[0].consistency_point.ends_with(&format!(", :staging t {}", head.max_tx)));
    let staging = home.restored(&summary, Some("staging"), View::Current).await;
    assert_eq!(staging.len() as u64, head.eavt.count.unwrap());
    let main = home.restored(&summary, None, View::Current).await;
    assert!(staging != main && staging.iter().filter(|line| !main.contains(line)).count() < 10);
    assert!(main == home.restored(&summary, Some("db"), View::Current).await);

    let report = ops::verify(&home.repository, summary.snapshot.id, Arc::new(Silent)).await.unwrap();
    assert!(report.is_sound());
    let all: u64 = summary.snapshot.roots.iter().map(|root| root.records).sum();
    assert_eq!(report.records, all, "verify walks the roots of all branches");
    let checked = ops::check(&home.repository, ops::CheckOptions::default(), Arc::new(Silent)).await.unwrap();
    assert!(checked.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_branch_can_be_chosen_and_unknown_ones_are_refused() {
    let unpacked = Unpacked::fixture("store-bf8");
    let home = Home::new().await;
    let all = home.backup(unpacked.source()).await.unwrap();
    let mut source = unpacked.source();
    source.options.branches = vec!["staging".to_owned()];
    let one = home.backup(source.clone()).await.unwrap();
    assert_eq!(one.snapshot.roots.len(), 2);
    assert_eq!(root(&one, "branch/staging/log").id, root(&all, "branch/staging/log").id);

    source.options.branches = vec!["nonexistent".to_owned()];
    let error = home.backup(source).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Usage && error.to_string().contains(":db, :staging"), "{error}");
    let restore = async |snapshot, branch: Option<&str>| {
        let options = RestoreOptions { branch: branch.map(str::to_owned), ..RestoreOptions::default() };
        let to = target::Location::Path(home.folder.path().join("refused.edn"));
        ops::restore(&home.repository, snapshot, to, options, Arc::new(Silent)).await.unwrap_err().to_string()
    };
    assert!(restore(all.snapshot.id, Some("nonexistent")).await.contains("holds no branch :nonexistent"));
    assert!(restore(one.snapshot.id, None).await.contains(":staging"));
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_are_compared_copied_and_survive_prune() {
    let unpacked = Unpacked::fixture("store-bf8");
    let home = Home::new().await;
    let first = home.backup(unpacked.source()).await.unwrap();
    let second = home.backup(unpacked.source()).await.unwrap();
    assert_eq!(first.snapshot.roots, second.snapshot.roots);
    let count = |branch: Option<&str>| {
        ops::diff(&home.repository, first.snapshot.id, second.snapshot.id, branch.map(str::to_owned), |_, _| Ok(()))
    };
    assert_eq!(count(Some("staging")).await.unwrap().added, 0);
    assert!(count(Some("nonexistent")).await.is_err());
    let before = home.restored(&second, Some("staging"), View::History).await;
    let (repository, id) = (home.repository.clone(), first.snapshot.id);
    tokio::task::spawn_blocking(move || repository.forget(id)).await.unwrap().unwrap();
    let options = ops::PruneOptions::default();
    ops::prune(&home.repository, options, Arc::new(Silent)).await.unwrap();
    assert!(home.restored(&second, Some("staging"), View::History).await == before);
}
