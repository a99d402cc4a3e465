//! What is fixed when a repository is created.

use serde::{Deserialize, Serialize};

use super::Sealed;
use super::object::{self, Kind};
use crate::chunker::Sizes;
use crate::crypto::Keys;
use crate::error::DecodeError;
use crate::id::RepositoryId;

/// The repository's parameters. Changing any of them would change ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The repository.
    pub id: RepositoryId,
    /// When it was created: milliseconds since 1970.
    pub created_ms: i64,
    /// Sizes at which content is cut.
    pub chunker: ChunkerParameters,
    /// Encoded values longer than this become blobs of their own.
    pub inline_value_max_bytes: u32,
    /// What the backend was found to honour at `init`.
    pub conditional_put: bool,
}

/// Sizes for content-defined chunking, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkerParameters {
    /// No chunk but the last of a stream is shorter.
    pub min_bytes: u32,
    /// The usual size.
    pub average_bytes: u32,
    /// No chunk is longer.
    pub max_bytes: u32,
}

impl Default for ChunkerParameters {
    /// Those of [`Sizes`].
    fn default() -> Self {
        Self { min_bytes: 128 << 10, average_bytes: 512 << 10, max_bytes: 2 << 20 }
    }
}

impl ChunkerParameters {
    /// The sizes for a chunker.
    pub fn sizes(&self) -> Result<Sizes, DecodeError> {
        Sizes::checked(self.min_bytes, self.average_bytes, self.max_bytes)
    }
}

/// The longest configuration a reader accepts.
const MAX_LEN: usize = 64 << 10;

// format-spec, chapter objects: head (6) | length (u32) | body | keyed hash of all before (32) | hash of all before (32).
impl Config {
    /// The public object `config`: readable without a key, since the key slots need the repository's id, and authentic to
    /// those who have one.
    pub fn encode(&self, keys: &Keys) -> Sealed {
        let body = object::encode_body(self);
        let mut bytes = object::prefix(Kind::Config).to_vec();
        bytes.extend_from_slice(&u32::try_from(body.len()).expect("a configuration is short").to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(keys.config_mac(&bytes).as_bytes());
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        Sealed::new(bytes)
    }

    /// What the object says, before there is a key to authenticate it.
    pub fn decode_unauthenticated(object: &[u8]) -> Result<Self, DecodeError> {
        Ok(split(object)?.0)
    }

    /// What the object says, provided that a holder of the repository's keys wrote it.
    pub fn authenticate(object: &[u8], keys: &Keys) -> Result<Self, DecodeError> {
        let (config, before, mac) = split(object)?;
        // Comparing hashes takes the same time wherever they differ.
        if keys.config_mac(before) != blake3::Hash::from(mac) || config.id != keys.repository() {
            return Err(DecodeError::Unauthentic);
        }
        Ok(config)
    }
}

/// The configuration, the bytes that its keyed hash covers, and that hash.
fn split(object: &[u8]) -> Result<(Config, &[u8], [u8; 32]), DecodeError> {
    let rest = object::strip_prefix(Kind::Config, object)?;
    if object.len() > MAX_LEN {
        return Err(DecodeError::TooLarge("config"));
    }
    let (covered, checksum) = object.split_last_chunk::<32>().ok_or(DecodeError::Truncated)?;
    if blake3::hash(covered).as_bytes() != checksum {
        return Err(DecodeError::Invalid("checksum"));
    }
    let (before, mac) = covered.split_last_chunk::<32>().ok_or(DecodeError::Truncated)?;
    let (len, rest) = rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| DecodeError::TooLarge("config"))?;
    let (body, hashes) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    if hashes.len() != 64 {
        return Err(DecodeError::TrailingBytes);
    }
    let config: Config = object::decode_body(body)?;
    config.chunker.sizes()?;
    Ok((config, before, *mac))
}
