//! Vectors of records and trees: text to key, rows to columns, nodes to canonical bytes, kept form and id.

use packstone::error::Error;
use packstone::id::{BlobId, hex, unhex};
use packstone::record::datom::{Datoms, Digest, Summary, decode_key, edn, encode_key};
use packstone::record::{Items, RecordKind, Rows};
use packstone::tree::{Builder, Node, Pushed, TreeKeys, TreeParameters, WriteNode};
use serde_json::{Value, json};

use super::fixture;

/// A datom of every value type, in the order of their keys.
const LINES: &str = r##"
[1 :a/b false 5 true]
[1 :a/b true 5 true]
[1 :a/b -9223372036854775808 5 true]
[1 :a/b 7 5 false]
[1 :a/b 7 5 true]
[1 :a/b 170141183460469231731687303715884105728N 5 true]
[1 :a/b -0.0 5 true]
[1 :a/b 0.1 5 true]
[1 :a/b ##NaN 5 true]
[1 :a/b #float "1.5" 5 true]
[1 :a/b 1.10M 5 true]
[1 :a/b 1/3 5 true]
[1 :a/b \a 5 true]
[1 :a/b "" 5 true]
[1 :a/b "é\u0000😀" 5 true]
[1 :a/b :k/w 5 true]
[1 :a/b s/y 5 true]
[1 :a/b #uuid "00112233-4455-6677-8899-aabbccddeeff" 5 true]
[1 :a/b #inst "2024-01-02T03:04:05.678-00:00" 5 true]
[1 :a/b #bytes "0001ff" 5 true]
[1 :a/b #uri "urn:x" 5 true]
[1 :a/b [1 nil "x"] 5 true]
[1 :a/b (1 2) 5 true]
[1 :a/b #{1 2} 5 true]
[1 :a/b {:k 1} 5 true]
[1 :a/b #floats [1.5 -0.0] 5 true]
[1 :a/b #doubles [1.5 -0.0] 5 true]
[1 :a/b #my/tag [1] 5 true]
[2 17 9 6 true]
[2 "plain" 9 6 true]
"##;

fn keys_of(lines: &str) -> Vec<Vec<u8>> {
    let key = |line: &str| {
        let mut key = Vec::new();
        encode_key(&edn::parse_datom_line(line.as_bytes()).unwrap(), &mut key).unwrap();
        key
    };
    lines.lines().filter(|line| !line.is_empty()).map(key).collect()
}

fn rows_of(mut keys: Vec<Vec<u8>>) -> Rows {
    keys.sort();
    let mut rows = Rows::new();
    keys.iter().for_each(|key| rows.push(key, &[]));
    rows
}

pub fn build_records() -> Value {
    let datoms: Vec<_> = LINES
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let hash = Digest::hash(&edn::parse_datom_line(line.as_bytes()).unwrap());
            json!({ "edn": line, "key": hex(&keys_of(line)[0]), "digest_hash": format!("{hash:016x}") })
        })
        .collect();
    let rows = rows_of(keys_of(LINES));
    let series: String = (0..40)
        .map(|i| format!("[{} :n/{} {} {} {}]\n", i / 2, ["a", "b"][i % 2], 1000 + i * i, 7 + i / 8, i % 5 != 0))
        .chain((0..20).map(|i| format!("[{i} :h/sum \"{:064x}\" 9 true]\n", i * 7919)))
        .chain((0..20).map(|i| format!("[{i} :s/version \"1.{}.{}-deb\" 9 true]\n", i / 4, i)))
        .collect();
    let series_rows = rows_of(keys_of(&series));
    let leaf = |rows: &Rows| {
        json!({ "keys": rows.iter().map(|(key, _)| hex(key)).collect::<Vec<_>>(),
            "columns": hex(&Datoms.encode(rows)), "summary": hex(&Datoms.summarize(rows)) })
    };
    json!({ "datoms": datoms, "leaves": [leaf(&rows), leaf(&series_rows)] })
}

pub fn decode_records(vector: &Value) {
    let bytes = |value: &Value| unhex(value.as_str().unwrap()).unwrap();
    for datom in vector["datoms"].as_array().unwrap() {
        let (key, mut text) = (bytes(&datom["key"]), Vec::new());
        edn::print_datom(&decode_key(&key).unwrap(), &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), datom["edn"].as_str().unwrap());
    }
    for leaf in vector["leaves"].as_array().unwrap() {
        let rows = Datoms.decode(&bytes(&leaf["columns"])).unwrap();
        let keys: Vec<String> = rows.iter().map(|(key, _)| hex(key)).collect();
        assert_eq!(json!(keys), leaf["keys"]);
        assert_eq!(Summary::decode(&bytes(&leaf["summary"])).unwrap().encode(), Datoms.summarize(&rows));
    }
}

/// Keeps every node in the order in which it was written.
#[derive(Default)]
struct Nodes(Vec<(BlobId, Node)>);

impl WriteNode for Nodes {
    fn write_node(&mut self, node: Node) -> Result<BlobId, Error> {
        let id = fixture::keys().blob_id_node(&node.canonical());
        self.0.push((id, node));
        Ok(id)
    }
}

fn parameters() -> TreeParameters {
    let keys = fixture::keys();
    TreeParameters::new(&Items, &TreeKeys { split: keys.tree_split_key(), long_key: keys.tree_long_key() })
}

/// 4,000 items whose values are as long as their number says; one key is too long for a separator.
fn items() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut items: Vec<_> = (0..4000_u32)
        .map(|n| (format!("key {n:05}").into_bytes(), vec![n.to_le_bytes()[0]; 40 + n as usize % 90]))
        .collect();
    items.push((vec![b'k'; 300], b"long".to_vec()));
    items.sort();
    items
}

pub fn build_tree() -> Value {
    let mut nodes = Nodes::default();
    let mut builder = Builder::new(&parameters());
    for (key, value) in items() {
        assert_eq!(builder.push(&mut nodes, &key, &value).unwrap(), Pushed::New);
    }
    let root = builder.finish(&mut nodes).unwrap();
    let shapes: Vec<_> = nodes
        .0
        .iter()
        .map(|(id, node)| {
            let last = node.rows.key(node.rows.len() - 1);
            json!({ "id": id.to_string(), "level": node.level, "rows": node.rows.len(), "last_key": hex(last) })
        })
        .collect();
    let top = &nodes.0.last().unwrap().1;
    json!({
        "split_key": hex(&fixture::keys().tree_split_key()),
        "long_key": hex(&fixture::keys().tree_long_key()),
        "items": "n from 0 to 3999: key `key %05d`, value (40 + n mod 90) bytes of n mod 256; and 300 bytes `k` with value `long`",
        "nodes": shapes,
        "root": { "id": root.id.unwrap().to_string(), "level": root.level, "records": root.records,
            "row_bytes": root.row_bytes, "canonical": hex(&top.canonical()), "kept": hex(&top.encode()) },
    })
}

pub fn decode_tree(vector: &Value) {
    let bytes = |value: &Value| unhex(value.as_str().unwrap()).unwrap();
    let root = &vector["root"];
    let top = Node::decode(&bytes(&root["kept"])).unwrap();
    assert_eq!(top, Node::from_canonical(&bytes(&root["canonical"])).unwrap());
    let id = fixture::keys().blob_id_node(&bytes(&root["canonical"]));
    assert_eq!(json!(id.to_string()), root["id"]);
    assert_eq!(json!(top.level), root["level"]);
}
