//! `format-spec/vectors/`: one file per chapter, checked in both directions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use packstone::crypto::{KdfParameters, Keyring, Keys, Purpose, SlotSecret, padme};
use packstone::format::*;
use packstone::id::{IndexId, KeySlotId, PackId, hex, unhex};
use serde::Serialize;
use serde_json::{Value, json};

use super::fixture::{self, counting};
use super::{entries, migration, records};

/// A chapter: the document its code writes, and what reads the document on disk.
struct Chapter {
    build: fn() -> Value,
    decode: fn(&Value),
}

/// Every file of the directory that this binary checks.
fn chapters() -> BTreeMap<&'static str, Chapter> {
    BTreeMap::from([
        ("sealing-and-keys.json", Chapter { build: build_keys, decode: decode_keys }),
        ("objects.json", Chapter { build: build_objects, decode: decode_objects }),
        ("blob-and-frame.json", Chapter { build: build_frames, decode: decode_frames }),
        ("pack.json", Chapter { build: build_pack, decode: decode_pack }),
        ("index.json", Chapter { build: build_index, decode: decode_index }),
        ("records.json", Chapter { build: records::build_records, decode: records::decode_records }),
        ("entries.json", Chapter { build: entries::build, decode: entries::decode }),
        ("tree.json", Chapter { build: records::build_tree, decode: records::decode_tree }),
        ("sync.json", Chapter { build: build_sync, decode: decode_sync }),
        ("migration.json", Chapter { build: migration::build, decode: migration::decode }),
        ("snapshot.json", Chapter { build: build_snapshots, decode: decode_snapshots }),
    ])
}

/// Files of this directory that the tests of another module check in both directions.
const CHECKED_ELSEWHERE: &[&str] = &["cursor.json"];

#[test]
fn every_vector_is_what_the_code_writes_and_reads() {
    let folder = Path::new("format-spec/vectors");
    let mut chapters = chapters();
    if std::env::var_os("PACKSTONE_WRITE_VECTORS").is_some() {
        for (name, chapter) in &chapters {
            let text = serde_json::to_string_pretty(&(chapter.build)()).unwrap() + "\n";
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if CHECKED_ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let chapter = chapters.remove(name.as_str()).unwrap_or_else(|| panic!("nothing checks the vector {name}"));
        let on_disk: Value = serde_json::from_str(&fs::read_to_string(folder.join(&name)).unwrap()).unwrap();
        assert_eq!((chapter.build)(), on_disk, "{name}: the code writes other bytes");
        (chapter.decode)(&on_disk);
    }
    assert!(chapters.is_empty(), "vectors are missing: {:?}", chapters.keys());
}

/// A value as JSON, byte strings of 16 or 32 bytes as hexadecimal.
fn plain(value: &impl Serialize) -> Value {
    fn tidy(value: Value) -> Value {
        match value {
            Value::Array(items) => {
                let bytes: Option<Vec<u8>> =
                    items.iter().map(|item| item.as_u64().and_then(|n| u8::try_from(n).ok())).collect();
                match bytes {
                    Some(bytes) if bytes.len() == 16 || bytes.len() == 32 => json!(hex(&bytes)),
                    _ => Value::Array(items.into_iter().map(tidy).collect()),
                }
            }
            Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, tidy(value))).collect(),
            other => other,
        }
    }
    tidy(serde_json::to_value(value).unwrap())
}

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// What every vector's keys are made of.
fn secrets() -> Value {
    json!({
        "repository_id": hex(fixture::repository().as_bytes()),
        "master_keys": { "0": hex(&fixture::master(0)), "1": hex(&fixture::master(1)) },
    })
}

const PURPOSES: [(&str, Purpose); 5] = [
    ("data", Purpose::Data),
    ("tree", Purpose::Tree),
    ("metadata", Purpose::Metadata),
    ("index", Purpose::Index),
    ("sync", Purpose::Sync),
];

