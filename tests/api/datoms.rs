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

#[tokio::test(flavor = "multi_thread")]
async fn a_string_may_run_over_several_lines() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let source = folder.path().join("in.edn");
    std::fs::write(&source, "[1 :a \"one\n[2 :b\ntwo\" 5 true]\n[2 :a \"x\" 5 true]\n").unwrap();
    let summary = backup(&repository, &source).await.unwrap();
    let out = folder.path().join("out.edn");
    restore(&repository, &summary, &out, whole(View::History, Format::Edn)).await.unwrap();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "[1 :a \"one\\n[2 :b\\ntwo\" 5 true]\n[2 :a \"x\" 5 true]\n");
    std::fs::write(&source, "[1 :a \"one 5 true]\n[2 :a \"x\" 5 true]\n").unwrap();
    let error = backup(&repository, &source).await.unwrap_err();
    assert!(error.to_string().contains("in.edn:1:"), "{error}");
}
