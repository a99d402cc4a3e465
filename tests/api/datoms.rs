//! Datoms in, datoms out.

use packstone::ops::View;
use packstone::target::datoms::Format;

use crate::fixtures::{backup, create, fixture, open, restore, sorted_lines, whole};

#[tokio::test(flavor = "multi_thread")]
async fn a_history_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let source = fixture("a-small-history/datoms-history.edn");
    let summary = backup(&repository, &source).await.unwrap();
    assert!(summary.committed);
    let repository = open(&folder.path().join("repository")).await;
    let out = folder.path().join("out.edn");
    let restored = restore(&repository, &summary, &out, whole(View::AsBackedUp, Format::Edn)).await.unwrap();
    assert_eq!(restored.datoms, 1257);
    assert_eq!(sorted_lines(&out), sorted_lines(&source));
}
