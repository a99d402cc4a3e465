//! Listing a directory of a snapshot, a few hundred names at a time.

use std::collections::VecDeque;

use fuser::FileType;
use packstone::Result;
use packstone::ops::Children;
use packstone::record::entry;

use super::attributes::kind;
use super::snapshots::Snapshots;

/// Names that are read at once.
const NAMES_AT_ONCE: usize = 512;

/// A directory that is being listed.
pub struct Listing {
    leaf: usize,
    key: Box<[u8]>,
    /// How many names were handed out.
    position: u64,
    /// Key of the last one that was read; none at the beginning.
    last: Option<Vec<u8>>,
    ahead: VecDeque<Name>,
    ended: bool,
}

/// A name in a directory.
#[derive(Clone)]
pub struct Name {
    /// The name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FileType,
    /// The number of its inode.
    pub inode: u64,
}

impl Listing {
    /// Of a directory, from the beginning.
    pub fn new(leaf: usize, key: Box<[u8]>) -> Self {
        Self { leaf, key, position: 0, last: None, ahead: VecDeque::new(), ended: false }
    }

    /// Goes on behind the first `position` names.
    pub fn seek(&mut self, snapshots: &Snapshots, position: u64) -> Result<()> {
        if position < self.position {
            *self = Self::new(self.leaf, self.key.clone());
        }
        while self.position < position && self.peek(snapshots)?.is_some() {
            self.advance();
        }
        Ok(())
    }

    /// The next name.
    pub fn peek(&mut self, snapshots: &Snapshots) -> Result<Option<Name>> {
        if self.ahead.is_empty() && !self.ended {
            self.read(snapshots)?;
        }
        Ok(self.ahead.front().cloned())
    }

    /// Goes past the name that was peeked at.
    pub fn advance(&mut self) {
        if self.ahead.pop_front().is_some() {
            self.position += 1;
        }
    }

    fn read(&mut self, snapshots: &Snapshots) -> Result<()> {
        let tree = snapshots.tree(self.leaf)?;
        let mut children: Children<'_> = match &self.last {
            None => tree.children(&self.key)?,
            Some(last) => tree.children_behind(&self.key, last)?,
        };
        while self.ahead.len() < NAMES_AT_ONCE {
            let Some(child) = children.next().transpose()? else {
                self.ended = true;
                return Ok(());
            };
            let (found, found_entry) = child;
            // Deeper than a child where the directories between have no entries of their own.
            let start = if self.key.is_empty() { 0 } else { self.key.len() + 1 };
            let below = found.get(start..).unwrap_or_default();
            let name = below.split(|byte| *byte == 0).next().unwrap_or_default();
            let key = entry::child_key(&self.key, name);
            if self.last.as_deref() == Some(&key) {
                continue;
            }
            let child = match found == key {
                true => found_entry,
                false => snapshots.made_up(self.leaf),
            };
            let inode = snapshots.identity(self.leaf, &key, &child).number();
            self.ahead.push_back(Name { name: name.to_vec(), kind: kind(&child.body), inode });
            self.last = Some(key);
        }
        Ok(())
    }
}
