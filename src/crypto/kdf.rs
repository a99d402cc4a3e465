//! From what a user knows or holds to the keys of a slot.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::{self, Key};
use crate::error::DecodeError;
use crate::id::RepositoryId;

/// What opens a key slot. Wiped when dropped, never printed.
pub enum SlotSecret {
    /// A password, as its UTF-8 bytes; stretched by Argon2id.
    Password(Zeroizing<Vec<u8>>),
    /// The content of a key file, 32 bytes to 1 MiB; not stretched.
    KeyFile(Zeroizing<Vec<u8>>),
}

impl SlotSecret {
    /// A password.
    pub fn password(text: impl Into<String>) -> Self {
        Self::Password(Zeroizing::new(text.into().into_bytes()))
    }

    /// The content of a key file.
    pub fn key_file(content: Vec<u8>) -> Self {
        Self::KeyFile(Zeroizing::new(content))
    }
}

impl fmt::Debug for SlotSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::KeyFile(_) => "KeyFile(..)",
        })
    }
}

/// The cost of trying a password: Argon2id's memory, passes and lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KdfParameters {
    /// Memory in KiB: 19 MiB to 4 GiB.
    pub memory_kib: u32,
    /// Passes: 1 to 64.
    pub passes: u32,
    /// Lanes: 1 to 64.
    pub lanes: u32,
}

impl Default for KdfParameters {
    /// RFC 9106's second recommended choice: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 4 }
    }
}

impl KdfParameters {
    /// The cheapest that slots may use: 19 MiB, one pass, one lane.
    pub fn insecure_for_tests() -> Self {
        Self { memory_kib: 19 << 10, passes: 1, lanes: 1 }
    }

    /// Refuses what is too weak to protect a password, or so strong that a hostile slot would stall its reader.
    pub fn check(&self) -> Result<(), DecodeError> {
        let within = (19 << 10..=4 << 20).contains(&self.memory_kib)
            && (1..=64).contains(&self.passes)
            && (1..=64).contains(&self.lanes);
        if within { Ok(()) } else { Err(DecodeError::Invalid("Argon2id parameters")) }
    }
}

/// The keys of one slot: they exist only while it is made or opened.
pub struct SlotKeys {
    sealing: Key,
    nonce: Key,
    commitment: [u8; 32],
}

impl SlotKeys {
    /// From a password: takes as long as the parameters say.
    pub fn from_password(
        repository: RepositoryId,
        password: &[u8],
        salt: &[u8; 32],
        parameters: KdfParameters,
    ) -> Result<Self, DecodeError> {
        parameters.check()?;
        let mut stretched = Zeroizing::new([0; 32]);
        Params::new(parameters.memory_kib, parameters.passes, parameters.lanes, Some(stretched.len()))
            .and_then(|params| {
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                argon2.hash_password_into(password, salt, &mut *stretched)
            })
            .map_err(|_| DecodeError::Invalid("Argon2id parameters"))?;
        Ok(Self::from_stretched(repository, &stretched))
    }

    /// From the content of a key file.
    pub fn from_key_file(repository: RepositoryId, content: &[u8], salt: &[u8; 32]) -> Result<Self, DecodeError> {
        if !(32..=1 << 20).contains(&content.len()) {
            return Err(DecodeError::Invalid("length of the key file: 32 bytes to 1 MiB"));
        }
        let mut hasher = blake3::Hasher::new_derive_key("packstone 2026-11 v1 key file");
        let stretched = Zeroizing::new(*hasher.update(salt).update(content).finalize().as_bytes());
        Ok(Self::from_stretched(repository, &stretched))
    }

    /// 32 bytes that only these keys give: stored in the slot, so that a wrong secret is told from a damaged slot.
    pub fn commitment(&self) -> &[u8; 32] {
        &self.commitment
    }

    /// Whether the slot was made with these keys; takes the same time wherever they differ.
    pub fn matches(&self, commitment: &[u8; 32]) -> bool {
        blake3::Hash::from(self.commitment) == blake3::Hash::from(*commitment)
    }

    /// Seals the slot's content.
    pub fn seal(&self, associated: &[u8], random: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
        seal::seal(&self.sealing, &self.nonce, associated, random, plaintext)
    }

    /// Opens the slot's content.
    pub fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
        seal::open(&self.sealing, associated, sealed).map(Zeroizing::new)
    }

    fn from_stretched(repository: RepositoryId, stretched: &[u8; 32]) -> Self {
        let mut material = Zeroizing::new([0; 48]);
        material[..16].copy_from_slice(repository.as_bytes());
        material[16..].copy_from_slice(stretched);
        let key = |context| Zeroizing::new(blake3::derive_key(context, &*material));
        Self {
            sealing: key("packstone 2026-11 v1 slot key"),
            nonce: key("packstone 2026-11 v1 slot nonce"),
            commitment: *key("packstone 2026-11 v1 slot commitment"),
        }
    }
}
