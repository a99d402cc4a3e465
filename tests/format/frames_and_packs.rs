//! Frames and packs as a writer, a reader and a pruner use them.

use packstone::compression::{Compressed, Compressor};
use packstone::crypto::padme;
use packstone::error::DecodeError;
use packstone::format::*;
use packstone::id::{BlobId, PackId};

use super::fixture;

#[test]
fn a_moved_frame_opens_unchanged_in_its_new_pack() {
    let keys = fixture::keys();
    let old = fixture::pack(&keys);
    let mut builder = PackBuilder::new(BlobKind::Chunk, RetentionClass::Standard);
    for entry in old.directory.frames.iter().rev() {
        let range = entry.range();
        let bytes = old.body.bytes()[range.start as usize..range.end as usize].to_vec();
        builder.add(SealedFrame { bytes, entry: entry.clone() }).unwrap();
    }
    let new = builder.finish(&keys, &[1; 32]);
    let directory = verify_pack(&keys, new.id, new.body.bytes()).unwrap();
    let read = |i: usize, base: Option<&[u8]>| {
        let range = directory.frames[i].range();
        let sealed = &new.body.bytes()[range.start as usize..range.end as usize];
        open_frame(&keys, &directory.frames[i], sealed, base)
    };
    let (raw, blobs) = fixture::two_chunks(&keys);
    assert_eq!(read(1, None).unwrap(), raw);
    assert_eq!(read(0, None), Err(DecodeError::Invalid("delta frame opened without its base")));
    let base = &raw[directory.frames[1].blob_range(directory.frames[1].find(blobs[0].id).unwrap()).unwrap()];
    assert_eq!(keys.blob_id_chunk(&read(0, Some(base)).unwrap()), directory.frames[0].blobs[0].id);
}

#[test]
fn an_entry_that_was_changed_opens_nothing() {
    let keys = fixture::keys();
    let (raw, blobs) = fixture::two_chunks(&keys);
    let mut body = Vec::new();
    assert_eq!(Compressor::default().compress(&raw, &mut body), Compressed::Zstd);
    let frame = seal_frame(&keys, &[1; 32], BlobKind::Chunk, Codec::Zstd, &body, raw.len(), blobs, None).unwrap();
    assert_eq!(open_frame(&keys, &frame.entry, &frame.bytes, None).unwrap(), raw);
    let open = |change: fn(&mut FrameEntry)| {
        let mut entry = frame.entry.clone();
        change(&mut entry);
        open_frame(&keys, &entry, &frame.bytes, None)
    };
    assert_eq!(open(|e| e.offset = 77), Ok(raw));
    assert_eq!(open(|e| e.blobs[0].id = BlobId::new([0; 32])), Err(DecodeError::Unauthentic));
    assert_eq!(open(|e| e.blobs.swap(0, 1)), Err(DecodeError::Unauthentic));
    assert_eq!(open(|e| e.epoch = 0), Err(DecodeError::Unauthentic));
    assert_eq!(open(|e| e.epoch = 5), Err(DecodeError::UnknownEpoch(5)));
    assert_eq!(open(|e| e.blobs.iter_mut().for_each(|b| b.kind = BlobKind::Node)), Err(DecodeError::Unauthentic));
    assert_eq!(open(|e| e.raw_len += 1), Err(DecodeError::Invalid("length of a frame")));
    assert_eq!(open(|e| e.codec = Codec::Raw), Err(DecodeError::Invalid("length of a frame")));
    assert_eq!(open(|e| e.codec = Codec::ZstdDelta), Err(DecodeError::Invalid("base of a frame")));
    assert_eq!(open(|e| e.base = Some(BlobId::new([0; 32]))), Err(DecodeError::Invalid("base of a frame")));
    assert_eq!(open(|e| e.blobs.clear()), Err(DecodeError::Invalid("frame without blobs")));
    assert_eq!(open(|e| e.blobs[0].kind = BlobKind::Node), Err(DecodeError::Invalid("blobs of two kinds in a frame")));
}

