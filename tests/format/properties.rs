//! What was sealed comes back as it was.

use packstone::compression::{Compressed, Compressor};
use packstone::crypto::padme;
use packstone::format::*;
use packstone::id::{PackId, SnapshotId};
use proptest::prelude::*;

use super::fixture;

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect())
}

prop_compose! {
    fn snapshot()(
        id in any::<[u8; 16]>(), time_ms in any::<i64>(), host in text(), tags in prop::collection::vec(text(), 0..4),
        parent in prop::option::of(any::<[u8; 16]>()), previous in prop::option::of(any::<[u8; 32]>()),
        cursor in prop::collection::vec(any::<u8>(), 0..300), gc_checked in any::<u64>(),
        skipped in prop::collection::vec((text(), text()), 0..4), bytes_read in any::<u64>(), partial in any::<bool>(),
    ) -> Snapshot {
        Snapshot {
            id: SnapshotId::new(id), time_ms, host, tags, parent: parent.map(SnapshotId::new), previous, cursor, gc_checked,
            skipped, statistics: Statistics { bytes_read, ..Statistics::default() },
            status: if partial { Status::Partial } else { Status::Complete }, ..fixture::snapshot()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn snapshots(snapshot in snapshot(), random in any::<[u8; 32]>()) {
        let keys = fixture::keys();
        let (id, outcome) = (snapshot.id, Outcome::Committed(snapshot));
        let object = outcome.seal(&keys, id, &random);
        let outside = 10;
        prop_assert_eq!(padme(object.len() as u64 - outside), object.len() as u64 - outside);
        prop_assert_eq!(Outcome::open(&keys, id, object.bytes()).unwrap(), outcome);
    }

    #[test]
    fn gc_records(n in 1u64.., time_ms in any::<i64>(), packs in prop::collection::btree_set(any::<[u8; 32]>(), 0..20), by in text()) {
        let keys = fixture::keys();
        let condemned = packs.into_iter().map(PackId::new).collect();
        let record = GcRecord { n, time_ms, condemned, nonce: [0; 16], by };
        prop_assert_eq!(GcRecord::open(&keys, n, record.seal(&keys, &[0; 32]).bytes()).unwrap(), record);
    }

    #[test]
    fn sessions(host in text(), process_id in any::<u32>(), n in 1u32.., time_ms in any::<i64>(), acknowledged_gc in any::<u64>()) {
        let (keys, id) = (fixture::keys(), fixture::session_id());
        let record = SessionRecord { host, process_id, ..fixture::session() };
        prop_assert_eq!(SessionRecord::open(&keys, id, record.seal(&keys, &[0; 32]).bytes()).unwrap(), record);
        let heartbeat = Heartbeat { n, time_ms, acknowledged_gc };
        let object = heartbeat.seal(&keys, id, &[0; 32]);
        prop_assert_eq!(Heartbeat::open(&keys, id, n, object.bytes()).unwrap(), heartbeat);
    }

    #[test]
    fn configurations(created_ms in any::<i64>(), inline in any::<u32>(), conditional_put in any::<bool>(), bits in 11u32..22) {
        let keys = fixture::keys();
        let average = 1 << bits;
        let chunker = ChunkerParameters { min_bytes: average / 4, average_bytes: average, max_bytes: average * 4 };
        let config = Config { created_ms, inline_value_max_bytes: inline, conditional_put, chunker, ..fixture::config() };
        prop_assert_eq!(Config::authenticate(config.encode(&keys).bytes(), &keys).unwrap(), config);
    }

    #[test]
    fn packs_and_indexes(frames in prop::collection::vec(prop::collection::vec(
        prop::collection::vec(0u8..5, 0..400), 1..6), 0..8), random in any::<[u8; 32]>(),
    ) {
        let keys = fixture::keys();
        let mut compressor = Compressor::default();
        let mut builder = PackBuilder::new(BlobKind::Node, RetentionClass::Standard);
        for blobs in &frames {
            let raw = blobs.concat();
            let mut body = Vec::new();
            let (codec, body) = match compressor.compress(&raw, &mut body) {
                Compressed::Raw => (Codec::Raw, &raw),
                Compressed::Zstd => (Codec::Zstd, &body),
            };
            let entries = blobs.iter().map(|blob| BlobEntry {
                id: keys.blob_id_node(blob), kind: BlobKind::Node, stored_len: blob.len() as u32, content_len: 7,
            }).collect();
            builder.add(seal_frame(&keys, &random, BlobKind::Node, codec, body, raw.len(), entries, None).unwrap()).unwrap();
        }
        let pack = builder.finish(&keys, &random);
        prop_assert_eq!(&verify_pack(&keys, pack.id, pack.body.bytes()).unwrap(), &pack.directory);
        for (entry, blobs) in pack.directory.frames.iter().zip(&frames) {
            let range = entry.range();
            let sealed = &pack.body.bytes()[range.start as usize..range.end as usize];
            let raw = open_frame(&keys, entry, sealed, None).unwrap();
            for (i, blob) in blobs.iter().enumerate() {
                prop_assert_eq!(&raw[entry.blob_range(i).unwrap()], &blob[..]);
            }
        }
        let indexed = IndexedPack { id: pack.id, size_bytes: pack.size_bytes, directory: pack.directory };
        let content = IndexContent { packs: vec![indexed], replaces: Vec::new() };
        let (id, object) = content.clone().seal(&keys, &random);
        prop_assert_eq!(IndexContent::open(&keys, id, object.bytes()).unwrap(), content);
    }
}
