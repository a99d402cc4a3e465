//! Files with several names: their rows, until all names were met.

use std::collections::HashMap;

use crate::source::files::Stat;

/// Rows are kept up to so many bytes; a name of a file that is not kept is read like a file of its own.
const LIMIT_BYTES: usize = 16 << 20;
/// What an entry of the map takes beside the row.
const OVERHEAD_BYTES: usize = 96;

/// Rows of files with several names, by device and inode.
#[derive(Default)]
pub(super) struct Links {
    known: HashMap<(u64, u64), Known>,
    bytes: usize,
}

struct Known {
    /// Names not met yet.
    left: u64,
    /// Nothing before the first name was read.
    row: Option<Vec<u8>>,
}

/// What to do with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// It is to be read, and its row handed to [`Links::read`].
    First,
    /// Its row will be known once all names before it were read.
    Another {
        /// Whether no more are expected.
        last: bool,
    },
    /// It is to be read; there is no room for more.
    Unknown,
}

impl Links {
    /// A name was met.
    pub(super) fn meet(&mut self, stat: &Stat) -> Name {
        if let Some(known) = self.known.get_mut(&key(stat)) {
            known.left = known.left.saturating_sub(1);
            return Name::Another { last: known.left == 0 };
        }
        if self.bytes > LIMIT_BYTES {
            return Name::Unknown;
        }
        self.bytes += OVERHEAD_BYTES;
        self.known.insert(key(stat), Known { left: stat.links - 1, row: None });
        Name::First
    }

    /// The first name was read, with this row.
    pub(super) fn read(&mut self, stat: &Stat, row: &[u8]) {
        if let Some(known) = self.known.get_mut(&key(stat)) {
            self.bytes += row.len();
            known.row = Some(row.to_vec());
        }
    }

    /// The row of another name, `last` as [`Self::meet`] said; `None` if the first could not be read.
    pub(super) fn take(&mut self, stat: &Stat, last: bool) -> Option<Vec<u8>> {
        if !last {
            return self.known.get(&key(stat))?.row.clone();
        }
        let known = self.known.remove(&key(stat))?;
        self.bytes -= OVERHEAD_BYTES + known.row.as_ref().map_or(0, Vec::len);
        known.row
    }
}

fn key(stat: &Stat) -> (u64, u64) {
    (stat.device, stat.inode)
}
