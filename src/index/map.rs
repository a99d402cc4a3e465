//! Files seen as memory: the one place that needs an unsafe call.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::Mmap;

/// A whole file, mapped for reading.
#[derive(Debug)]
pub(in crate::index) struct Map(Mmap);

impl Map {
    /// Maps a file that nobody changes any more: a shard, unlinked or in the private cache folder.
    pub(in crate::index) fn new(file: &File) -> io::Result<Self> {
        #[expect(unsafe_code, reason = "mapping a file is unsafe because others might change it")]
        // SAFETY: shards are written completely before they are mapped or named, are never written again, and are replaced
        // only by rename, which leaves the mapped file as it is. The cache folder is readable by its owner alone.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self(map))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