fn build_keys() -> Value {
    let keys = fixture::keys();
    let seals: Vec<_> = PURPOSES
        .iter()
        .map(|(name, purpose)| {
            let sealed = keys.seal(*purpose, b"associated", &fixture::random(), b"plaintext");
            json!({ "purpose": name, "epoch": 1, "associated": hex(b"associated"), "random": hex(&fixture::random()),
                "plaintext": hex(b"plaintext"), "sealed": hex(&sealed) })
        })
        .collect();
    let slots: Vec<_> = [
        ("password", SlotSecret::password("correct horse"), hex(b"correct horse")),
        ("key file", SlotSecret::key_file(vec![0x5a; 64]), hex(&[0x5a; 64])),
    ]
    .into_iter()
    .map(|(kind, secret, secret_hex)| {
        let (id, object) = KeySlot::create(
            fixture::repository(),
            &fixture::keyring(),
            &secret,
            KdfParameters::insecure_for_tests(),
            counting(1),
            fixture::random(),
            SlotDescription { label: "first".into(), host: "db1".into(), user: "root".into(), created_ms: 1 },
        )
        .unwrap();
        json!({ "kind": kind, "secret": secret_hex, "id": hex(id.as_bytes()), "object": hex(object.bytes()) })
    })
    .collect();
    let padded = [1u64, 9, 100, 1000, 65_537, 33_554_433].map(|len| json!([len, padme(len)]));
    json!({
        "secrets": secrets(),
        "keyring": hex(&fixture::keyring().encode()),
        "chunk_id_of_abc": hex(keys.blob_id_chunk(b"abc").as_bytes()),
        "node_id_of_abc": hex(keys.blob_id_node(b"abc").as_bytes()),
        "tree_split_key": hex(&keys.tree_split_key()),
        "tree_long_key": hex(&keys.tree_long_key()),
        "gear_first_4": keys.gear()[..4].iter().map(|n| format!("{n:016x}")).collect::<Vec<_>>(),
        "gear_last": format!("{:016x}", keys.gear()[255]),
        "seals": seals,
        "slots": slots,
        "padme": padded,
    })
}

fn decode_keys(file: &Value) {
    let keyring = Keyring::decode(&bytes(&file["keyring"])).unwrap();
    let keys = Keys::derive(fixture::repository(), &keyring);
    for seal in file["seals"].as_array().unwrap() {
        let (_, purpose) = PURPOSES.iter().find(|(name, _)| seal["purpose"] == *name).unwrap();
        let epoch = seal["epoch"].as_u64().unwrap() as u32;
        let opened = keys.open(*purpose, epoch, &bytes(&seal["associated"]), &bytes(&seal["sealed"])).unwrap();
        assert_eq!(opened, bytes(&seal["plaintext"]));
    }
    for slot in file["slots"].as_array().unwrap() {
        let secret = match slot["kind"].as_str().unwrap() {
            "password" => SlotSecret::Password(bytes(&slot["secret"]).into()),
            _ => SlotSecret::KeyFile(bytes(&slot["secret"]).into()),
        };
        let decoded = KeySlot::decode(KeySlotId::new(array(&slot["id"])), &bytes(&slot["object"])).unwrap();
        assert_eq!(decoded.open(fixture::repository(), &secret).unwrap(), keyring);
    }
}

fn build_objects() -> Value {
    let (keys, random) = (fixture::keys(), fixture::random());
    let object = |path: ObjectPath, value: Value, object: Sealed| json!({ "path": path.as_str(), "value": value, "object": hex(object.bytes()) });
    let (config, session, heartbeat, gc) = (fixture::config(), fixture::session(), fixture::heartbeat(), fixture::gc());
    let ledger = fixture::ledger();
    let (list, mark) = (fixture::mirror_list(), fixture::mirror_mark());
    json!({
        "secrets": secrets(),
        "random": hex(&random),
        "config": object(ObjectPath::config(), plain(&config), config.encode(&keys)),
        "session": object(ObjectPath::session(session.id, 0), plain(&session), session.seal(&keys, &random)),
        "exclusive": object(
            ObjectPath::exclusive(session.id),
            plain(&session),
            session.seal_exclusive(&keys, &random),
        ),
        "heartbeat": object(
            ObjectPath::session(session.id, heartbeat.n),
            plain(&heartbeat),
            heartbeat.seal(&keys, session.id, &random),
        ),
        "gc": object(ObjectPath::gc(gc.n), plain(&gc), gc.seal(&keys, &random)),
        "ledger": object(ObjectPath::ledger(ledger.id), plain(&ledger), ledger.seal(&keys, &random)),
        "mirror_list": object(ObjectPath::mirror_list(list.n), plain(&list), list.seal(&keys, &random)),
        "mirror_mark": object(ObjectPath::mirror_mark(), plain(&mark), mark.seal(&keys, &random)),
    })
}

