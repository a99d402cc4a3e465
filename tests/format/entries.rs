//! Vectors of entries and extents: fields to rows, rows to columns and summaries.

use std::collections::BTreeMap;

use packstone::id::{BlobId, hex, unhex};
use packstone::record::entry::{
    Body, Content, DeviceNumber, Entry, Head, Link, Owner, Summary, Time, Xattr, XattrValue, key_of_path, path_of_key,
};
use packstone::record::{Entries, Extent, Extents, RecordKind, Reference, Rows, Subtree};
use serde_json::{Value, json};

use super::fixture::counting;

fn id(first: u8) -> BlobId {
    BlobId::new(counting(first))
}

fn plain(body: Body, mode: u32, inode: u64) -> Entry {
    let owner = Owner { uid: 1000, gid: 100, user: "anna".into(), group: "users".into() };
    let mtime = Time { seconds: 1_700_000_000, nanos: 123_456_789 };
    Entry { body, mode, owner, mtime, ctime: mtime, atime: None, inode, link: None, xattrs: Vec::new() }
}

fn file(size: u64, content: Content) -> Body {
    Body::File { size, content }
}

/// Every kind of path, every form of content, every rare field.
fn entries() -> BTreeMap<Vec<u8>, Entry> {
    let extents = |spans: &[(u64, u32)]| {
        let extent = |(i, (offset, length)): (u8, &(u64, u32))| Extent { offset: *offset, length: *length, id: id(i) };
        Content::Extents((0x40..).zip(spans).map(extent).collect())
    };
    let root = Owner::default();
    let tree = Subtree { kind: 4, id: id(0x80), level: 1, records: 3000, row_bytes: 126_000, summary: Vec::new() };
    let xattr = |name: &str, value| Xattr { name: name.into(), value };
    let attributes = vec![
        xattr("security.capability", XattrValue::Chunk(id(0x90))),
        xattr("user.comment", XattrValue::Inline(b"short".to_vec())),
    ];
    let device = DeviceNumber { major: 259, minor: 70_000 };
    let entries: Vec<(&[u8], Entry)> = vec![
        (b"/", Entry { owner: root.clone(), ..plain(Body::Directory, 0o755, 2) }),
        (b"/data", plain(Body::Directory, 0o1777, 100)),
        (b"/data/empty", plain(file(0, Content::Inline(Vec::new())), 0o644, 101)),
        (b"/data/hello", plain(file(5, Content::Inline(b"hello".to_vec())), 0o644, 102)),
        (b"/data/whole", plain(file(3000, extents(&[(0, 3000)])), 0o644, 103)),
        (b"/data/whole too", plain(file(129, extents(&[(0, 129)])), 0o644, 99)),
        (b"/data/all hole", plain(file(1 << 40, extents(&[])), 0o644, u64::MAX)),
        (b"/data/holes", plain(file(1 << 33, extents(&[(4096, 8192), (12_288, 4096), (1 << 32, 70)])), 0o600, 105)),
        (b"/data/tree", plain(file(1 << 31, Content::Tree(tree)), 0o600, 106)),
        (b"/data/link", plain(Body::Symlink { target: b"../nowhere/\xff".to_vec() }, 0o777, 107)),
        (b"/data.d", plain(Body::Directory, 0o755, 108)),
        (b"/data/not \xff UTF-8 \xc3", plain(file(1, Content::Inline(b"x".to_vec())), 0o4755, 109)),
        (
            b"/data/old",
            Entry { mtime: Time { seconds: -5_000_000_000, nanos: 999_999_999 }, ..plain(Body::Fifo, 0, 110) },
        ),
        (b"/data/socket", Entry { owner: root, ..plain(Body::Socket, 0o755, 111) }),
        (b"/data/tty", plain(Body::CharacterDevice { device }, 0o620, 112)),
        (b"/data/disk", plain(Body::BlockDevice { device }, 0o660, 113)),
        (b"/data/attributes", Entry { xattrs: attributes.clone(), ..plain(Body::Directory, 0o700, 114) }),
        (b"/data/attributes too", Entry { xattrs: attributes, ..plain(Body::Directory, 0o700, 115) }),
        (
            b"/data/two names",
            Entry {
                link: Some(Link { device: 66_306, count: 2 }),
                atime: Some(Time { seconds: 1_700_000_001, nanos: 0 }),
                ctime: Time { seconds: 1_700_000_000, nanos: 123_456_790 },
                ..plain(file(2, Content::Inline(b"ab".to_vec())), 0o644, 116)
            },
        ),
    ];
    let key = |path: &[u8]| {
        let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path);
        key_of_path(std::path::Path::new(path)).unwrap()
    };
    entries.into_iter().map(|(path, entry)| (key(path), entry)).collect()
}

fn rows<'a>(rows: impl IntoIterator<Item = (&'a [u8], Vec<u8>)>) -> Rows {
    let mut all = Rows::new();
    rows.into_iter().for_each(|(key, value)| all.push(key, &value));
    all
}

