//! Writes what each target starts from, `write_seeds FOLDER`: the vectors of the format, opened, and the fixtures.

use std::fs;
use std::path::{Path, PathBuf};

use packstone::format::{PackTrailer, verify_pack};
use packstone::id::{PackId, unhex};
use packstone::record::datom::edn::parse_datom_line;
use packstone::record::datom::{Datoms, encode_key, encode_value};
use packstone::record::{Entries, Items, RecordKind, Rows};
use packstone::tree::{Child, Node};
use packstone_fuzz::{Object, keys, open_directory};
use serde_json::Value;

struct Seeds(PathBuf);

impl Seeds {
    fn put(&self, target: &str, bytes: &[u8]) {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).expect("the corpus can be written");
        fs::write(folder.join(&blake3::hash(bytes).to_hex()[..16]), bytes).expect("the corpus can be written");
    }
}

fn main() {
    let seeds = Seeds(std::env::args_os().nth(1).expect("a folder is named").into());
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    objects(&seeds, &project.join("format-spec/vectors"));
    entries(&seeds, &vector(&project.join("format-spec/vectors"), "entries.json"));
    datoms(&seeds, &project.join("tests/fixtures"));
    texts(&seeds);
}

fn vector(folder: &Path, name: &str) -> Value {
    let text = fs::read_to_string(folder.join(name)).expect("the vectors can be read");
    serde_json::from_str(&text).expect("vectors are JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().expect("a text")).expect("hexadecimal")
}

fn objects(seeds: &Seeds, folder: &Path) {
    let vectors = vector(folder, "objects.json");
    let object = |name: &str| bytes(&vectors[name]["object"]);
    for (which, name, kind) in [
        (0, "session", Object::Session),
        (1, "heartbeat", Object::Heartbeat),
        (2, "gc", Object::Gc),
        (3, "ledger", Object::Ledger),
    ] {
        seeds.put("control_objects", &[&[which], &kind.open(&object(name))[..]].concat());
    }
    let config = object("config");
    seeds.put("config", &config[10..config.len() - 64]);
    seeds.put("config", &config);
    for outcome in vector(folder, "snapshot.json")["outcomes"].as_array().expect("a list") {
        seeds.put("outcome", &Object::Outcome.open(&bytes(&outcome["object"])));
    }
    seeds.put("index_content", &Object::Index.open(&bytes(&vector(folder, "index.json")["object"])));
    let pack = bytes(&vector(folder, "pack.json")["object"]);
    seeds.put("pack", &pack);
    seeds.put("pack", &pack[8..pack.len() - 32]);
    let trailer = PackTrailer::decode(&pack, pack.len() as u64).expect("the pack of the vectors");
    let range = trailer.directory_range();
    let frames_len = u32::try_from(range.start - 8).expect("a short pack").to_le_bytes();
    seeds.put("pack_directory", &[&frames_len, &open_directory(&pack, range, trailer.epoch)[..]].concat());
    let id = PackId::new(blake3::hash(&pack).into());
    for (i, frame) in verify_pack(keys(), id, &pack).expect("the pack of the vectors").frames.iter().enumerate() {
        let range = frame.range().start as usize..frame.range().end as usize;
        let entry = postcard::to_stdvec(frame).expect("an entry can be written");
        seeds.put("frame_entry", &[&entry, &pack[range]].concat());
        let delta = bytes(&vector(folder, "blob-and-frame.json")["delta_body"]);
        let [a, b, c, _] = frame.raw_len.to_le_bytes();
        if i > 0 {
            seeds.put("frame", &[&[2, a, b, c], &delta[..]].concat());
        }
    }
    let mut body = Vec::new();
    let raw = b"[17592186045418 :person/name]".repeat(40);
    packstone::compression::Compressor::new(3).compress(&raw, &mut body);
    let [a, b, c, _] = (raw.len() as u32).to_le_bytes();
    seeds.put("frame", &[&[1, a, b, c], &body[..]].concat());
    seeds.put("frame", &[&[0, a, b, c], &raw[..]].concat());
    let vectors = vector(folder, "sealing-and-keys.json");
    seeds.put("key_slot", &bytes(&vectors["keyring"]));
    for slot in vectors["slots"].as_array().expect("a list") {
        let slot = bytes(&slot["object"]);
        seeds.put("key_slot", &slot);
        seeds.put("key_slot", &[&slot[6..7], &slot[10..]].concat());
    }
}

fn entries(seeds: &Seeds, vectors: &Value) {
    let listed = |name: &str| vectors[name].as_array().expect("a list").clone();
    seeds.put("entry_columns", &bytes(&vectors["columns"]));
    seeds.put("entry_row", &bytes(&vectors["summary"]));
    for entry in listed("entries") {
        let (key, value) = (bytes(&entry["key"]), bytes(&entry["value"]));
        let mut rows = Rows::new();
        rows.push(&key, &value);
        seeds.put("entry_columns", &Entries.encode(&rows));
        seeds.put("entry_row", &value);
    }
    seeds.put("extent_columns", &bytes(&vectors["columns_of_extents"]));
    for extent in listed("extents") {
        seeds.put("entry_row", &[bytes(&extent["key"]), bytes(&extent["value"])].concat());
    }
}

fn datoms(seeds: &Seeds, folder: &Path) {
    let read = |name: &str| fs::read(folder.join(name)).expect("the fixtures can be read");
    let history = read("a-small-history/datoms-history.edn");
    let mut keys = Vec::new();
    for line in history.split(|byte| *byte == b'\n').step_by(5) {
        let Ok(datom) = parse_datom_line(line) else { continue };
        seeds.put("edn", line);
        let mut text = Vec::new();
        packstone::record::datom::json::print_datom(&datom, &mut text);
        seeds.put("json", &text);
        let mut value = Vec::new();
        packstone::record::datom::edn::print_value(&datom.v, &mut value);
        seeds.put("edn", &value);
        value.clear();
        encode_value(&datom.v, &mut value).expect("the fixtures can be stored");
        seeds.put("datom_value", &value);
        let mut key = Vec::new();
        encode_key(&datom, &mut key).expect("the fixtures can be stored");
        seeds.put("datom_key", &key);
        keys.push(key);
    }
    keys.sort();
    keys.dedup();
    for part in keys.chunks(60) {
        trees(seeds, part);
    }
    seeds.put("datoms_file", &history[..2000]);
    let flat = read("a-small-history/export-db.cbor");
    seeds.put("datoms_file", &flat[..3000]);
    chunks(seeds, "cbor", &flat);
    let dump = read("head-small-history/dump-history-none/datoms-000001.cbor");
    chunks(seeds, "cbor", &dump);
    for line in String::from_utf8_lossy(&read("fressian-golden.txt")).lines() {
        if let Some(Ok(document)) = line.split(' ').next_back().map(unhex) {
            seeds.put("fressian", &document);
        }
    }
    for (kind, target) in [("cbor", "cbor"), ("fressian", "fressian")] {
        let folder = format!("datacamp/a-small-history/{kind}");
        let chunk = unzip(&read(&format!("{folder}/chunks/datoms-0.fressian.gz")));
        seeds.put(target, &chunk);
        let manifest = read(&format!("{folder}/manifest.edn"));
        seeds.put("manifest", &manifest);
        let manifest = String::from_utf8(manifest).expect("manifests are text");
        let checksum = value_of(&manifest, ":chunk/checksum \"");
        seeds.put("datacamp_directory", &[manifest.replace(checksum, "@sha").as_bytes(), b"\0", &chunk].concat());
    }
    let manifest = read("head-small-history/dump-history-none/manifest.edn");
    seeds.put("manifest", &manifest);
    let manifest = String::from_utf8(manifest).expect("manifests are text");
    let checksum = value_of(&manifest, ":sha256 \"");
    seeds.put("dump_directory", &[manifest.replace(checksum, "@sha").as_bytes(), b"\0", &dump].concat());
}

/// The text between `key` and the next quotation mark.
fn value_of<'t>(text: &'t str, key: &str) -> &'t str {
    text.split(key).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("no such key")
}

