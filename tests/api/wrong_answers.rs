//! An answer with a flipped bit is asked for again; what is damaged where it lies is still damage.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use packstone::ErrorKind;
use packstone::backend::{Answer, Backend, Damage, ObjectStat, PutNew, SimulatedBackend};
use packstone::format::{ObjectPath, Sealed};
use packstone::ops::{self, PruneOptions, View};
use packstone::progress::Silent;
use packstone::target::datoms::Format;
use tempfile::TempDir;

use crate::fixtures::{backup, check_all, create_on, forget, open_on, restore, sorted_lines, whole, write_documents};

/// A store far away that flips a bit in the first answer about each part of each object.
#[derive(Default)]
struct Flipping {
    inner: SimulatedBackend,
    answered: std::sync::Mutex<std::collections::HashSet<(String, Option<Range<u64>>)>>,
    flipped: AtomicU64,
    doubted: AtomicU64,
}

impl Backend for Flipping {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        self.inner.put(path, body)
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        self.inner.put_new(path, body)
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        self.inner.replace(path, body)
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let bytes = self.inner.get(path, range.clone()).await?;
            let is_checked = ["packs/", "index/", "gc/"].iter().any(|folder| path.as_str().starts_with(folder));
            if !is_checked || !self.answered.lock().unwrap().insert((path.to_string(), range)) {
                return Ok(bytes);
            }
            self.flipped.fetch_add(1, Ordering::SeqCst);
            let mut wrong = bytes.to_vec();
            let middle = wrong.len() / 2;
            wrong[middle] ^= 4;
            Ok(wrong.into())
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        self.inner.list(prefix)
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        self.inner.stat(path)
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        self.inner.delete(path)
    }

    fn doubt(&self, _path: &ObjectPath) {
        self.doubted.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_an_answer_harms_nothing_and_one_where_it_lies_is_damage() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(Flipping::default());
    let repository = create_on(store.clone()).await;
    let (old, new) = (folder.path().join("old.edn"), folder.path().join("new.edn"));
    write_documents(&old, 1, 12);
    write_documents(&new, 2, 12);
    let forgotten = backup(&repository, &old).await.unwrap();
    let kept = backup(&repository, &new).await.unwrap();
    forget(&repository, &forgotten).await.unwrap();

    // Repacking moves frames: what it reads is what it must write.
    let repository = open_on(store.clone()).await.unwrap();
    let options = PruneOptions { max_unused_percent: 0.0, ..PruneOptions::default() };
    ops::prune(&repository, options, Arc::new(Silent)).await.unwrap();
    let repository = open_on(store.clone()).await.unwrap();
    let restored = folder.path().join("restored.edn");
    restore(&repository, &kept, &restored, whole(View::History, Format::Edn)).await.unwrap();
    assert_eq!(sorted_lines(&restored), sorted_lines(&new));
    // Also what was read before is answered wrongly once more.
    store.answered.lock().unwrap().clear();
    let checked = check_all(&repository).await;
    assert!(checked.findings.is_empty(), "{:?}", checked.findings);
    let flipped = store.flipped.load(Ordering::SeqCst);
    assert!(flipped > 5, "{flipped} answers were wrong");
    assert_eq!(store.doubted.load(Ordering::SeqCst), flipped);

    for (path, _) in store.inner.list("packs/").await.unwrap() {
        store.inner.damage(&path, Damage::Flip(800));
    }
    let repository = open_on(store.clone()).await.unwrap();
    let again = folder.path().join("again.edn");
    let error = restore(&repository, &kept, &again, whole(View::History, Format::Edn)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
}
