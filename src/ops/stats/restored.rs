//! How much a restore of files would write.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::id::SnapshotId;
use crate::ops::files::{self, Moment};
use crate::ops::{self};
use crate::progress::Observer;
use crate::record::entry::{Body, Content, Head, Kind};
use crate::repository::Repository;
use crate::sorter::{Sorter, SorterOptions};

/// What a restore of a snapshot would write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreSize {
    /// Paths of every kind.
    pub paths: u64,
    /// Regular files, of hard links one.
    pub files: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// What a restore of each of these snapshots would write; nothing for those without files.
pub async fn restore_sizes(
    repository: &Repository,
    snapshots: Vec<SnapshotId>,
    observer: Arc<dyn Observer>,
) -> Result<Vec<(SnapshotId, RestoreSize)>> {
    let repository = repository.clone();
    ops::blocking(move || sizes(&repository, &snapshots, &observer)).await
}

pub(super) fn sizes(
    repository: &Repository,
    ids: &[SnapshotId],
    observer: &Arc<dyn Observer>,
) -> Result<Vec<(SnapshotId, RestoreSize)>> {
    let snapshots = files::live(repository, ids)?;
    let mut sizes = HashMap::new();
    let mut sum = Sum::default();
    files::follow(&repository.reader(), &snapshots, &files::Part::whole(), observer, &mut |moment| {
        match moment {
            Moment::Begin => sum = Sum::default(),
            Moment::Gone { key, value } => sum.remove(&files::head(key, value)?),
            Moment::There { key, value, .. } => sum.add(&files::head(key, value)?),
            Moment::Complete { snapshot, .. } => {
                sizes.insert(snapshot.id, sum.size());
            }
        }
        Ok(())
    })?;
    Ok(ids.iter().map(|id| (*id, sizes.get(id).copied().unwrap_or_default())).collect())
}

/// Kept up while entries come and go.
#[derive(Default)]
struct Sum {
    paths: u64,
    files: u64,
    bytes: u128,
    /// Names that are there for one file, by device, inode and size.
    links: HashMap<(u64, u64, u64), u64>,
}

impl Sum {
    fn add(&mut self, entry: &Head<'_>) {
        self.paths += 1;
        if entry.kind != Kind::File {
            return;
        }
        let size = entry.size;
        if let Some(link) = entry.link {
            let names = self.links.entry((link.device, entry.inode, size)).or_default();
            *names += 1;
            if *names > 1 {
                return;
            }
        }
        self.files += 1;
        self.bytes += u128::from(size);
    }

    fn remove(&mut self, entry: &Head<'_>) {
        self.paths -= 1;
        if entry.kind != Kind::File {
            return;
        }
        let size = entry.size;
        if let Some(link) = entry.link {
            let file = (link.device, entry.inode, size);
            if let Some(names) = self.links.get_mut(&file) {
                *names -= 1;
                if *names > 0 {
                    return;
                }
                self.links.remove(&file);
            }
        }
        self.files -= 1;
        self.bytes -= u128::from(size);
    }

    fn size(&self) -> RestoreSize {
        RestoreSize { paths: self.paths, files: self.files, bytes: u64::try_from(self.bytes).unwrap_or(u64::MAX) }
    }
}

/// Files of different content in all of these snapshots together.
pub async fn different_files(
    repository: &Repository,
    snapshots: Vec<SnapshotId>,
    memory_bytes: usize,
    temporary: Option<PathBuf>,
    observer: Arc<dyn Observer>,
) -> Result<RestoreSize> {
    let repository = repository.clone();
    ops::blocking(move || {
        let snapshots = files::live(&repository, &snapshots)?;
        let mut sorter = Sorter::new(SorterOptions { memory_bytes, directory: temporary });
        files::follow(&repository.reader(), &snapshots, &files::Part::whole(), &observer, &mut |moment| {
            let Moment::There { key, value, .. } = moment else { return Ok(()) };
            match &files::decode(key, value)?.body {
                Body::File { size, content } => sorter.push(&content_row(*size, content)),
                _ => Ok(()),
            }
        })?;
        let (mut sum, mut last) = (RestoreSize::default(), Vec::new());
        sorter.finish()?.for_each(|row| {
            if row != last.as_slice() {
                last = row.to_vec();
                let size = row.first_chunk().map_or(0, |size| u64::from_le_bytes(*size));
                sum.files += 1;
                sum.bytes = sum.bytes.saturating_add(size);
            }
            Ok(())
        })?;
        sum.paths = sum.files;
        Ok(sum)
    })
    .await
}

/// The same bytes for the same content, beginning with the size.
fn content_row(size: u64, content: &Content) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    match content {
        Content::Inline(bytes) => {
            hasher.update(bytes);
        }
        Content::Extents(extents) => extents.iter().for_each(|extent| {
            hasher.update(&extent.key()).update(&extent.value());
        }),
        Content::Tree(tree) => {
            hasher.update(tree.id.as_bytes());
        }
    }
    let mut row = size.to_le_bytes().to_vec();
    row.extend_from_slice(&hasher.finalize().as_bytes()[..16]);
    row
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::record::entry::{Entry, Link, Owner, Time};

    fn file(inode: u64, size: u64, links: u64) -> Vec<u8> {
        let entry = Entry {
            body: Body::File { size, content: Content::Extents(Vec::new()) },
            mode: 0,
            owner: Owner::default(),
            mtime: Time::default(),
            ctime: Time::default(),
            atime: None,
            inode,
            link: (links > 1).then_some(Link { device: 1, count: links }),
            xattrs: Vec::new(),
        };
        entry.encode()
    }

    proptest! {
        #[test]
        fn what_came_and_went_leaves_no_trace(
            stay in prop::collection::vec((0_u64..5, 0_u64..3, 1_u64..3), 0..20),
            go in prop::collection::vec((0_u64..5, 0_u64..3, 1_u64..3), 0..20),
        ) {
            let (mut sum, mut expected) = (Sum::default(), Sum::default());
            for (inode, size, links) in stay.iter().chain(&go) {
                sum.add(&Head::parse(&file(*inode, 1000 + *size, *links)).unwrap());
            }
            for (inode, size, links) in &go {
                sum.remove(&Head::parse(&file(*inode, 1000 + *size, *links)).unwrap());
            }
            for (inode, size, links) in &stay {
                expected.add(&Head::parse(&file(*inode, 1000 + *size, *links)).unwrap());
            }
            prop_assert_eq!(sum.size(), expected.size());
        }
    }
}
