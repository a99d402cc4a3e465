//! No two encryptions share a nonce.

use std::collections::HashSet;

use packstone::crypto::{Keyring, Keys, MasterKey, NONCE_LEN, Purpose};
use packstone::format::{BlobEntry, BlobKind, Codec, GcRecord, Heartbeat, seal_frame};
use packstone::id::{RepositoryId, SnapshotId};

/// Of everything that is sealed, with random bytes as a backup draws them.
#[test]
fn ten_thousand_encryptions_share_no_nonce() {
    let keys = Keys::derive(RepositoryId::new([1; 16]), &Keyring::new(MasterKey::new([2; 32])));
    let mut nonces = HashSet::new();
    let mut add = |sealed: &[u8]| assert!(nonces.insert(sealed[..NONCE_LEN].to_vec()), "a nonce came twice");
    for i in 0..2_500_u32 {
        // The same plaintext every time, as when a blob is stored again after a crash.
        add(&keys.seal(Purpose::Data, b"", &random(), b"the same"));
        let body = i.to_le_bytes();
        let blob = BlobEntry { id: keys.blob_id_chunk(&body), kind: BlobKind::Chunk, stored_len: 4, content_len: 4 };
        let frame = seal_frame(&keys, &random(), BlobKind::Chunk, Codec::Raw, &body, 4, vec![blob], None).unwrap();
        add(&frame.bytes);
        let heartbeat = Heartbeat { n: i + 1, time_ms: 0, acknowledged_gc: 0 };
        add(&heartbeat.seal(&keys, SnapshotId::new([3; 16]), &random()).bytes()[HEAD_LEN..]);
        let record = GcRecord { n: 1, time_ms: 0, condemned: Vec::new(), nonce: [0; 16], by: String::new() };
        add(&record.seal(&keys, &random()).bytes()[HEAD_LEN..]);
    }
    assert_eq!(nonces.len(), 10_000);
}

/// Bytes of a small object before its nonce.
const HEAD_LEN: usize = 10;

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}
