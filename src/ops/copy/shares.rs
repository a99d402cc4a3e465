//! What the parts of a copy have copied of a snapshot, each kept by a partial snapshot until they are put together.
//!
//! A part's tree holds those entries whose path is its own. Trees of other records are copied whole by one part.

use super::Shard;
use super::run::COPIED_UNTIL;
use crate::error::Result;
use crate::format::{NamedRoot, Snapshot, Status};
use crate::ops::FileTree;
use crate::ops::derived::property;
use crate::record::entry::Entry;
use crate::repository::Reader;

/// Property of a partial copy that is one of several parts: which, as `k/n`.
pub(super) const COPIED_SHARD: &str = "copied-shard";

/// Whether a snapshot is what a part has copied, to its end.
pub(super) fn is_share(copy: &Snapshot) -> bool {
    share(copy).is_some()
}

/// The same, of this part.
pub(super) fn is_share_of(copy: &Snapshot, shard: Option<Shard>) -> bool {
    shard.is_some() && share(copy) == shard
}

fn share(copy: &Snapshot) -> Option<Shard> {
    let ended = copy.status == Status::Partial && property(copy, COPIED_UNTIL).is_none();
    property(copy, COPIED_SHARD).filter(|_| ended)?.parse().ok()
}

/// Whether a tree that is not one of entries belongs to a part: the same one for every snapshot of a host and label.
pub(super) fn takes_tree(shard: Shard, snapshot: &Snapshot, named: &NamedRoot) -> bool {
    let name = [&snapshot.host, &snapshot.label, &named.name].map(|text| text.as_bytes()).join(&0);
    shard.takes_name(&name)
}

/// The parts that there are of a snapshot.
#[derive(Default)]
pub(super) struct Shares(Vec<Share>);

struct Share {
    shard: Shard,
    copy: Snapshot,
    files: Option<FileTree>,
}

impl Shares {
    /// A part that has ended; others are none.
    pub(super) fn add(&mut self, reader: &Reader, copy: &Snapshot) -> Result<()> {
        let Some(shard) = share(copy) else { return Ok(()) };
        let files = if FileTree::is_in(copy) { Some(FileTree::of(reader, copy)?) } else { None };
        self.0.push(Share { shard, copy: copy.clone(), files });
        Ok(())
    }

    /// An entry as a part has copied it.
    pub(super) fn entry(&self, key: &[u8], entry: &Entry) -> Result<Option<Entry>> {
        for share in self.0.iter().filter(|share| share.shard.takes_entry(key, entry)) {
            if let Some(files) = &share.files
                && let Some(copied) = files.find(key)?
            {
                return Ok(Some(copied));
            }
        }
        Ok(None)
    }

    /// A whole tree as a part has copied it.
    pub(super) fn tree(&self, snapshot: &Snapshot, named: &NamedRoot) -> Option<NamedRoot> {
        let takers = self.0.iter().filter(|share| takes_tree(share.shard, snapshot, named));
        takers
            .filter_map(|share| super::trees::find(&share.copy, named))
            .find(|copy| copy.records == named.records)
            .cloned()
    }
}
