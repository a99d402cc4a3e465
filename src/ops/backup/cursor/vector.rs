//! `format-spec/vectors/cursor.json`: a cursor and a table, in both directions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::fs;

use serde_json::{Value as Json, json};

use super::{Branch, Cursor};
use crate::crypto::{Keyring, Keys, MasterKey};
use crate::datahike::{NodeKey, Stamp};
use crate::id::{BlobId, RepositoryId, hex, unhex};
use crate::record::datom::{Attribute, Datom, Digest, Value, encode_key, encode_value, split_key};
use crate::source::datahike::LeafTable;
use crate::source::datahike::increment::{Entry, HeadMark, IndexTable};

const PATH: &str = "format-spec/vectors/cursor.json";

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from.wrapping_add(u8::try_from(i).unwrap()))
}

fn keys() -> Keys {
    Keys::derive(RepositoryId::new(counting(0)), &Keyring::new(MasterKey::new(counting(0x20))))
}

fn name(table: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(&keys().local_cache_key(), table).as_bytes()
}

/// Canonical bytes of an attribute.
fn canonical(name: &str) -> Vec<u8> {
    let datom = Datom { e: 0, a: Attribute::Keyword(name.into()), v: Value::Long(0), t: 0, added: true };
    let mut key = Vec::new();
    encode_key(&datom, &mut key).unwrap();
    split_key(&key).unwrap().a.to_vec()
}

/// A branch whose current index has a branch, a leaf and a leaf with a difference, and whose history is a root in the head.
fn table() -> LeafTable {
    let node = |address: u8, slot: Option<u8>| NodeKey { address: Some(counting(address)), slot: slot.map(counting) };
    let total = |xor, sum, count| Digest { xor, sum, count };
    let (one, two) = (total(0x0102_0304_0506_0708, 0x1112_1314_1516_1718, 300), total(1, 2, 3));
    let both = total(one.xor ^ two.xor, one.sum + two.sum, 303);
    let mut fused = Vec::new();
    encode_value(&Value::Map(vec![(Value::Keyword("level".into()), Value::Long(0))]), &mut fused).unwrap();
    LeafTable {
        head: HeadMark { hash: counting(0x40), commit: Some(counting(0x60)), max_tx: 536_870_914 },
        attributes: BTreeMap::from([(canonical("user/name"), false), (canonical("user/tags"), true)]),
        current: IndexTable {
            root: Some(node(0x70, None)),
            fused: None,
            total: both,
            nodes: HashMap::from([
                (node(0x70, None), Entry { stamp: Some(Stamp(counting(0x90))), total: both }),
                (node(0x80, None), Entry { stamp: None, total: one }),
                (node(0x80, Some(0xa0)), Entry { stamp: Some(Stamp(counting(0xb0))), total: two }),
            ]),
        },
        temporal: Some(IndexTable { fused: Some(fused), total: total(9, 9, 1), ..IndexTable::default() }),
    }
}

/// A branch whose table stands in the cursor, and one of which nothing is known but that its table is in the cache.
fn cursor() -> Cursor {
    let bytes = table().encode();
    let main = Branch {
        name: "db".into(),
        commit: Some(counting(0x60)),
        max_tx: 536_870_914,
        roots: [Some(BlobId::new([0x55; 32])), None],
        table: name(&bytes),
        inline: Some(bytes),
    };
    let other =
        Branch { name: "draft".into(), commit: None, max_tx: -1, roots: [None, None], table: [0x66; 32], inline: None };
    Cursor { increments: 3, branches: vec![main, other] }
}

fn optional(bytes: Option<&[u8]>) -> Json {
    bytes.map_or(Json::Null, |bytes| json!(hex(bytes)))
}

fn shown_cursor(cursor: &Cursor) -> Json {
    let branch = |branch: &Branch| {
        let [log, exceptions] =
            branch.roots.each_ref().map(|root| optional(root.as_ref().map(|id| &id.as_bytes()[..])));
        json!({
            "name": branch.name,
            "commit": optional(branch.commit.as_ref().map(|id| &id[..])),
            "max_tx": branch.max_tx,
            "log": log,
            "exceptions": exceptions,
            "table_name": hex(&branch.table),
            "table": optional(branch.inline.as_deref()),
        })
    };
    json!({ "increments": cursor.increments, "branches": cursor.branches.iter().map(branch).collect::<Vec<_>>() })
}

fn shown_table(table: &LeafTable) -> Json {
    let attributes = table.attributes.iter().map(|(name, is_from_current)| json!([hex(name), is_from_current]));
    json!({
        "head": hex(&table.head.hash),
        "commit": optional(table.head.commit.as_ref().map(|id| &id[..])),
        "max_tx": table.head.max_tx,
        "attributes": attributes.collect::<Vec<_>>(),
        "current": shown_index(&table.current),
        "temporal": table.temporal.as_ref().map(shown_index),
    })
}

fn shown_index(index: &IndexTable) -> Json {
    let key = |key: &NodeKey| {
        json!({
            "address": optional(key.address.as_ref().map(|address| &address[..])),
            "slot": optional(key.slot.as_ref().map(|slot| &slot[..])),
        })
    };
    let total = |total: &Digest| json!({ "xor": format!("{:016x}", total.xor), "sum": format!("{:016x}", total.sum), "count": total.count });
    let mut nodes: Vec<_> = index.nodes.iter().collect();
    nodes.sort_by_key(|(key, _)| **key);
    let node = |(node, entry): (&NodeKey, &Entry)| {
        let stamp = optional(entry.stamp.as_ref().map(|stamp| &stamp.0[..]));
        json!({ "key": key(node), "stamp": stamp, "total": total(&entry.total) })
    };
    json!({
        "root": index.root.as_ref().map(key),
        "root_in_head": optional(index.fused.as_deref()),
        "total": total(&index.total),
        "nodes": nodes.into_iter().map(node).collect::<Vec<_>>(),
    })
}

#[test]
fn the_vector_is_what_the_code_writes_and_reads() {
    let (cursor, table) = (cursor(), table());
    let built = json!({
        "secrets": { "repository_id": hex(&counting::<16>(0)), "master_keys": { "0": hex(&counting::<32>(0x20)) } },
        "table": { "value": shown_table(&table), "name": hex(&name(&table.encode())), "bytes": hex(&table.encode()) },
        "cursor": { "value": shown_cursor(&cursor), "bytes": hex(&cursor.encode()) },
    });
    if std::env::var_os("PACKSTONE_WRITE_VECTORS").is_some() {
        fs::write(PATH, serde_json::to_string_pretty(&built).unwrap() + "\n").unwrap();
    }
    let file: Json = serde_json::from_str(&fs::read_to_string(PATH).unwrap()).unwrap();
    assert_eq!(built, file, "the code writes other bytes");
    let bytes = |value: &Json| unhex(value.as_str().unwrap()).unwrap();
    let read = LeafTable::decode(&bytes(&file["table"]["bytes"])).unwrap();
    assert_eq!((&read, shown_table(&read)), (&table, file["table"]["value"].clone()));
    let read = Cursor::decode(&bytes(&file["cursor"]["bytes"])).unwrap();
    assert_eq!((&read, shown_cursor(&read)), (&cursor, file["cursor"]["value"].clone()));
    assert_eq!(read.branches[0].inline, Some(bytes(&file["table"]["bytes"])));
}
