//! Bytes from anywhere, and bodies that a key holder sealed but no writer makes: errors, never panics.

use packstone::crypto::{Keyring, Purpose};
use packstone::format::*;
use packstone::id::{IndexId, KeySlotId, LedgerId, PackId};
use proptest::prelude::*;

use super::fixture;

/// Every decoder on the same bytes.
fn decode_all(bytes: &[u8]) {
    let (keys, id) = (fixture::keys(), fixture::session_id());
    let hash: [u8; 32] = blake3::hash(bytes).into();
    let _ = Config::authenticate(bytes, &keys);
    let _ = Keyring::decode(bytes);
    let _ = KeySlot::decode(KeySlotId::new(hash), bytes);
    let _ = SessionRecord::open(&keys, id, bytes);
    let _ = Heartbeat::open(&keys, id, 1, bytes);
    let _ = GcRecord::open(&keys, 1, bytes);
    let _ = LedgerRecord::open(&keys, LedgerId::new([1; 16]), bytes);
    let _ = Outcome::open(&keys, id, bytes);
    let _ = IndexContent::open(&keys, IndexId::new(hash), bytes);
    let _ = verify_pack(&keys, PackId::new(hash), bytes);
    let _ = PackTrailer::decode(bytes, bytes.len() as u64);
    let _ = Opening::open(&keys, fixture::stream_id(), id, bytes);
    let _ = Segment::open(&keys, fixture::stream_id(), id, 1, bytes);
    let _ = ObjectPath::parse(&String::from_utf8_lossy(bytes));
}

/// A sealed object around any body, as [`Outcome`] and [`IndexContent`] would open it.
fn sealed(kind: u8, purpose: Purpose, place: &str, body: &[u8]) -> Vec<u8> {
    let keys = fixture::keys();
    let mut object = b"PSTN".to_vec();
    object.extend_from_slice(&[kind, 1]);
    object.extend_from_slice(&keys.newest_epoch().to_le_bytes());
    let associated = [&object[..], fixture::repository().as_bytes(), place.as_bytes()].concat();
    let plaintext = [&(body.len() as u32).to_le_bytes()[..], body].concat();
    object.extend_from_slice(&keys.seal(purpose, &associated, &[0; 32], &plaintext));
    object
}

#[test]
fn a_length_that_promises_more_than_there_is_allocates_nothing() {
    let keys = fixture::keys();
    // Body version 1, then 2^63 packs.
    let mut body = vec![1];
    body.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
    let object = sealed(6, Purpose::Index, "", &body);
    let id = IndexId::new(blake3::hash(&object).into());
    assert!(IndexContent::open(&keys, id, &object).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        decode_all(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_right_head(kind in 0u8..17, version in 0u8..3, rest in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&[b"PSTN", &[kind, version][..], &rest].concat());
        decode_all(&[b"PSPACK\x01\x00", &rest[..]].concat());
        let len = (rest.len() as u32 / 2).to_le_bytes();
        decode_all(&[b"PSTN", &[kind, 1][..], &len, &rest].concat());
    }

    #[test]
    fn arbitrary_sealed_bodies(body in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..300)) {
        let (keys, id) = (fixture::keys(), fixture::session_id());
        let body = [&[2], &body[..]].concat();
        let _ = Outcome::open(&keys, id, &sealed(5, Purpose::Metadata, ObjectPath::snapshot(id).as_str(), &body));
        let _ = SessionRecord::open(&keys, id, &sealed(3, Purpose::Metadata, ObjectPath::session(id, 0).as_str(), &body));
        let list = ObjectPath::mirror_list(1);
        let _ = MirrorList::open(&keys, 1, &sealed(12, Purpose::Metadata, list.as_str(), &body));
        let mark = ObjectPath::mirror_mark();
        let _ = MirrorMark::open(&keys, &sealed(13, Purpose::Metadata, mark.as_str(), &body));
        let _ = GcRecord::open(&keys, 1, &sealed(7, Purpose::Metadata, ObjectPath::gc(1).as_str(), &body));
        let stream = fixture::stream_id();
        let opening = sealed(14, Purpose::Sync, ObjectPath::sync(stream, id, 0).as_str(), &body);
        let _ = Opening::open(&keys, stream, id, &opening);
        let segment = |body: &[u8]| sealed(15, Purpose::Sync, ObjectPath::sync(stream, id, 1).as_str(), body);
        let _ = Segment::open(&keys, stream, id, 1, &segment(&body));
        // As it stands, and as a zstd frame, with lengths that are right and wrong.
        for (compressed, raw_len) in [(0, body.len() as u8), (0, 3), (1, 100)] {
            let packed = [&[2, compressed, raw_len & 127, body.len() as u8 & 127], &body[..]].concat();
            let _ = Segment::open(&keys, stream, id, 1, &segment(&packed));
        }
        let ledger = LedgerId::new([1; 16]);
        let _ = LedgerRecord::open(&keys, ledger, &sealed(8, Purpose::Metadata, ObjectPath::ledger(ledger).as_str(), &body));
        let object = sealed(6, Purpose::Index, "", &body);
        let _ = IndexContent::open(&keys, IndexId::new(blake3::hash(&object).into()), &object);
    }

    #[test]
    fn arbitrary_entries(offset in any::<u64>(), lens in any::<[u32; 4]>(), codec in 0usize..3, epoch in 0u32..3, base in any::<bool>(),
        small in any::<bool>(), sealed in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let keys = fixture::keys();
        let (mut raw_len, mut blob) = (lens[0], fixture::two_chunks(&keys).1[0]);
        (blob.stored_len, blob.content_len) = (lens[1], lens[2]);
        if small {
            (raw_len, blob.stored_len, blob.content_len) = (lens[0] % 300, lens[0] % 300, lens[0] % 300);
        }
        let codec = [Codec::Raw, Codec::Zstd, Codec::ZstdDelta][codec];
        let base = base.then_some(packstone::id::BlobId::new([1; 32]));
        let sealed_len = if small { sealed.len() as u32 } else { lens[3] };
        let entry = FrameEntry { offset, sealed_len, raw_len, codec, epoch, base, blobs: vec![blob] };
        let _ = open_frame(&keys, &entry, &sealed, Some(&[0; 10]));
        let _ = (entry.range(), entry.blob_range(0), entry.blob_range(1));
        let _ = PackDirectory { frames: vec![entry.clone(), entry], ..PackDirectory::default() }.validate(offset);
    }
}