fn decode_objects(file: &Value) {
    let (keys, session) = (fixture::keys(), fixture::session_id());
    let object = |name: &str| bytes(&file[name]["object"]);
    assert_eq!(Config::decode_unauthenticated(&object("config")), Ok(fixture::config()));
    assert_eq!(Config::authenticate(&object("config"), &keys), Ok(fixture::config()));
    assert_eq!(SessionRecord::open(&keys, session, &object("session")), Ok(fixture::session()));
    assert_eq!(SessionRecord::open_exclusive(&keys, session, &object("exclusive")), Ok(fixture::session()));
    assert!(SessionRecord::open(&keys, session, &object("exclusive")).is_err(), "at its own path only");
    assert_eq!(Heartbeat::open(&keys, session, 3, &object("heartbeat")), Ok(fixture::heartbeat()));
    assert_eq!(GcRecord::open(&keys, 12, &object("gc")), Ok(fixture::gc()));
    assert_eq!(LedgerRecord::open(&keys, fixture::ledger().id, &object("ledger")), Ok(fixture::ledger()));
    assert_eq!(MirrorList::open(&keys, 2, &object("mirror_list")), Ok(fixture::mirror_list()));
    assert_eq!(MirrorMark::open(&keys, &object("mirror_mark")), Ok(fixture::mirror_mark()));
}

fn build_frames() -> Value {
    let keys = fixture::keys();
    let (raw, _) = fixture::two_chunks(&keys);
    let frames: Vec<_> = fixture::data_frames(&keys)
        .iter()
        .map(|frame| json!({ "entry": plain(&frame.entry), "sealed": hex(&frame.bytes) }))
        .collect();
    json!({ "secrets": secrets(), "raw_of_first": hex(&raw), "delta_body": hex(&fixture::delta_body()),
        "randoms": [hex(&fixture::random()), hex(&counting::<32>(0xb0))], "frames": frames })
}

fn decode_frames(file: &Value) {
    let keys = fixture::keys();
    let sealed = |i: usize| bytes(&file["frames"][i]["sealed"]);
    let frames = fixture::data_frames(&keys);
    let raw = open_frame(&keys, &frames[0].entry, &sealed(0), None).unwrap();
    assert_eq!(raw, bytes(&file["raw_of_first"]));
    let base = &raw[frames[0].entry.blob_range(0).unwrap()];
    let changed = open_frame(&keys, &frames[1].entry, &sealed(1), Some(base)).unwrap();
    assert_eq!(keys.blob_id_chunk(&changed), frames[1].entry.blobs[0].id);
}

fn build_pack() -> Value {
    let pack = fixture::pack(&fixture::keys());
    json!({ "secrets": secrets(), "random_of_directory": hex(&counting::<32>(0xc0)), "frames": "those of blob-and-frame.json",
        "id": hex(pack.id.as_bytes()), "directory": plain(&pack.directory), "object": hex(pack.body.bytes()) })
}

fn decode_pack(file: &Value) {
    let keys = fixture::keys();
    let directory = verify_pack(&keys, PackId::new(array(&file["id"])), &bytes(&file["object"])).unwrap();
    assert_eq!(plain(&directory), file["directory"]);
}

fn build_index() -> Value {
    let keys = fixture::keys();
    let content = fixture::index(&keys);
    let value = plain(&content);
    let (id, object) = content.seal(&keys, &fixture::random());
    json!({ "secrets": secrets(), "random": hex(&fixture::random()), "id": hex(id.as_bytes()), "value": value,
        "object": hex(object.bytes()) })
}

