//! A batch: so many paths as fit in memory, restored together so that every frame is opened once for all of them.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::record::Extent;
use crate::target::files::{Metadata, Special};

/// What is known of a directory that something is restored into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Made by this run: nothing is in it but what this run put there.
    New,
    /// It was there before.
    Old,
    /// It would be made if this were no dry run.
    Absent,
    /// It cannot be made; that has been told.
    Blocked,
}

/// Paths that are restored together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) directories: Vec<Place>,
    pub(super) items: Vec<Item>,
    /// Other names of items.
    pub(super) links: Vec<Names>,
    /// Memory that all this takes, roughly.
    pub(super) weight: usize,
}

/// A directory.
pub(super) struct Place {
    pub(super) key: Vec<u8>,
    pub(super) state: State,
}

/// The other names of an item.
pub(super) struct Names {
    pub(super) item: usize,
    pub(super) keys: Vec<Vec<u8>>,
}

/// A path that is no directory.
pub(super) struct Item {
    /// Its directory, as an index into the batch.
    pub(super) directory: u32,
    pub(super) name: Box<[u8]>,
    pub(super) body: Body,
    pub(super) wanted: Metadata,
    /// Chunks still to be written.
    pub(super) pieces: AtomicU32,
    flags: AtomicU8,
}

/// What an item is.
pub(super) enum Body {
    /// A file of a few bytes.
    Small(Vec<u8>),
    /// A file of this length with these chunks.
    File { size: u64, extents: Vec<Extent> },
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// Anything else.
    Special(Special),
}

/// Something that happened to an item.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flag {
    /// It will not be whole; that has been told.
    Failed = 1,
    /// There is a file under its name that this run may write into.
    Present = 2,
    /// That file was there before.
    InPlace = 4,
}

impl Item {
    pub(super) fn new(directory: u32, name: &[u8], body: Body, wanted: Metadata) -> Self {
        let (pieces, flags) = (AtomicU32::new(0), AtomicU8::new(0));
        Self { directory, name: name.into(), body, wanted, pieces, flags }
    }

    /// Memory it takes, roughly.
    pub(super) fn weight(&self) -> usize {
        let xattrs: usize = self.wanted.xattrs.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        let body = match &self.body {
            Body::Small(bytes) | Body::Symlink(bytes) => bytes.len(),
            // With what planning makes of each.
            Body::File { extents, .. } => extents.len() * 2 * size_of::<Extent>(),
            Body::Special(_) => 0,
        };
        size_of::<Self>() + self.name.len() + xattrs + body
    }

    /// Length of a file, 0 for everything else.
    pub(super) fn size(&self) -> u64 {
        match &self.body {
            Body::Small(bytes) => bytes.len() as u64,
            Body::File { size, .. } => *size,
            Body::Symlink(_) | Body::Special(_) => 0,
        }
    }

    pub(super) fn extents(&self) -> &[Extent] {
        match &self.body {
            Body::File { extents, .. } => extents,
            _ => &[],
        }
    }

    pub(super) fn is(&self, flag: Flag) -> bool {
        self.flags.load(Ordering::Acquire) & flag as u8 != 0
    }

    /// Sets a flag; whether it was not set before.
    pub(super) fn mark(&self, flag: Flag) -> bool {
        self.flags.fetch_or(flag as u8, Ordering::AcqRel) & flag as u8 == 0
    }
}

impl Batch {
    /// The key of an item below the target.
    pub(super) fn key(&self, item: &Item) -> Vec<u8> {
        crate::record::entry::child_key(&self.directories[item.directory as usize].key, &item.name)
    }

    /// What is known of an item's directory.
    pub(super) fn state(&self, item: &Item) -> State {
        self.directories[item.directory as usize].state
    }
}
