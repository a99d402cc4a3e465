//! What a backup of files counts.

use crate::source::files::Kind;

/// How a path stands to the parent snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    New,
    Changed,
    Unmodified,
}

/// Paths of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    new: u64,
    changed: u64,
    unmodified: u64,
}

/// All figures of a backup of files.
#[derive(Debug, Default)]
pub(super) struct Figures {
    files: Counts,
    directories: Counts,
    others: Counts,
    /// Bytes of all files, as a restore writes them.
    pub(super) total_bytes: u64,
    /// Bytes of files that were read.
    pub(super) bytes_read: u64,
}

impl Figures {
    /// A path was stored.
    pub(super) fn count(&mut self, kind: Kind, size: u64, change: Change) {
        let counts = match kind {
            Kind::File => &mut self.files,
            Kind::Directory => &mut self.directories,
            _ => &mut self.others,
        };
        match change {
            Change::New => counts.new += 1,
            Change::Changed => counts.changed += 1,
            Change::Unmodified => counts.unmodified += 1,
        }
        self.total_bytes += size;
    }

    /// Files stored so far.
    pub(super) fn files(&self) -> u64 {
        self.files.all()
    }

    /// Paths that are new or changed, and the others.
    pub(super) fn records(&self) -> (u64, u64) {
        let all = [self.files, self.directories, self.others];
        (all.iter().map(|c| c.new + c.changed).sum(), all.iter().map(|c| c.unmodified).sum())
    }

    /// As a snapshot keeps them, sorted by name.
    pub(super) fn list(&self) -> Vec<(String, u64)> {
        [
            ("dirs_changed", self.directories.changed),
            ("dirs_new", self.directories.new),
            ("dirs_unmodified", self.directories.unmodified),
            ("files_changed", self.files.changed),
            ("files_new", self.files.new),
            ("files_unmodified", self.files.unmodified),
            ("others_changed", self.others.changed),
            ("others_new", self.others.new),
            ("others_unmodified", self.others.unmodified),
            ("total_bytes", self.total_bytes),
            ("total_files", self.files.all()),
        ]
        .map(|(name, number)| (name.to_owned(), number))
        .to_vec()
    }
}

impl Counts {
    fn all(&self) -> u64 {
        self.new + self.changed + self.unmodified
    }
}
