//! Which paths a part of a restore takes.
//!
//! A file belongs to the part that its path says. Everything in a directory that its owner may not change belongs to one
//! part, together with that directory: when that part has ended, others could not work in it. Only a file with names in several
//! directories may bring another part there, which then unlocks the directory for a while.

use super::select::is_below;
use crate::ops::Shard;
use crate::record::entry::Entry;

/// Its owner may list, change and enter a directory.
const OWNER_ALL: u32 = 0o700;

/// A walk through the paths of a snapshot, of which some are this part's.
pub(super) struct Shares {
    shard: Option<Shard>,
    /// The topmost directory that its owner may not change, above where the walk stands.
    closed: Option<Vec<u8>>,
}

impl Shares {
    pub(super) fn new(shard: Option<Shard>) -> Self {
        Self { shard, closed: None }
    }

    /// Whether the next path, with this key in the snapshot, belongs to this part. `is_top` is where the walk begins.
    pub(super) fn is_mine(&mut self, key: &[u8], entry: &Entry, is_top: bool) -> bool {
        let Some(shard) = self.shard else { return true };
        if self.closed.as_ref().is_some_and(|closed| key != closed && !is_below(key, closed)) {
            self.closed = None;
        }
        // What stands where everything is restored to keeps its mode.
        if self.closed.is_none() && !is_top && entry.is_directory() && entry.mode & OWNER_ALL != OWNER_ALL {
            self.closed = Some(key.to_vec());
        }
        match &self.closed {
            Some(closed) if entry.link.is_none() => shard.takes_name(closed),
            _ => shard.takes_entry(key, entry),
        }
    }
}
