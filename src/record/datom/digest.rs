//! A digest of datoms that does not depend on their order: Datahike's semantic digest.

use std::cell::RefCell;

use sha2::{Digest as _, Sha256};

use super::{Datom, cbor};
use crate::error::DecodeError;

/// Exclusive or, wrapping sum and count of the first eight bytes of each datom's SHA-256.
///
/// The hashed bytes are the datom's record in a dump directory (D.2), so the digest equals the `:semantic-digest` in the
/// manifest of a dump of the same datoms. Not a defence against forgery: both folds are linear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest {
    /// Exclusive or of all hashes.
    pub xor: u64,
    /// Sum of all hashes modulo 2^64.
    pub sum: u64,
    /// How many datoms.
    pub count: u64,
}

thread_local! {
    static RECORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Digest {
    /// Of no datoms.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a datom contributes, see [`Digest::add_hash`].
    pub fn hash(datom: &Datom<'_>) -> u64 {
        RECORD.with_borrow_mut(|record| {
            record.clear();
            cbor::digest_bytes(datom, record);
            hash_record(record)
        })
    }

    /// Takes in a datom.
    pub fn add(&mut self, datom: &Datom<'_>) {
        self.add_hash(Self::hash(datom));
    }

    /// Takes in a datom that is already encoded as a record of a dump.
    pub fn add_record(&mut self, record: &[u8]) {
        self.add_hash(hash_record(record));
    }

    /// Takes in a datom by its hash.
    pub fn add_hash(&mut self, hash: u64) {
        self.xor ^= hash;
        self.sum = self.sum.wrapping_add(hash);
        self.count = self.count.wrapping_add(1);
    }

    /// Takes out a datom that was taken in, by its hash.
    pub fn remove_hash(&mut self, hash: u64) {
        self.xor ^= hash;
        self.sum = self.sum.wrapping_sub(hash);
        self.count = self.count.wrapping_sub(1);
    }

    /// Takes out all datoms of another digest, all of which were taken in.
    pub fn separate(&mut self, other: &Self) {
        self.xor ^= other.xor;
        self.sum = self.sum.wrapping_sub(other.sum);
        self.count = self.count.wrapping_sub(other.count);
    }

    /// Takes in all datoms of another digest.
    pub fn merge(&mut self, other: &Self) {
        self.xor ^= other.xor;
        self.sum = self.sum.wrapping_add(other.sum);
        self.count = self.count.wrapping_add(other.count);
    }

    /// Xor, sum and count, each as eight bytes with the most significant first.
    pub fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.xor.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.sum.to_be_bytes());
        bytes[16..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// The inverse of [`Digest::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes: &[u8; 24] = bytes.try_into().map_err(|_| match bytes.len() {
            ..24 => DecodeError::Truncated,
            _ => DecodeError::TrailingBytes,
        })?;
        let (fields, _) = bytes.as_chunks::<8>();
        let [xor, sum, count] = [0, 1, 2].map(|i| u64::from_be_bytes(fields[i]));
        Ok(Self { xor, sum, count })
    }
}

fn hash_record(record: &[u8]) -> u64 {
    let hash = Sha256::digest(record);
    u64::from_be_bytes(*hash.first_chunk().expect("a SHA-256 hash has 32 bytes"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::borrow::Cow;

    use super::*;
    use crate::record::datom::{Attribute, Value};

    fn datom(e: i64) -> Datom<'static> {
        Datom { e, a: Attribute::Keyword(Cow::Borrowed("a/b")), v: Value::Long(1), t: 7, added: true }
    }

    #[test]
    fn order_does_not_matter_and_parts_merge() {
        let (mut forward, mut first, mut second) = (Digest::new(), Digest::new(), Digest::new());
        (0..10).for_each(|e| forward.add(&datom(e)));
        (5..10).rev().for_each(|e| first.add(&datom(e)));
        (0..5).rev().for_each(|e| second.add(&datom(e)));
        first.merge(&second);
        assert_eq!(forward, first);
        assert_ne!(forward, second);
        forward.remove_hash(Digest::hash(&datom(7)));
        second.separate(&Digest::new());
        first.separate(&second);
        (5..10).for_each(|e| first.remove_hash(Digest::hash(&datom(e))));
        assert_eq!(first, Digest::new());
        forward.add(&datom(7));
        (5..10).chain(0..5).for_each(|e| first.add(&datom(e)));
        assert_eq!(forward, first);
        assert_eq!(Digest::decode(&forward.encode()).unwrap(), forward);
        assert_eq!(Digest::decode(&forward.encode()[1..]), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_text_with_a_lone_surrogate_has_a_digest() {
        let mut digest = Digest::new();
        digest.add(&Datom { v: Value::String(Cow::Borrowed(b"\xed\xa0\x80")), ..datom(1) });
        assert_eq!(digest.count, 1);
    }
}
