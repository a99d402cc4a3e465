//! Where objects are kept: the only place that builds their paths.

use std::fmt;

use crate::id::{IndexId, KeySlotId, LedgerId, PackId, SnapshotId, StreamId};

/// The path of one object below the repository's prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(String);

impl ObjectPath {
    /// The folders that objects are in; beside them stands `config`.
    pub const FOLDERS: [&str; 11] =
        ["keys", "packs", "index", "sessions", "snapshots", "gc", "sync", "ledger", "mirrors", "exclusive", "probe"];

    /// `config`.
    pub fn config() -> Self {
        Self("config".to_owned())
    }

    /// `keys/<id>`.
    pub fn key_slot(id: KeySlotId) -> Self {
        Self(format!("keys/{id}"))
    }

    /// `packs/<first byte>/<id>`.
    pub fn pack(id: PackId) -> Self {
        let id = id.to_string();
        Self(format!("packs/{}/{id}", &id[..2]))
    }

    /// `index/<level>/<id>`.
    pub fn index(level: u8, id: IndexId) -> Self {
        Self(format!("index/{level}/{id}"))
    }

    /// `sessions/<id>/<n>`: registration (0) and heartbeats (1, 2, ...) of a session.
    pub fn session(id: SnapshotId, n: u32) -> Self {
        Self(format!("sessions/{id}/{n}"))
    }

    /// `snapshots/<id>`: a snapshot, a fence, or the tombstone of a forgotten one.
    pub fn snapshot(id: SnapshotId) -> Self {
        Self(format!("snapshots/{id}"))
    }

    /// `gc/<n>`: the n-th record of condemned packs, zero-padded so that names sort.
    pub fn gc(n: u64) -> Self {
        Self(format!("gc/{n:010}"))
    }

    /// `sync/<stream>/<session>/<n>`: opening (0) and segments (1, 2, ...) of a chain, zero-padded so that names sort.
    pub fn sync(stream: StreamId, session: SnapshotId, n: u64) -> Self {
        Self(format!("sync/{stream}/{session}/{n:010}"))
    }

    /// `ledger/<id>`: what a part of a long job has done.
    pub fn ledger(id: LedgerId) -> Self {
        Self(format!("ledger/{id}"))
    }

    /// `mirrors/<n>`: the n-th list of the repository's placements, zero-padded so that names sort.
    pub fn mirror_list(n: u64) -> Self {
        Self(format!("mirrors/{n:010}"))
    }

    /// `mirrors/mark`: what makes a copy of the repository one of its mirrors.
    pub fn mirror_mark() -> Self {
        Self("mirrors/mark".to_owned())
    }

    /// `exclusive/<id>`: somebody works alone, on a store where nobody can be fenced.
    pub fn exclusive(id: SnapshotId) -> Self {
        Self(format!("exclusive/{id}"))
    }

    /// `probe/<id>-<n>`: written to see what the store does with it, and removed.
    pub fn probe(id: u64, n: u32) -> Self {
        Self(format!("probe/{id:016x}-{n}"))
    }

    /// A path as a backend listed it; only `[0-9a-z/._-]`, no empty, `.` or `..` parts.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || "/._-".contains(c);
        let part = |p: &str| !p.is_empty() && p != "." && p != "..";
        (text.chars().all(allowed) && text.split('/').all(part)).then(|| Self(text.to_owned()))
    }

    /// The path as text, parts separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
