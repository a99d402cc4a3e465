//! Blobs kept as a difference to another blob.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::backend::{Backend, SimulatedBackend};
use packstone::compression::Compressor;
use packstone::format::{
    BlobEntry, BlobKind, Codec, FinishedPack, IndexContent, IndexedPack, ObjectPath, PackBuilder, RetentionClass,
    seal_frame,
};
use packstone::id::{BlobId, IndexId};
use packstone::ops::{self, BackupSummary, PruneOptions};
use packstone::progress::Silent;
use packstone::record::datom::{Value, long_value};
use packstone::repository::{Repository, random};

use crate::fixtures::{assert_restores, backup, blocking, check_all, create_on, forget, noise, open_on, verify};

/// A repository with a text in the first snapshot, and in the second a similar one that is stored as its delta.
struct World {
    backend: SimulatedBackend,
    repository: Repository,
    first: BackupSummary,
    second: BackupSummary,
    source: PathBuf,
    base: BlobId,
    delta: BlobId,
    delta_pack: ObjectPath,
    first_index: Vec<ObjectPath>,
}

async fn world(folder: &Path) -> World {
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let base_text = noise(1, 60_000);
    let delta_text = base_text.replacen(&base_text[30_000..30_010], "something!", 1);
    let (first_source, source) = (folder.join("first.edn"), folder.join("second.edn"));
    let history = |e: u64, text: &str| {
        format!("[{e} :doc/text \"{text}\" 536870913 true]\n[{e} :doc/draft true 536870913 false]\n")
    };
    std::fs::write(&first_source, history(1, &base_text)).unwrap();
    std::fs::write(&source, history(2, &delta_text)).unwrap();
    let first = backup(&repository, &first_source).await.unwrap();
    let below = |folder: &str| -> Vec<ObjectPath> {
        backend.paths().into_iter().filter(|path| path.as_str().starts_with(folder)).collect()
    };
    let first_index = below("index/");
    let (base, delta, delta_pack) = {
        let repository = repository.clone();
        blocking(move || store_delta(&repository, &base_text, &delta_text)).await
    };
    let packs = below("packs/").len();
    let second = backup(&repository, &source).await.unwrap();
    assert_eq!(below("packs/").len(), packs + 1, "the text is known: only nodes are new");
    World { backend, repository, first, second, source, base, delta, delta_pack, first_index }
}

fn encoded(text: &str) -> Vec<u8> {
    long_value(&Value::String(text.as_bytes().to_vec().into()), 1024).unwrap().unwrap().to_vec()
}

fn store_delta(repository: &Repository, base: &str, text: &str) -> (BlobId, BlobId, ObjectPath) {
    let (base, content) = (encoded(base), encoded(text));
    let keys = repository.keys();
    let (base_id, id) = (keys.blob_id_chunk(&base), keys.blob_id_chunk(&content));
    let mut body = Vec::new();
    Compressor::default().compress_with_prefix(&base, &content, &mut body).unwrap();
    assert!(body.len() < content.len() / 100);
    let content_len = u32::try_from(content.len()).unwrap();
    let blob = BlobEntry { id, kind: BlobKind::Chunk, stored_len: content_len, content_len };
    let (kind, codec) = (BlobKind::Chunk, Codec::ZstdDelta);
    let frame = seal_frame(keys, &random(), kind, codec, &body, content.len(), vec![blob], Some(base_id)).unwrap();
    let mut pack = PackBuilder::new(BlobKind::Chunk, RetentionClass::Standard);
    pack.add(frame).unwrap();
    let FinishedPack { id: pack, body, directory, size_bytes } = pack.finish(keys, &random());
    let path = ObjectPath::pack(pack);
    repository.store().put(&path, body).unwrap();
    let packs = vec![IndexedPack { id: pack, size_bytes, directory }];
    repository.put_index(IndexContent { packs, replaces: Vec::new() }).unwrap();
    (base_id, id, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_reads_checks_and_verifies_like_any_blob() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    let fresh = open_on(Arc::new(world.backend.clone())).await.unwrap();
    assert_restores(&fresh, &world.second, &world.source).await;
    let report = verify(&fresh, &world.second).await.unwrap();
    assert!(report.is_sound() && report.chunks == 1, "{report:?}");
    let report = check_all(&world.repository).await;
    assert!(report.findings.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_no_index_lists_is_damage_to_the_delta() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    for path in &world.first_index {
        path.name().parse::<IndexId>().unwrap();
        world.backend.delete(path).await.unwrap();
    }
    assert_names_both(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_whose_pack_is_gone_is_damage_to_the_delta() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    let pack = {
        let (repository, base) = (world.repository.clone(), world.base);
        blocking(move || repository.index().read().unwrap().find(&base).unwrap().pack()).await
    };
    world.backend.delete(&ObjectPath::pack(pack)).await.unwrap();
    assert_names_both(&world).await;
}

async fn assert_names_both(world: &World) {
    let report = check_all(&world.repository).await;
    let (base, delta) = (world.base.to_string(), world.delta.to_string());
    let names_both = report.findings.iter().any(|finding| {
        finding.is_damage
            && finding.object == world.delta_pack.as_str()
            && finding.message.contains(&base)
            && finding.message.contains(&delta)
    });
    assert!(names_both, "{report:?}");
    let harmed = report.harmed.iter().find(|(id, _)| *id == world.second.snapshot.id);
    assert_eq!(harmed.map(|(_, count)| *count), Some(1), "{report:?}");
    let fresh = open_on(Arc::new(world.backend.clone())).await.unwrap();
    let verified = verify(&fresh, &world.second).await.unwrap();
    assert!(verified.damaged.iter().any(|(id, _)| *id == world.delta), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_keeps_the_base_of_what_it_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    forget(&world.repository, &world.first).await.unwrap();
    let options = PruneOptions { max_unused_percent: 0.0, ..PruneOptions::default() };
    let report = ops::prune(&world.repository, options, Arc::new(Silent)).await.unwrap();
    assert!(report.packs_removed > 0, "the first snapshot's nodes are needed by nobody: {report:?}");
    let fresh = open_on(Arc::new(world.backend.clone())).await.unwrap();
    assert_restores(&fresh, &world.second, &world.source).await;
    let report = check_all(&fresh).await;
    assert!(report.findings.is_empty(), "{report:?}");
    assert!(fresh.index().read().unwrap().find(&world.base).is_some());
    forget(&fresh, &world.second).await.unwrap();
    ops::prune(&fresh, PruneOptions::default(), Arc::new(Silent)).await.unwrap();
    let left = world.backend.paths().into_iter().filter(|path| path.as_str().starts_with("packs/")).count();
    assert_eq!(left, 0, "with the delta its base goes");
}
