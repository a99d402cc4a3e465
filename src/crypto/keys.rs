//! One key per purpose, derived from the keyring and the repository's id.

use std::fmt;

use zeroize::Zeroizing;

use super::seal::{self, Key};
use super::{Keyring, MasterKey};
use crate::error::DecodeError;
use crate::id::{BlobId, RepositoryId, StreamId};

/// What a sealing key is for; each has its own key in every epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Frames of chunks.
    Data,
    /// Frames of nodes.
    Tree,
    /// Pack directories, sessions, snapshots and gc records.
    Metadata,
    /// Index objects.
    Index,
    /// Chains of sync segments.
    Sync,
}

/// Every key of an open repository. Immutable; share it with `Arc`.
pub struct Keys {
    repository: RepositoryId,
    chunk_id: Key,
    node_id: Key,
    config: Key,
    stream: Key,
    local_cache: Key,
    tree_split: Zeroizing<[u8; 16]>,
    tree_long_key: Key,
    gear: Box<Zeroizing<[u64; 256]>>,
    /// Ascending; never empty.
    epochs: Vec<EpochKeys>,
}

struct EpochKeys {
    epoch: u32,
    data: Key,
    tree: Key,
    metadata: Key,
    index: Key,
    sync: Key,
    nonce: Key,
}

impl Keys {
    /// Derives all keys of a repository.
    pub fn derive(repository: RepositoryId, keyring: &Keyring) -> Self {
        let first = &keyring.epochs().first().expect("a keyring always holds epoch 0").1;
        let key = |purpose| derive(purpose, repository, first);
        let long_split = key("packstone 2026-11 v1 tree split");
        Self {
            repository,
            chunk_id: key("packstone 2026-11 v1 chunk id"),
            node_id: key("packstone 2026-11 v1 node id"),
            config: key("packstone 2026-11 v1 config"),
            stream: key("packstone 2026-11 v1 sync stream"),
            local_cache: key("packstone 2026-11 v1 local cache"),
            tree_split: Zeroizing::new(*long_split.first_chunk().expect("a key has 32 bytes")),
            tree_long_key: key("packstone 2026-11 v1 tree long key"),
            gear: Box::new(gear(repository, first)),
            epochs: keyring
                .epochs()
                .iter()
                .map(|(epoch, master)| EpochKeys::derive(*epoch, repository, master))
                .collect(),
        }
    }

    /// The repository these keys belong to.
    pub fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// Id of a chunk with this content.
    pub fn blob_id_chunk(&self, content: &[u8]) -> BlobId {
        BlobId::new(blake3::keyed_hash(&self.chunk_id, content).into())
    }

    /// Id of a node with this canonical encoding.
    pub fn blob_id_node(&self, canonical: &[u8]) -> BlobId {
        BlobId::new(blake3::keyed_hash(&self.node_id, canonical).into())
    }

    /// Name of the stream of a host and label: the start of the keyed hash of the host's length (u32), the host, the label.
    pub fn stream_id(&self, host: &str, label: &str) -> StreamId {
        let host_len = u32::try_from(host.len()).expect("no host name is near 4 GiB").to_le_bytes();
        let hash = blake3::keyed_hash(&self.stream, &[&host_len, host.as_bytes(), label.as_bytes()].concat());
        StreamId::new(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }

    /// Key of the hash that decides where nodes end.
    pub fn tree_split_key(&self) -> [u8; 16] {
        *self.tree_split
    }

    /// Key of the hash that stands in for the rest of a long key in inner nodes.
    pub fn tree_long_key(&self) -> [u8; 32] {
        *self.tree_long_key
    }

    /// The chunker's gear table.
    pub fn gear(&self) -> &[u64; 256] {
        &self.gear
    }

    /// The keyed hash that authenticates the repository's configuration.
    pub fn config_mac(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.config, bytes)
    }

    /// Key of the hashes that tell damage in files of the local cache; nothing in a repository depends on it.
    pub fn local_cache_key(&self) -> [u8; 32] {
        *self.local_cache
    }

    /// The epoch that [`Keys::seal`] uses.
    pub fn newest_epoch(&self) -> u32 {
        self.newest().epoch
    }

    /// Seals under the newest epoch: `nonce (24) | ciphertext | tag (16)`. `random` is never used for anything else.
    pub fn seal(&self, purpose: Purpose, associated: &[u8], random: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
        let keys = self.newest();
        seal::seal(keys.purpose(purpose), &keys.nonce, associated, random, plaintext)
    }

    /// Opens what was sealed for the same purpose, epoch and associated data.
    pub fn open(&self, purpose: Purpose, epoch: u32, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let found = self.epochs.binary_search_by_key(&epoch, |keys| keys.epoch).ok();
        let keys = found.and_then(|i| self.epochs.get(i)).ok_or(DecodeError::UnknownEpoch(epoch))?;
        seal::open(keys.purpose(purpose), associated, sealed)
    }

    fn newest(&self) -> &EpochKeys {
        self.epochs.last().expect("a keyring always holds epoch 0")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, {} epochs)", self.repository, self.epochs.len())
    }
}

impl EpochKeys {
    fn derive(epoch: u32, repository: RepositoryId, master: &MasterKey) -> Self {
        Self {
            epoch,
            data: derive("packstone 2026-11 v1 data", repository, master),
            tree: derive("packstone 2026-11 v1 tree", repository, master),
            metadata: derive("packstone 2026-11 v1 metadata", repository, master),
            index: derive("packstone 2026-11 v1 index", repository, master),
            sync: derive("packstone 2026-11 v1 sync", repository, master),
            nonce: derive("packstone 2026-11 v1 nonce", repository, master),
        }
    }