/// What `gzip` made of something, with the program of that name: the package's own decoder is to be tested.
fn unzip(zipped: &[u8]) -> Vec<u8> {
    let path = packstone_fuzz::folder().join("zipped");
    fs::write(&path, zipped).expect("the folder takes files");
    let output =
        std::process::Command::new("gzip").arg("-dc").stdin(fs::File::open(&path).expect("just written")).output();
    output.expect("gzip is there").stdout
}

/// Every item of a sequence, then some of them together.
fn chunks(seeds: &Seeds, target: &str, sequence: &[u8]) {
    let mut rest = sequence;
    let mut count = 0;
    while let Ok(len) = packstone::record::datom::cbor::skip(rest)
        && count < 300
    {
        seeds.put(target, &rest[..len]);
        rest = &rest[len..];
        count += 1;
    }
}

/// Leaves, inner nodes, summaries and proofs over these keys.
fn trees(seeds: &Seeds, keys: &[Vec<u8>]) {
    let (mut rows, mut items) = (Rows::new(), Rows::new());
    for key in keys {
        rows.push(key, &[]);
        items.push(key, b"value");
    }
    seeds.put("datom_columns", &Datoms.encode(&rows));
    seeds.put("item_columns", &Items.encode(&items));
    let summary = Datoms.summarize(&rows);
    seeds.put("summary", &summary);
    seeds.put("summary", &summary.repeat(2));
    let last = keys.last().expect("there are keys");
    let child = Child { id: packstone::id::BlobId::new([7; 32]), records: 60, row_bytes: 4000, summary };
    let mut children = Rows::new();
    children.push(last, &child.encode());
    seeds.put("node", &child.encode());
    let leaf = Node { kind: 1, level: 0, rows };
    let inner = Node { kind: 1, level: 1, rows: children };
    for node in [&leaf, &inner, &Node { kind: 2, level: 0, rows: items }] {
        seeds.put("node", &node.canonical());
        seeds.put("node", &node.encode());
    }
    let mut proof = Vec::new();
    for node in [&inner, &leaf] {
        let canonical = node.canonical();
        proof.push(0);
        proof.extend_from_slice(&(canonical.len() as u16).to_le_bytes());
        proof.extend_from_slice(&canonical);
    }
    seeds.put("proof", &proof);
}

fn texts(seeds: &Seeds) {
    for text in ["536870913", "-1", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123+01:00", "-000001-01-01T00:00Z"] {
        seeds.put("time_point", text.as_bytes());
    }
    for text in ["1y6m7d3h", "2w", "0h", "100000y", " 7d "] {
        seeds.put("duration", text.as_bytes());
    }
    for text in ["config", "packs/3f/3fa1", "index/0/aa", "sessions/aa/12", "gc/0000000001", "a/../b", "/a"] {
        seeds.put("object_path", text.as_bytes());
    }
    for text in ["latest", "latest~2", "0101", ":db/*,*", "a,12,:person/name"] {
        seeds.put("selection", text.as_bytes());
    }
    for line in
        ["[1 :a/b \"x\\u0041\" 536870913 true]", "[1 :a #{1 2N} 5 false]", "[1 a {:b [1.5M nil \\a 1/3]} 5 true]"]
    {
        seeds.put("edn", line.as_bytes());
    }
}
