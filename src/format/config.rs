//! What is fixed when a repository is created.

use serde::{Deserialize, Serialize};

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