    fn purpose(&self, purpose: Purpose) -> &Key {
        match purpose {
            Purpose::Data => &self.data,
            Purpose::Tree => &self.tree,
            Purpose::Metadata => &self.metadata,
            Purpose::Index => &self.index,
            Purpose::Sync => &self.sync,
        }
    }
}

// format-spec, chapter sealing and keys: key material is the repository's id, then the master key.
fn material(repository: RepositoryId, master: &MasterKey) -> Zeroizing<[u8; 48]> {
    let mut material = Zeroizing::new([0; 48]);
    material[..16].copy_from_slice(repository.as_bytes());
    material[16..].copy_from_slice(master.bytes());
    material
}

fn derive(context: &str, repository: RepositoryId, master: &MasterKey) -> Key {
    Zeroizing::new(blake3::derive_key(context, &*material(repository, master)))
}

fn gear(repository: RepositoryId, master: &MasterKey) -> Zeroizing<[u64; 256]> {
    let mut bytes = Zeroizing::new([0; 2048]);
    blake3::Hasher::new_derive_key("packstone 2026-11 v1 chunker gear")
        .update(&*material(repository, master))
        .finalize_xof()
        .fill(&mut *bytes);
    let mut gear = Zeroizing::new([0; 256]);
    for (entry, bytes) in gear.iter_mut().zip(bytes.as_chunks().0) {
        *entry = u64::from_le_bytes(*bytes);
    }
    gear
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::HashSet;

    use super::*;

    fn ring() -> Keyring {
        Keyring::new(MasterKey::new([7; 32]))
    }

    fn keys() -> Keys {
        Keys::derive(RepositoryId::new([1; 16]), &ring())
    }

    #[test]
    fn rotation_changes_sealing_and_nothing_else() {
        let (old, id) = (keys(), RepositoryId::new([1; 16]));
        let new = Keys::derive(id, &ring().rotate(MasterKey::new([8; 32])).unwrap());
        assert_eq!(old.blob_id_chunk(b"x"), new.blob_id_chunk(b"x"));
        assert_eq!(old.gear(), new.gear());
        assert_eq!(old.tree_split_key(), new.tree_split_key());
        let sealed = old.seal(Purpose::Data, b"", &[3; 32], b"body");
        assert_eq!(new.open(Purpose::Data, 0, b"", &sealed).unwrap(), b"body");
        let sealed = new.seal(Purpose::Data, b"", &[3; 32], b"body");
        assert_eq!(new.newest_epoch(), 1);
        assert_eq!(new.open(Purpose::Data, 1, b"", &sealed).unwrap(), b"body");
        assert_eq!(old.open(Purpose::Data, 1, b"", &sealed), Err(DecodeError::UnknownEpoch(1)));
        assert_eq!(new.open(Purpose::Data, 0, b"", &sealed), Err(DecodeError::Unauthentic));
    }

    #[test]
    fn every_purpose_and_repository_has_its_own_key() {
        let (keys, other) = (keys(), Keys::derive(RepositoryId::new([2; 16]), &ring()));
        assert_ne!(keys.blob_id_chunk(b""), keys.blob_id_node(b""));
        assert_ne!(keys.blob_id_chunk(b""), other.blob_id_chunk(b""));
        assert_ne!(keys.gear(), other.gear());
        let all = [Purpose::Data, Purpose::Tree, Purpose::Metadata, Purpose::Index, Purpose::Sync];
        for purpose in all {
            let sealed = keys.seal(purpose, b"a", &[0; 32], b"body");
            for opener in all {
                assert_eq!(keys.open(opener, 0, b"a", &sealed).is_ok(), purpose == opener);
            }
            assert_eq!(keys.open(purpose, 0, b"b", &sealed), Err(DecodeError::Unauthentic));
            assert_eq!(other.open(purpose, 0, b"a", &sealed), Err(DecodeError::Unauthentic));
        }
    }

    #[test]
    fn ten_thousand_encryptions_share_no_nonce() {
        let keys = keys();
        let mut nonces = HashSet::new();
        for i in 0..10_000u32 {
            // Half of them as if the random generator were stuck: the body's hash still tells them apart.
            let mut random = [0; 32];
            if i % 2 == 0 {
                random[..4].copy_from_slice(&i.to_le_bytes());
            }
            let body = if i % 2 == 0 { b"same".to_vec() } else { i.to_le_bytes().to_vec() };
            let sealed = keys.seal(Purpose::Data, b"", &random, &body);
            assert!(nonces.insert(sealed[..seal::NONCE_LEN].to_vec()));
        }
    }

    #[test]
    fn every_damaged_byte_and_length_is_noticed() {
        let keys = keys();
        let sealed = keys.seal(Purpose::Tree, b"a", &[9; 32], b"some body");
        for i in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[i] ^= 1;
            assert_eq!(keys.open(Purpose::Tree, 0, b"a", &damaged), Err(DecodeError::Unauthentic));
            assert!(keys.open(Purpose::Tree, 0, b"a", &sealed[..i]).is_err());
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(format!("{:?}", keys()), format!("Keys({}, 1 epochs)", keys().repository()));
    }
}