fn decode_index(file: &Value) {
    let id = IndexId::new(array(&file["id"]));
    let content = IndexContent::open(&fixture::keys(), id, &bytes(&file["object"])).unwrap();
    assert_eq!(plain(&content), file["value"]);
}

fn build_snapshots() -> Value {
    let keys = fixture::keys();
    let outcomes: Vec<_> = fixture::outcomes()
        .into_iter()
        .map(|(name, outcome)| {
            let object = outcome.seal(&keys, fixture::session_id(), &fixture::random());
            json!({ "name": name, "value": plain(&outcome), "object": hex(object.bytes()) })
        })
        .collect();
    json!({ "secrets": secrets(), "random": hex(&fixture::random()),
        "path": ObjectPath::snapshot(fixture::session_id()).as_str(), "outcomes": outcomes })
}

fn decode_snapshots(file: &Value) {
    for (i, (_, outcome)) in fixture::outcomes().into_iter().enumerate() {
        let object = bytes(&file["outcomes"][i]["object"]);
        assert_eq!(Outcome::open(&fixture::keys(), fixture::session_id(), &object), Ok(outcome));
    }
}

fn build_sync() -> Value {
    let (keys, random, stream) = (fixture::keys(), fixture::random(), fixture::stream_id());
    let (opening, segment) = (fixture::opening(), fixture::segment());
    let path = |n| ObjectPath::sync(stream, opening.session, n).as_str().to_owned();
    json!({
        "secrets": secrets(),
        "random": hex(&random),
        "stream": { "host": "db1", "label": "datahike:/srv/db", "id": hex(stream.as_bytes()) },
        "opening": { "path": path(0), "value": plain(&opening), "object": hex(opening.seal(&keys, stream, &random).bytes()) },
        "segment": {
            "path": path(1),
            "value": plain(&segment),
            "object": hex(segment.seal(&keys, stream, opening.session, &random).bytes()),
        },
    })
}

fn decode_sync(file: &Value) {
    let (keys, stream, session) = (fixture::keys(), fixture::stream_id(), fixture::session_id());
    let (opening, segment) = (bytes(&file["opening"]["object"]), bytes(&file["segment"]["object"]));
    assert_eq!(Opening::open(&keys, stream, session, &opening), Ok(fixture::opening()));
    assert_eq!(Segment::open(&keys, stream, session, 1, &segment), Ok(fixture::segment()));
    assert_eq!(fixture::segment().previous, *blake3::hash(&opening).as_bytes());
    // At its own place only, and never as something else.
    assert!(Segment::open(&keys, stream, session, 2, &segment).is_err());
    assert!(Segment::open(&keys, keys.stream_id("db2", "datahike:/srv/db"), session, 1, &segment).is_err());
    assert!(Opening::open(&keys, stream, session, &segment).is_err());
}

#[test]
fn a_long_segment_is_compressed_and_whatever_is_out_of_order_is_refused() {
    let (keys, stream, session) = (fixture::keys(), fixture::stream_id(), fixture::session_id());
    let mut long = fixture::segment();
    long.trees[0].removed = (0..2000u32).map(|n| [&[7; 20][..], &n.to_be_bytes()].concat()).collect();
    let sealed = long.seal(&keys, stream, session, &fixture::random());
    assert!(sealed.len() < 20_000, "{}", sealed.len());
    assert_eq!(Segment::open(&keys, stream, session, 1, sealed.bytes()), Ok(long.clone()));
    let refused = |segment: &Segment| {
        let sealed = segment.seal(&keys, stream, session, &fixture::random());
        Segment::open(&keys, stream, session, segment.n, sealed.bytes()).unwrap_err()
    };
    let mut swapped = long.clone();
    swapped.trees[0].removed.swap(0, 1);
    assert_eq!(refused(&swapped), packstone::error::DecodeError::Invalid("order of a segment's keys"));
    let mut twice = long.clone();
    twice.trees.push(twice.trees[0].clone());
    assert_eq!(refused(&twice), packstone::error::DecodeError::Invalid("order of a segment's trees"));
    long.n = 0;
    assert_eq!(refused(&long), packstone::error::DecodeError::Invalid("number of a segment"));
}
