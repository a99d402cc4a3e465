//! What one core does: cutting, hashing, sealing, frames, packs. Prints MB/s, the best of several rounds.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and fails by panicking")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use packstone::chunker::{Chunker, Sizes};
use packstone::compression::{self, Compressed, Compressor};
use packstone::crypto::{Keyring, Keys, MasterKey, Purpose};
use packstone::format::*;
use packstone::id::RepositoryId;

const FRAME: usize = 1 << 20;

fn main() {
    let keys = Keys::derive(RepositoryId::new([1; 16]), &Keyring::new(MasterKey::new([2; 32])));
    let mut noise = vec![0; 64 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let text = text(64 << 20);

    let chunker = Chunker::new(keys.gear(), Sizes::default());
    let chunks = chunker.chunks(&noise).count();
    println!("chunks of noise: {} KiB on average", (noise.len() >> 10) / chunks);
    measure("cut, noise", noise.len(), || chunker.chunks(&noise).count());
    measure("cut, text", text.len(), || chunker.chunks(&text).count());
    measure("blob ids of 64 KiB", noise.len(), || noise.chunks(64 << 10).map(|c| keys.blob_id_chunk(c)).max());
    measure("blob ids of 1 MiB", noise.len(), || noise.chunks(FRAME).map(|c| keys.blob_id_chunk(c)).max());
    measure("seal 1 MiB", noise.len(), || {
        noise.chunks(FRAME).map(|c| keys.seal(Purpose::Data, b"", &[0; 32], c).len()).sum::<usize>()
    });
    let sealed: Vec<_> = noise.chunks(FRAME).map(|c| keys.seal(Purpose::Data, b"", &[0; 32], c)).collect();
    measure("open 1 MiB", noise.len(), || {
        sealed.iter().map(|c| keys.open(Purpose::Data, 0, b"", c).unwrap().len()).sum::<usize>()
    });

    for (name, content) in [("text", &text), ("noise", &noise)] {
        let mut compressor = Compressor::default();
        let mut frames = Vec::new();
        measure(&format!("frame: compress and seal, {name}"), content.len(), || {
            frames = content.chunks(FRAME).map(|c| frame(&keys, &mut compressor, c)).collect();
        });
        let stored: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
        println!("  ratio {:.3}", stored as f64 / content.len() as f64);
        measure(&format!("frame: open and decompress, {name}"), content.len(), || {
            frames.iter().map(|f| open_frame(&keys, &f.entry, &f.bytes, None).unwrap().len()).sum::<usize>()
        });
        measure(&format!("pack: add and finish, {name}"), stored, || {
            let capacity = stored + stored / 8;
            let mut builder = PackBuilder::with_capacity(BlobKind::Chunk, RetentionClass::Standard, capacity);
            for frame in &frames {
                builder.add(frame.clone()).unwrap();
            }
            builder.finish(&keys, &[0; 32]).size_bytes
        });
    }
    deltas(&noise);
    index(&keys);
}

/// 64 KiB pages with a changed row each, against their former selves.
fn deltas(noise: &[u8]) {
    let base = &noise[..8 << 20];
    let mut changed = base.to_vec();
    changed.iter_mut().step_by(32 << 10).for_each(|byte| *byte ^= 1);
    let mut compressor = Compressor::default();
    let mut bodies = Vec::new();
    let page = 64 << 10;
    measure("delta of 64 KiB", base.len(), || {
        bodies.clear();
        for (old, new) in base.chunks(page).zip(changed.chunks(page)) {
            let mut body = Vec::new();
            compressor.compress_with_prefix(old, new, &mut body).unwrap();
            bodies.push(body);
        }
    });
    println!("  {} bytes each", bodies.iter().map(Vec::len).sum::<usize>() / bodies.len());
    measure("delta of 64 KiB, back", base.len(), || {
        base.chunks(page)
            .zip(&bodies)
            .map(|(old, body)| compression::decompress_with_prefix(old, body, page).unwrap().len())
            .sum::<usize>()
    });
}

/// An index object of 100,000 blobs.
fn index(keys: &Keys) {
    let blob = |i: u32| BlobEntry {
        id: keys.blob_id_chunk(&i.to_le_bytes()),
        kind: BlobKind::Chunk,
        stored_len: 1000,
        content_len: 1000,
    };
    let blobs: Vec<BlobEntry> = (0..100_000).map(blob).collect();
    let entry = FrameEntry {
        offset: 8,
        sealed_len: 1040,
        raw_len: 0,
        codec: Codec::Zstd,
        epoch: 0,
        base: None,
        blobs: Vec::new(),
    };
    let mut offset = 8;
    let frames = blobs.chunks(1000).map(|blobs| {
        let frame = FrameEntry { offset, raw_len: 1_000_000, blobs: blobs.to_vec(), ..entry.clone() };
        offset += 1040;
        frame
    });
    let directory = PackDirectory { class: RetentionClass::Standard, frames: frames.collect() };
    let pack = IndexedPack { id: packstone::id::PackId::new([0; 32]), size_bytes: 1 << 20, directory };
    let content = IndexContent { packs: vec![pack], replaces: Vec::new() };
    let (id, object) = content.clone().seal(keys, &[0; 32]);
    println!("index: {:.1} bytes a blob", object.len() as f64 / 1e5);
    let best = best(|| IndexContent::open(keys, id, object.bytes()).unwrap());
    println!("{:<40} {:>8.2} M blobs/s", "index: open", 0.1 / best.as_secs_f64());
    let best = self::best(|| content.clone().seal(keys, &[0; 32]));
    println!("{:<40} {:>8.2} M blobs/s", "index: seal", 0.1 / best.as_secs_f64());
}

fn frame(keys: &Keys, compressor: &mut Compressor, raw: &[u8]) -> SealedFrame {
    let mut body = Vec::new();
    let (codec, body) = match compressor.compress(raw, &mut body) {
        Compressed::Raw => (Codec::Raw, raw),
        Compressed::Zstd => (Codec::Zstd, &body[..]),
    };
    let len = raw.len() as u32;
    let blob = BlobEntry { id: keys.blob_id_chunk(raw), kind: BlobKind::Chunk, stored_len: len, content_len: len };
    seal_frame(keys, &[0; 32], BlobKind::Chunk, codec, body, raw.len(), vec![blob], None).unwrap()
}

/// Lines of a made-up log: compressible about as text is.
fn text(len: usize) -> Vec<u8> {
    let words = ["entity", "added", "transaction", "user", "order", "shipped", "db", "index", "retracted", "value"];
    let mut text = Vec::with_capacity(len + 100);
    let mut n = 1u64;
    while text.len() < len {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32| words[(n >> shift) as usize % words.len()];
        text.extend_from_slice(format!("{} {} {}-{} {}\n", n >> 44, pick(3), pick(20), pick(33), n % 1000).as_bytes());
    }
    text.truncate(len);
    text
}

fn best<T>(mut work: impl FnMut() -> T) -> Duration {
    let round = |work: &mut dyn FnMut() -> T| {
        let start = Instant::now();
        black_box(work());
        start.elapsed()
    };
    (0..5).map(|_| round(&mut work)).min().unwrap()
}

fn measure<T>(name: &str, bytes: usize, work: impl FnMut() -> T) {
    println!("{name:<40} {:>8.0} MB/s", bytes as f64 / 1e6 / best(work).as_secs_f64());
}
