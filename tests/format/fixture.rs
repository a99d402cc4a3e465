//! Fixed keys, random bytes and values.

use packstone::crypto::{Keyring, Keys, MasterKey};
use packstone::format::*;
use packstone::id::{BlobId, IndexId, LedgerId, PackId, RepositoryId, SnapshotId, StreamId};
use packstone::record::datom::{Attribute, Datom, Value, encode_key};

pub fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from.wrapping_add(i as u8))
}

pub fn repository() -> RepositoryId {
    RepositoryId::new(counting(0))
}

pub fn master(epoch: u8) -> [u8; 32] {
    counting(0x20 + 0x20 * epoch)
}

/// Two epochs, so that epoch numbers show in the bytes.
pub fn keyring() -> Keyring {
    Keyring::new(MasterKey::new(master(0))).rotate(MasterKey::new(master(1))).unwrap()
}

pub fn keys() -> Keys {
    Keys::derive(repository(), &keyring())
}

pub fn random() -> [u8; 32] {
    counting(0xa0)
}

pub fn session_id() -> SnapshotId {
    SnapshotId::new(counting(0x70))
}

pub fn config() -> Config {
    Config {
        id: repository(),
        created_ms: 1_795_000_000_000,
        chunker: ChunkerParameters::default(),
        inline_value_max_bytes: 1024,
        conditional_put: true,
    }
}

pub fn session() -> SessionRecord {
    SessionRecord {
        id: session_id(),
        host: "db1".into(),
        process_id: 4711,
        boot_id: "6f1c1a1e".into(),
        started_ms: 1_795_000_000_001,
        program: "packstone 0.1.0".into(),
        nonce: counting(0xe0),
    }
}

pub fn heartbeat() -> Heartbeat {
    Heartbeat { n: 3, time_ms: 1_795_000_600_000, acknowledged_gc: 2 }
}

pub fn mirror_list() -> MirrorList {
    let options = vec![("endpoint".to_owned(), "https://s3.example".to_owned())];
    let placement = |name: &str, address: &str, mode, options| {
        let (name, address) = (name.to_owned(), address.to_owned());
        Placement { name, address, mode, options }
    };
    MirrorList {
        n: 2,
        time_ms: 1_795_000_000_009,
        placements: vec![
            placement("home", "/srv/backup", MirrorMode::Sync, Vec::new()),
            placement("cloud-1", "s3://bucket/prefix", MirrorMode::Async, options),
        ],
        nonce: counting(0xd0),
    }
}

pub fn mirror_mark() -> MirrorMark {
    MirrorMark { name: "cloud-1".to_owned(), time_ms: 1_795_000_000_010 }
}

pub fn gc() -> GcRecord {
    GcRecord {
        n: 12,
        time_ms: 1_795_001_000_000,
        condemned: vec![PackId::new([1; 32]), PackId::new([2; 32])],
        nonce: counting(0xd0),
        by: "db2".into(),
    }
}

pub fn ledger() -> LedgerRecord {
    LedgerRecord {
        id: LedgerId::new(counting(0x90)),
        round: "sunday".into(),
        shard: 3,
        shards: 16,
        host: "db3".into(),
        program: "packstone 0.1.0".into(),
        started_ms: 1_795_003_000_000,
        ended_ms: 1_795_003_600_000,
        index_state: [0x44; 32],
        packs_indexed: 1000,
        packs_read: 62,
        bytes_read: 2_080_374_784,
        snapshots_walked: 0,
        damage_count: 1,
        damage: vec![("packs/01/0101".into(), "frame at 8: changed bytes".into())],
        harmed: vec![(session_id(), 2)],
    }
}

pub fn snapshot() -> Snapshot {
    Snapshot {
        id: session_id(),
        time_ms: 1_795_000_000_001,
        host: "db1".into(),
        user: "root".into(),
        label: "käse".into(),
        tags: vec!["daily".into(), "eu".into()],
        program: "packstone 0.1.0".into(),
        sources: vec![SourceDescription {
            location: "datoms:/srv/dump.edn".into(),
            options: vec![("format".into(), "edn".into())],
            consistency_point: "t 536870913".into(),
            atomic: true,
        }],
        status: Status::Complete,
        roots: vec![
            NamedRoot {
                name: "log".into(),
                kind: 1,
                id: Some(BlobId::new([0x55; 32])),
                level: 2,
                records: 1_300_000,
                row_bytes: 40_000_000,
                summary: vec![1, 2, 3],
                digest: vec![9; 16],
            },
            NamedRoot {
                name: "exceptions".into(),
                kind: 1,
                id: None,
                level: 0,
                records: 0,
                row_bytes: 0,
                summary: Vec::new(),
                digest: Vec::new(),
            },
        ],
        parent: Some(SnapshotId::new([0x66; 16])),
        previous: Some([0x77; 32]),
        cursor: vec![0, 255],
        gc_checked: 11,
        class: RetentionClass::Long,
        skipped: vec![("datom 7".into(), "not representable".into())],
        skipped_count: 1,
        statistics: Statistics {
            records_new: 13_000,
            records_removed: 2,
            bytes_read: 1 << 33,
            requests: vec![("put".into(), 3)],
            duration_ms: 1500,
            ..Statistics::default()
        },
        properties: vec![("max-t".into(), "536870913".into())],
    }
}

