//! The bytes of the repository, one file per chapter of `format-spec/`.

mod config;
mod directory;
mod frame;
mod gc;
mod index;
mod ledger;
mod mirrors;
mod object;
mod pack;
mod path;
mod sealed;
mod session;
mod slot;
mod snapshot;
mod sync;

pub use config::{ChunkerParameters, Config};
pub use directory::{BlobEntry, BlobKind, Codec, FrameEntry, IndexedPack, PackDirectory, RetentionClass};
pub use frame::{MAX_FRAME_LEN, SealedFrame, authenticate_frame, open_frame, seal_frame};
pub use gc::GcRecord;
pub use index::IndexContent;
pub use ledger::LedgerRecord;
pub use mirrors::{MirrorList, MirrorMark, MirrorMode, Placement};
pub use pack::{FinishedPack, PackBuilder, PackTrailer, open_directory, verify_pack};
pub use path::ObjectPath;
pub use sealed::Sealed;
pub use session::{Heartbeat, SessionRecord};
pub use slot::{KeySlot, SlotDescription, SlotError, SlotMethod};
pub use snapshot::{NamedRoot, Outcome, Snapshot, SourceDescription, Statistics, Status};
pub use sync::{Opening, Segment, TreeChanges};
