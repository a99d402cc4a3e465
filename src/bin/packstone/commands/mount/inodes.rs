//! Inodes that the kernel knows: by number, as long as it asks for them.
//!
//! A number follows from the path, so that it is the same after the kernel has forgotten it and after another mount. Only
//! where two paths would have the same number, which hardly ever happens, does it depend on which of them came first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an inode stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory above the snapshots.
    Above(usize),
    /// A link in such a directory: the directory, and its name.
    Link(usize, Box<str>),
    /// A path of a snapshot: where that is shown, and the key.
    Entry(usize, Box<[u8]>),
}

/// What a number is made from: the same for all names of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity([u8; 32]);

impl Identity {
    /// Of parts that follow from a path.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The inode's number, if no other has it.
    pub fn number(&self) -> u64 {
        self.candidate(0)
    }

    fn candidate(&self, attempt: u64) -> u64 {
        let first = self.0.first_chunk().expect("this cannot fail because a hash is longer");
        // 0 is no inode, and 1 is the mount point.
        u64::from_le_bytes(*first).wrapping_add(attempt).max(ROOT + 1)
    }
}

/// Inodes that were looked up and not yet forgotten.
#[derive(Default)]
pub struct Inodes {
    table: Mutex<HashMap<u64, Known>>,
}

struct Known {
    identity: Identity,
    place: Place,
    lookups: u64,
}

/// The mount point.
pub const ROOT: u64 = 1;

impl Inodes {
    /// What a number stands for.
    pub fn find(&self, inode: u64) -> Option<Place> {
        if inode == ROOT {
            return Some(Place::Above(0));
        }
        self.lock().get(&inode).map(|known| known.place.clone())
    }

    /// The number of a place that the kernel is told of.
    pub fn look_up(&self, identity: Identity, place: Place) -> u64 {
        let mut table = self.lock();
        let mut attempt = 0;
        loop {
            let inode = identity.candidate(attempt);
            let known = table.entry(inode).or_insert_with(|| Known { identity, place: place.clone(), lookups: 0 });
            if known.identity == identity {
                known.lookups += 1;
                return inode;
            }
            attempt += 1;
        }
    }

    /// The kernel does not need a number any more, which it was told so many times.
    pub fn forget(&self, inode: u64, lookups: u64) {
        let mut table = self.lock();
        if let Some(known) = table.get_mut(&inode) {
            known.lookups = known.lookups.saturating_sub(lookups);
            if known.lookups == 0 {
                table.remove(&inode);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lasts_as_long_as_the_kernel_needs_it() {
        let inodes = Inodes::default();
        let identity = Identity::of(&[b"a", b"b"]);
        assert_ne!(identity, Identity::of(&[b"ab", b""]));
        let place = Place::Entry(3, b"a".as_slice().into());
        let inode = inodes.look_up(identity, place.clone());
        assert_eq!(inodes.look_up(identity, place.clone()), inode);
        inodes.forget(inode, 1);
        assert_eq!(inodes.find(inode), Some(place));
        inodes.forget(inode, 1);
        assert_eq!(inodes.find(inode), None);
        assert_eq!(inodes.find(ROOT), Some(Place::Above(0)));
    }
}
