//! The bytes of the repository, one file per chapter of `format-spec/`.

mod config;
mod directory;
mod path;
mod sealed;
mod snapshot;

pub use config::{ChunkerParameters, Config};
pub use directory::{BlobEntry, BlobKind, Codec, FrameEntry, IndexedPack, PackDirectory, RetentionClass};
pub use path::ObjectPath;
pub use sealed::Sealed;
pub use snapshot::{NamedRoot, Outcome, Snapshot, SourceDescription, Statistics, Status};