fn extents() -> Vec<Extent> {
    let mut end = 0;
    let place = |(i, gap, length): (u8, u64, u32)| {
        let extent = Extent { offset: end + gap, length, id: id(i) };
        end = extent.end();
        extent
    };
    [(0, 0, 700_000), (1, 0, 1), (2, 1 << 33, u32::MAX), (3, 65_536, 65_536)].into_iter().map(place).collect()
}

fn time(time: Time) -> Value {
    json!([time.seconds, time.nanos])
}

fn body(body: &Body) -> Value {
    let extent = |extent: &Extent| json!([extent.offset, extent.length, extent.id.to_string()]);
    match body {
        Body::File { size, content: Content::Inline(bytes) } => json!({ "file": size, "inline": hex(bytes) }),
        Body::File { size, content: Content::Extents(extents) } => {
            json!({ "file": size, "extents": extents.iter().map(extent).collect::<Vec<_>>() })
        }
        Body::File { size, content: Content::Tree(tree) } => {
            json!({ "file": size, "tree": [tree.id.to_string(), tree.level, tree.records, tree.row_bytes] })
        }
        Body::Directory => json!("directory"),
        Body::Symlink { target } => json!({ "symlink": hex(target) }),
        Body::Fifo => json!("fifo"),
        Body::Socket => json!("socket"),
        Body::CharacterDevice { device } => json!({ "character_device": [device.major, device.minor] }),
        Body::BlockDevice { device } => json!({ "block_device": [device.major, device.minor] }),
    }
}

fn fields(key: &[u8], entry: &Entry) -> Value {
    let xattr = |xattr: &Xattr| match &xattr.value {
        XattrValue::Inline(value) => json!([hex(&xattr.name), hex(value)]),
        XattrValue::Chunk(id) => json!([hex(&xattr.name), { "chunk": id.to_string() }]),
    };
    json!({
        "path": hex(std::os::unix::ffi::OsStrExt::as_bytes(path_of_key(key).as_os_str())),
        "mode": format!("{:o}", entry.mode),
        "owner": [entry.owner.uid, entry.owner.gid, entry.owner.user, entry.owner.group],
        "mtime": time(entry.mtime), "ctime": time(entry.ctime), "atime": entry.atime.map(time),
        "inode": entry.inode,
        "link": entry.link.map(|link| [link.device, link.count]),
        "xattrs": entry.xattrs.iter().map(xattr).collect::<Vec<_>>(),
        "body": body(&entry.body),
        "key": hex(key),
        "value": hex(&entry.encode()),
    })
}

pub fn build() -> Value {
    let entries = entries();
    let leaf = rows(entries.iter().map(|(key, entry)| (&key[..], entry.encode())));
    let extents = extents();
    let spans: Vec<_> = extents
        .iter()
        .map(|e| json!({ "extent": [e.offset, e.length, e.id.to_string()], "key": hex(&e.key()), "value": hex(&e.value()) }))
        .collect();
    let keys: Vec<_> = extents.iter().map(Extent::key).collect();
    let file = rows(keys.iter().zip(&extents).map(|(key, extent)| (&key[..], extent.value())));
    json!({
        "entries": entries.iter().map(|(key, entry)| fields(key, entry)).collect::<Vec<_>>(),
        "columns": hex(&Entries.encode(&leaf)),
        "summary": hex(&Entries.summarize(&leaf)),
        "extents": spans,
        "columns_of_extents": hex(&Extents.encode(&file)),
    })
}

pub fn decode(vector: &Value) {
    let bytes = |value: &Value| unhex(value.as_str().unwrap()).unwrap();
    let listed = |name: &str| {
        let rows = vector[name].as_array().unwrap().iter();
        rows.map(|row| (bytes(&row["key"]), bytes(&row["value"]))).collect::<Vec<_>>()
    };
    let same = |rows: Rows, name: &str| {
        let rows: Vec<_> = rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        assert_eq!(rows, listed(name));
    };
    same(Entries.decode(&bytes(&vector["columns"])).unwrap(), "entries");
    same(Extents.decode(&bytes(&vector["columns_of_extents"])).unwrap(), "extents");
    for (vector, (key, value)) in vector["entries"].as_array().unwrap().iter().zip(listed("entries")) {
        assert_eq!(&fields(&key, &Entry::decode(&value).unwrap()), vector);
    }
    let summary = Summary::decode(&bytes(&vector["summary"])).unwrap();
    assert_eq!((summary.files, summary.directories, summary.others), (9, 5, 5));
    assert_eq!((summary.largest, summary.oldest_mtime_seconds), (1 << 40, -5_000_000_000));
    let mut references = Vec::new();
    for (_, value) in listed("entries") {
        Head::parse(&value).unwrap().references(&mut references).unwrap();
    }
    assert_eq!(references.iter().filter(|reference| matches!(reference, Reference::Tree(_))).count(), 1);
    assert_eq!(references.len(), 8);
}