#[test]
fn what_no_reader_accepts_is_not_sealed() {
    let keys = fixture::keys();
    let (raw, blobs) = fixture::two_chunks(&keys);
    let seal = |kind, codec, len, blobs: &[BlobEntry], base| {
        seal_frame(&keys, &[1; 32], kind, codec, &raw, len, blobs.to_vec(), base).map(drop)
    };
    let own = Some(blobs[0].id);
    assert!(seal(BlobKind::Chunk, Codec::Raw, raw.len(), &blobs, None).is_ok());
    assert!(seal(BlobKind::Node, Codec::Raw, raw.len(), &blobs, None).is_err());
    assert!(seal(BlobKind::Chunk, Codec::Raw, raw.len() - 1, &blobs, None).is_err());
    assert!(seal(BlobKind::Chunk, Codec::Raw, raw.len(), &[], None).is_err());
    assert!(seal(BlobKind::Chunk, Codec::ZstdDelta, raw.len(), &blobs, own).is_err());
    let whole = BlobEntry { stored_len: raw.len() as u32, content_len: raw.len() as u32, ..blobs[0] };
    assert!(seal(BlobKind::Chunk, Codec::ZstdDelta, raw.len(), &[whole], own).is_err());
    assert!(seal(BlobKind::Chunk, Codec::ZstdDelta, raw.len(), &[whole], Some(blobs[1].id)).is_ok());
}

#[test]
fn a_pack_has_a_padme_length_and_its_hash_as_name() {
    let keys = fixture::keys();
    for frames in 0..40 {
        let mut builder = PackBuilder::new(BlobKind::Chunk, RetentionClass::Standard);
        for _ in 0..frames {
            builder.add(fixture::data_frames(&keys).remove(0)).unwrap();
        }
        assert_eq!(builder.is_empty(), frames == 0);
        let pack = builder.finish(&keys, &[1; 32]);
        assert_eq!(pack.size_bytes, pack.body.len() as u64);
        assert_eq!(padme(pack.size_bytes), pack.size_bytes);
        assert_eq!(blake3::hash(pack.body.bytes()).as_bytes(), pack.id.as_bytes());
        let tail = &pack.body.bytes()[pack.body.len() - 40..];
        let trailer = PackTrailer::decode(tail, pack.size_bytes).unwrap();
        let range = trailer.directory_range();
        let sealed = &pack.body.bytes()[range.start as usize..range.end as usize];
        assert_eq!(open_directory(&keys, &trailer, sealed), Ok(pack.directory));
    }
}

#[test]
fn chunks_and_nodes_stay_apart() {
    let keys = fixture::keys();
    let mut builder = PackBuilder::new(BlobKind::Node, RetentionClass::Standard);
    let refused = builder.add(fixture::data_frames(&keys).remove(0));
    assert_eq!(refused, Err(DecodeError::Invalid("kind of a frame for this pack")));
    assert!(builder.is_empty());
}

#[test]
fn a_directory_with_gaps_or_overlaps_is_refused() {
    let directory = fixture::pack(&fixture::keys()).directory;
    assert!(directory.validate(8).is_ok());
    let refused = |change: fn(&mut PackDirectory)| {
        let mut directory = directory.clone();
        change(&mut directory);
        directory.validate(8).is_err()
    };
    assert!(refused(|d| d.frames[0].offset = 9));
    assert!(refused(|d| d.frames[1].offset -= 1));
    assert!(refused(|d| d.frames[1].offset += 1));
    assert!(refused(|d| d.frames.swap(0, 1)));
    assert!(refused(|d| d.frames[1].blobs[0].kind = BlobKind::Node));
    assert!(refused(|d| d.frames[0].sealed_len = u32::MAX));
    assert!(refused(|d| d.frames[0].blobs[0].stored_len = u32::MAX));
}

#[test]
fn an_index_keeps_order_and_sizes() {
    let keys = fixture::keys();
    let content = fixture::index(&keys);
    let twice = IndexContent { packs: [content.packs.clone(), content.packs.clone()].concat(), ..content.clone() };
    let (id, object) = twice.seal(&keys, &[1; 32]);
    assert_eq!(IndexContent::open(&keys, id, object.bytes()), Err(DecodeError::Invalid("order of an index")));
    let mut short = content.clone();
    short.packs[0].size_bytes = 100;
    let (id, object) = short.seal(&keys, &[1; 32]);
    assert_eq!(IndexContent::open(&keys, id, object.bytes()), Err(DecodeError::Invalid("size of an indexed pack")));
    let mut other = content.clone();
    other.packs.insert(0, IndexedPack { id: PackId::new([0xff; 32]), ..content.packs[0].clone() });
    let (id, object) = other.seal(&keys, &[1; 32]);
    assert_eq!(IndexContent::open(&keys, id, object.bytes()).unwrap().packs[1].id, PackId::new([0xff; 32]));
}

#[test]
fn the_default_configuration_cuts_at_the_default_sizes() {
    let sizes = ChunkerParameters::default().sizes();
    assert_eq!(sizes, Ok(packstone::chunker::Sizes::default()));
}
