//! The export format of ncdu 1.x, written as paths come: arrays of arrays, one for each open directory.

use std::path::Path;

use packstone::record::entry::{self, Body, Entry};
use serde_json::{Map, Value, json};

/// Bytes of a block of `st_blocks`, in which disk usage is counted.
const BLOCK_BYTES: u64 = 512;

/// Turns paths in the order of keys into a document.
pub struct Export {
    /// Keys of the directories whose arrays are open, outermost first.
    open: Vec<Vec<u8>>,
}

impl Export {
    /// Appends the head of the document.
    pub fn begin(timestamp: i64, out: &mut Vec<u8>) -> Self {
        let head = json!({
            "progname": env!("CARGO_PKG_NAME"),
            "progver": env!("CARGO_PKG_VERSION"),
            "timestamp": timestamp,
        });
        out.extend_from_slice(format!("[1,2,{head}").as_bytes());
        Self { open: Vec::new() }
    }

    /// Appends a path, and the directories that lead to it where they did not come themselves.
    pub fn put(&mut self, key: &[u8], entry: &Entry, out: &mut Vec<u8>) {
        self.close_all_but(key, out);
        self.open_down_to(key, out);
        if entry.is_directory() {
            self.open_directory(key, facts(entry), out);
        } else {
            out.extend_from_slice(b",\n");
            object(entry::name_of(key), facts(entry), out);
        }
    }

    /// Appends what closes the document.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.open.is_empty() {
            self.open_directory(&[], Map::new(), out);
        }
        out.extend(self.open.iter().map(|_| b']'));
        out.extend_from_slice(b"]\n");
    }

    fn close_all_but(&mut self, key: &[u8], out: &mut Vec<u8>) {
        let is_above = |directory: &[u8]| {
            directory.is_empty() && !key.is_empty()
                || key.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&0))
        };
        while self.open.last().is_some_and(|directory| !is_above(directory)) {
            self.open.pop();
            out.push(b']');
        }
    }

    /// The outermost array is the root directory's.
    fn open_down_to(&mut self, key: &[u8], out: &mut Vec<u8>) {
        let mut missing = Vec::new();
        let mut above = key;
        while let Some(parent) = entry::parent_of(above) {
            if self.open.last().is_some_and(|directory| directory == parent) {
                break;
            }
            missing.push(parent.to_vec());
            above = parent;
        }
        for directory in missing.into_iter().rev() {
            self.open_directory(&directory, Map::new(), out);
        }
    }

    fn open_directory(&mut self, key: &[u8], facts: Map<String, Value>, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\n[");
        let name = if key.is_empty() { Path::new("/").as_os_str().as_encoded_bytes() } else { entry::name_of(key) };
        object(name, facts, out);
        self.open.push(key.to_vec());
    }
}

fn facts(entry: &Entry) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut put = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    if entry.size() > 0 {
        put("asize", json!(entry.size()));
        put("dsize", json!(entry.size().div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)));
    }
    put("ino", json!(entry.inode));
    if let Some(link) = entry.link {
        put("dev", json!(link.device));
        put("nlink", json!(link.count));
        put("hlnkc", json!(true));
    }
    if !matches!(entry.body, Body::File { .. } | Body::Directory) {
        put("notreg", json!(true));
    }
    put("uid", json!(entry.owner.uid));
    put("gid", json!(entry.owner.gid));
    put("mode", json!(entry.mode));
    put("mtime", json!(entry.mtime.seconds));
    facts
}

/// Names that are not UTF-8 stand as they are, which ncdu expects.
fn object(name: &[u8], facts: Map<String, Value>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"name\":\"");
    for &byte in name {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..32 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    for (field, value) in facts {
        out.extend_from_slice(format!(",\"{field}\":{value}").as_bytes());
    }
    out.push(b'}');
}
