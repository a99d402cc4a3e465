//! The index at ten million blobs (or as many as the first argument says): disk, anonymous memory, look-ups per second.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::hint::black_box;
use std::time::Instant;

use packstone::Result;
use packstone::format::{BlobEntry, BlobKind, Codec, FrameEntry, IndexedPack, PackDirectory, RetentionClass};
use packstone::id::{BlobId, IndexId, PackId};
use packstone::index::{Index, MarkSet};

const BLOBS_PER_FRAME: u64 = 4;
const FRAMES_PER_PACK: u64 = 32;
const PACKS_PER_OBJECT: u64 = 2048;
const LOOKUPS: u64 = 1_000_000;

fn main() -> Result<()> {
    let wanted = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let packs_count = wanted / (BLOBS_PER_FRAME * FRAMES_PER_PACK) + 1;
    let blobs_count = packs_count * BLOBS_PER_FRAME * FRAMES_PER_PACK;
    let cache = tempfile::tempdir().map_err(|error| packstone::Error::io("temporary folder", error))?;
    let folder = Some(cache.path().to_owned());
    let memory_limit = 32 << 20;
    memory("at the start");

    let mut index = Index::new(folder.clone(), memory_limit)?;
    let start = Instant::now();
    let mut objects = Vec::new();
    for (object, first) in (0..packs_count).step_by(PACKS_PER_OBJECT as usize).enumerate() {
        let packs: Vec<_> = (first..packs_count.min(first + PACKS_PER_OBJECT)).map(pack).collect();
        objects.push(IndexId::new(id(1 << 40 | object as u64)));
        index.add_object(objects[object], &packs)?;
    }
    report("add index objects", blobs_count, start);
    println!(
        "  {} objects, {:.1} bytes on disk per blob",
        objects.len(),
        index.disk_bytes() as f64 / blobs_count as f64
    );
    memory("after adding");
    drop(index);

    let start = Instant::now();
    let mut index = Index::new(folder, memory_limit)?;
    for object in &objects {
        assert!(index.load_cached(*object)?);
    }
    report("load from the cache", blobs_count, start);
    memory("after loading");

    let known = |n: u64| BlobId::new(id(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % blobs_count));
    let unknown = |n: u64| BlobId::new(id(1 << 50 | n));
    let start = Instant::now();
    assert!((0..LOOKUPS).all(|n| index.contains(&known(n))));
    report("contains, known", LOOKUPS, start);
    let start = Instant::now();
    assert!(!(0..LOOKUPS).any(|n| index.contains(&unknown(n))));
    report("contains, unknown", LOOKUPS, start);
    let start = Instant::now();
    assert!((0..LOOKUPS / 10).all(|n| black_box(index.find(&known(n))).is_some()));
    report("find at random", LOOKUPS / 10, start);
    let start = Instant::now();
    assert!((0..LOOKUPS).all(|n| black_box(index.find(&BlobId::new(id(n)))).is_some()));
    report("find in order", LOOKUPS, start);
    let start = Instant::now();
    let mut marks = MarkSet::new(index.ordinals());
    let marked = (0..LOOKUPS).filter_map(|n| index.ordinal(&known(n))).filter(|ordinal| marks.insert(*ordinal)).count();
    assert_eq!(marked as u64, marks.len());
    report("mark", LOOKUPS, start);
    let start = Instant::now();
    assert_eq!(index.packs().filter(|pack| pack.is_ok()).count() as u64, packs_count);
    report("decode all packs (blobs)", blobs_count, start);
    memory("after looking up");
    drop(index);

    let mut index = Index::new(None, memory_limit)?;
    let start = Instant::now();
    let mut highest = 0;
    for n in 0..packs_count {
        index.add_pending(pack(n))?;
        if n % 4096 == 0 {
            highest = highest.max(anonymous_bytes());
        }
    }
    report("add pending packs (blobs)", blobs_count, start);
    println!("  highest anonymous memory {:.1} MiB", highest as f64 / f64::from(1 << 20));
    let start = Instant::now();
    assert!((0..LOOKUPS).all(|n| index.contains(&known(n))));
    report("contains, known, this session's", LOOKUPS, start);
    Ok(())
}

/// The n-th id: four steps of splitmix64.
fn id(n: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (step, word) in bytes.chunks_exact_mut(8).enumerate() {
        let mut bits = (n * 4 + step as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(bits ^ (bits >> 31)).to_le_bytes());
    }
    bytes
}

fn pack(n: u64) -> IndexedPack {
    let frames = (0..FRAMES_PER_PACK).map(|frame| {
        let first = (n * FRAMES_PER_PACK + frame) * BLOBS_PER_FRAME;
        let blobs = (first..first + BLOBS_PER_FRAME).map(|blob| BlobEntry {
            id: BlobId::new(id(blob)),
            kind: BlobKind::Chunk,
            stored_len: 260_000,
            content_len: 260_000,
        });
        FrameEntry {
            offset: frame * 1_000_000,
            sealed_len: 700_000,
            raw_len: 1_040_000,
            codec: Codec::Zstd,
            epoch: 0,
            base: None,
            blobs: blobs.collect(),
        }
    });
    let directory = PackDirectory { class: RetentionClass::Standard, frames: frames.collect() };
    IndexedPack { id: PackId::new(id(1 << 45 | n)), size_bytes: 32 << 20, directory }
}

fn report(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {count} in {seconds:.2} s, {:.2} M/s", count as f64 / seconds / 1e6);
}

fn memory(when: &str) {
    println!("  anonymous memory {when}: {:.1} MiB", anonymous_bytes() as f64 / f64::from(1 << 20));
}

/// What `/proc/self/smaps_rollup` calls anonymous.
fn anonymous_bytes() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let kib: u64 = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    kib * 1024
}