/// What may stand at the path of a snapshot.
pub fn outcomes() -> Vec<(&'static str, Outcome)> {
    vec![
        ("committed", Outcome::Committed(snapshot())),
        ("fenced", Outcome::Fenced { time_ms: -1, nonce: counting(0xc0) }),
        ("forgotten", Outcome::Forgotten { time_ms: 1_795_002_000_000, was: [0x88; 32] }),
    ]
}

pub fn stream_id() -> StreamId {
    keys().stream_id("db1", "datahike:/srv/db")
}

/// The opening of a chain on top of the committed snapshot of [`outcomes`].
pub fn opening() -> Opening {
    let base = outcomes().into_iter().find_map(|(_, outcome)| match outcome {
        Outcome::Committed(snapshot) => Some(snapshot),
        _ => None,
    });
    Opening { session: session_id(), base: base.expect("one of them is committed"), nonce: counting(0xd0) }
}

/// The first segment of that chain; too short to be compressed, which other zstd versions may do otherwise.
pub fn segment() -> Segment {
    let key = |t: i64, v: &str, added| {
        let mut key = Vec::new();
        let datom =
            Datom { e: 7, a: Attribute::Keyword("user/name".into()), v: Value::String(v.as_bytes().into()), t, added };
        encode_key(&datom, &mut key).expect("a short datom");
        key
    };
    Segment {
        n: 1,
        previous: *blake3::hash(opening().seal(&keys(), stream_id(), &random()).bytes()).as_bytes(),
        time_ms: 1_795_000_700_000,
        ends: true,
        t: 536_870_914,
        transactions: 1,
        put: 2,
        removed: 0,
        consistency_point: "t 536870914".into(),
        properties: vec![("max-t".into(), "536870914".into())],
        trees: vec![TreeChanges {
            name: "log".into(),
            put: vec![key(536_870_914, "Ada", false), key(536_870_914, "Grace", true)],
            removed: Vec::new(),
        }],
    }
}

/// Uncompressed bytes of a frame of two chunks, and its blobs.
pub fn two_chunks(keys: &Keys) -> (Vec<u8>, Vec<BlobEntry>) {
    let contents = [b"the quick brown fox ".repeat(20), b"jumps over the lazy dog".repeat(9)];
    let entry = |content: &Vec<u8>| BlobEntry {
        id: keys.blob_id_chunk(content),
        kind: BlobKind::Chunk,
        stored_len: content.len() as u32,
        content_len: content.len() as u32,
    };
    (contents.concat(), contents.iter().map(entry).collect())
}

/// A raw frame of two chunks, then a delta frame of one.
pub fn data_frames(keys: &Keys) -> Vec<SealedFrame> {
    let (raw, blobs) = two_chunks(keys);
    let base = blobs[0];
    let plain = seal_frame(keys, &random(), BlobKind::Chunk, Codec::Raw, &raw, raw.len(), blobs, None).unwrap();
    // The delta body is fixed rather than compressed here:
    // other zstd versions may choose other bytes.
    let mut content = raw[..base.stored_len as usize].to_vec();
    content[100] = b'X';
    let blob = BlobEntry { id: keys.blob_id_chunk(&content), ..base };
    let body = delta_body();
    let delta = seal_frame(
        keys,
        &counting(0xb0),
        BlobKind::Chunk,
        Codec::ZstdDelta,
        &body,
        content.len(),
        vec![blob],
        Some(base.id),
    );
    vec![plain, delta.unwrap()]
}

/// [`two_chunks`]'s first chunk with byte 100 changed, as one zstd frame with that chunk as prefix.
pub fn delta_body() -> Vec<u8> {
    packstone::id::unhex("28b52ffd6090007500001058740300004015a0bcb0521504").unwrap()
}

pub fn pack(keys: &Keys) -> FinishedPack {
    let mut builder = PackBuilder::new(BlobKind::Chunk, RetentionClass::Short);
    for frame in data_frames(keys) {
        builder.add(frame).unwrap();
    }
    builder.finish(keys, &counting(0xc0))
}

pub fn index(keys: &Keys) -> IndexContent {
    let pack = pack(keys);
    IndexContent {
        packs: vec![IndexedPack { id: pack.id, size_bytes: pack.size_bytes, directory: pack.directory }],
        replaces: vec![IndexId::new([3; 32])],
    }
}
