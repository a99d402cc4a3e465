//! What entries cost, measured on real trees: `cargo bench --bench entries -- [DIR...]`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints and may panic")]

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use packstone::compression::{Compressed, Compressor};
use packstone::error::Error;
use packstone::id::BlobId;
use packstone::record::entry::{
    Body, Content, Entry, Head, INLINE_CONTENT_MAX, Link, Owner, Time, child_key, key_of_path,
};
use packstone::record::{Entries, Extent, RecordKind, Rows};
use packstone::tree::{Builder, Node, TreeKeys, TreeParameters, WriteNode};

/// Stored forms of node frames are about as long.
const FRAME_BYTES: usize = 192 << 10;

fn entry(path: &Path, key: &[u8]) -> Option<Entry> {
    let stat = std::fs::symlink_metadata(path).ok()?;
    let body = if stat.is_dir() {
        Body::Directory
    } else if stat.is_symlink() {
        Body::Symlink { target: std::fs::read_link(path).ok()?.into_os_string().into_vec() }
    } else if stat.len() <= INLINE_CONTENT_MAX as u64 {
        let bytes = std::fs::read(path).ok()?;
        Body::File { size: bytes.len() as u64, content: Content::Inline(bytes) }
    } else {
        let extent =
            Extent { offset: 0, length: stat.len().try_into().ok()?, id: BlobId::new(blake3::hash(key).into()) };
        Body::File { size: stat.len(), content: Content::Extents(vec![extent]) }
    };
    let time = |seconds, nanos: i64| Time { seconds, nanos: u32::try_from(nanos).unwrap() };
    let owner = Owner { uid: stat.uid(), gid: stat.gid(), user: "root".into(), group: "root".into() };
    let link = (stat.nlink() > 1 && !stat.is_dir()).then(|| Link { device: stat.dev(), count: stat.nlink() });
    let (mtime, ctime) = (time(stat.mtime(), stat.mtime_nsec()), time(stat.ctime(), stat.ctime_nsec()));
    let (mode, inode) = (stat.mode() & 0o7777, stat.ino());
    Some(Entry { body, mode, owner, mtime, ctime, atime: None, inode, link, xattrs: Vec::new() })
}

fn walk(path: PathBuf, key: Vec<u8>, found: &mut Vec<(Vec<u8>, Entry)>) {
    let Some(entry) = entry(&path, &key) else { return };
    let is_directory = entry.is_directory();
    found.push((key.clone(), entry));
    if is_directory && let Ok(listing) = std::fs::read_dir(&path) {
        for name in listing.flatten().map(|entry| entry.file_name()) {
            walk(path.join(&name), child_key(&key, &name.into_vec()), found);
        }
    }
}

#[derive(Default)]
struct Leaves(Vec<Rows>, usize);

impl WriteNode for Leaves {
    fn write_node(&mut self, node: Node) -> Result<BlobId, Error> {
        let id = BlobId::new(blake3::hash(&node.canonical()).into());
        if node.level == 0 {
            self.0.push(node.rows);
        } else {
            self.1 += node.canonical().len();
        }
        Ok(id)
    }
}

fn measure(folder: &Path) {
    let mut found = Vec::new();
    walk(folder.to_owned(), key_of_path(folder).unwrap(), &mut found);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let ids = found.iter().filter(|(_, e)| matches!(e.body, Body::File { content: Content::Extents(_), .. })).count();
    let parameters = TreeParameters::new(&Entries, &TreeKeys { split: [1; 16], long_key: [2; 32] });
    let (mut builder, mut leaves) = (Builder::new(&parameters), Leaves::default());
    for (key, entry) in &found {
        let _ = builder.push(&mut leaves, key, &entry.encode()).unwrap();
    }
    let row_bytes = builder.finish(&mut leaves).unwrap().row_bytes;
    let Leaves(leaves, inner_bytes) = leaves;
    let start = Instant::now();
    let kept: Vec<Vec<u8>> = leaves.iter().map(|rows| Entries.encode(rows)).collect();
    let encoding = start.elapsed();
    let (mut compressor, mut compressed, mut frame) = (Compressor::new(3), Vec::new(), Vec::new());
    let mut compressed_bytes = 0;
    for (i, leaf) in kept.iter().enumerate() {
        frame.extend_from_slice(leaf);
        if frame.len() > FRAME_BYTES || i + 1 == kept.len() {
            compressed_bytes += match compressor.compress(&frame, &mut compressed) {
                Compressed::Zstd => compressed.len(),
                Compressed::Raw => frame.len(),
            };
            frame.clear();
        }
    }
    let (start, mut same, mut at) = (Instant::now(), 0, 0);
    for leaf in &kept {
        for (key, value) in Entries.decode(leaf).unwrap().iter() {
            let (head, (known, entry)) = (Head::parse(value).unwrap(), &found[at]);
            let unchanged = head.size == entry.size() && head.mtime == entry.mtime && head.ctime == entry.ctime;
            same += usize::from(key == known && unchanged && head.inode == entry.inode);
            at += 1;
        }
    }
    let decoding = start.elapsed();
    let (n, kept_bytes) = (found.len(), kept.iter().map(Vec::len).sum::<usize>());
    assert_eq!(same, n);
    let each = |bytes: usize| bytes as f64 / n as f64;
    println!(
        "{}: {n} entries, {:.0} in a leaf of {} bytes; bytes an entry: rows {:.1}, columns {:.1}, compressed {:.1}, \
         without ids {:.1}, inner nodes {:.1}; encoding {encoding:?}, decoding and comparing {decoding:?}",
        folder.display(),
        n as f64 / kept.len() as f64,
        kept_bytes / kept.len(),
        row_bytes as f64 / n as f64,
        each(kept_bytes),
        each(compressed_bytes),
        each(compressed_bytes - ids * BlobId::LEN),
        each(inner_bytes),
    );
}

fn main() {
    let given: Vec<_> = std::env::args_os().skip(1).filter(|word| word != "--bench").map(PathBuf::from).collect();
    let folders = if given.is_empty() { vec![PathBuf::from("/usr/share"), PathBuf::from("/usr")] } else { given };
    folders.iter().for_each(|folder| measure(folder));
}
