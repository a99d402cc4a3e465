//! Chains of sync segments under `sync/`: written one object at a time, read whole, removed at once.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Repository;
use super::random::random;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Opening, Outcome, Sealed, Segment, Snapshot};
use crate::id::{SnapshotId, StreamId};

/// Segments that are asked for at once.
const BATCH: usize = 256;

/// Property of a snapshot that was made of another session's chain: that session.
const CONTAINS: &str = "sync-session";

/// What one session has written of a stream, as listed.
#[derive(Clone, Debug)]
pub struct Chain {
    /// What is followed.
    pub stream: StreamId,
    /// The session that it belongs to.
    pub session: SnapshotId,
    /// Its objects by number; 0 is the opening.
    pub objects: BTreeMap<u64, ObjectPath>,
    /// When the newest was written, by the store's clock: milliseconds since 1970.
    pub last_written_ms: i64,
}

impl Chain {
    /// Whether it can be followed: one without its opening holds nothing that was acknowledged, or is being removed.
    pub fn is_open(&self) -> bool {
        self.objects.contains_key(&0)
    }

    /// Whether an object may be part of a chain, by its path.
    pub fn is_part(path: &ObjectPath) -> bool {
        parse(path).is_some()
    }

    /// Says in a snapshot that it contains the chain of `session`.
    pub fn mark_contained(snapshot: &mut Snapshot, session: SnapshotId) {
        snapshot.properties.retain(|(name, _)| name != CONTAINS);
        let at = snapshot.properties.partition_point(|(name, _)| name.as_str() < CONTAINS);
        snapshot.properties.insert(at, (CONTAINS.to_owned(), session.to_string()));
    }

    /// The session whose chain a snapshot says it contains, beside its own.
    pub fn contained_in(snapshot: &Snapshot) -> Option<SnapshotId> {
        let (_, session) = snapshot.properties.iter().find(|(name, _)| name == CONTAINS)?;
        session.parse().ok()
    }

    /// Whether a property of a snapshot is of this chapter, rather than of its source.
    pub fn is_mark(property: &str) -> bool {
        property == CONTAINS
    }
}

impl Repository {
    /// Every chain that is stored, by stream and session.
    pub fn chains(&self) -> Result<Vec<Chain>> {
        self.chains_below("sync/")
    }

    /// The chains of one stream.
    pub fn chains_of(&self, stream: StreamId) -> Result<Vec<Chain>> {
        self.chains_below(&format!("sync/{stream}/"))
    }

    fn chains_below(&self, prefix: &str) -> Result<Vec<Chain>> {
        let mut chains: BTreeMap<(StreamId, SnapshotId), Chain> = BTreeMap::new();
        for (path, stat) in self.store().list(prefix)? {
            let Some((stream, session, n)) = parse(&path) else { continue };
            let chain = chains.entry((stream, session)).or_insert_with(|| Chain {
                stream,
                session,
                objects: BTreeMap::new(),
                last_written_ms: i64::MIN,
            });
            chain.objects.insert(n, path);
            chain.last_written_ms = chain.last_written_ms.max(stat.modified_ms);
        }
        Ok(chains.into_values().collect())
    }

    /// The chain of one session as it is listed now.
    pub fn find_chain(&self, session: SnapshotId) -> Result<Option<Chain>> {
        Ok(self.chains()?.into_iter().find(|chain| chain.session == session))
    }

    /// Seals the opening of a chain.
    pub fn seal_opening(&self, stream: StreamId, session: SnapshotId, base: Snapshot) -> (ObjectPath, Sealed) {
        let opening = Opening { session, base, nonce: random() };
        (ObjectPath::sync(stream, session, 0), opening.seal(self.keys(), stream, &random()))
    }

    /// Seals a segment of a chain.
    pub fn seal_segment(&self, stream: StreamId, session: SnapshotId, segment: &Segment) -> (ObjectPath, Sealed) {
        let path = ObjectPath::sync(stream, session, segment.n);
        (path, segment.seal(self.keys(), stream, session, &random()))
    }

    /// Whether a session may still acknowledge what it writes: it has no outcome.
    pub fn is_session_open(&self, session: SnapshotId) -> Result<bool> {
        // Where nobody can be fenced, a user may have vouched for the end of this session.
        if !self.can_fence() && self.store().stat(&ObjectPath::session(session, 0))?.is_none() {
            return Ok(false);
        }
        Ok(self.store().stat(&ObjectPath::snapshot(session))?.is_none())
    }

    /// The opening of a chain and the hash of its object; `None` when it is gone.
    pub fn read_opening(&self, chain: &Chain) -> Result<Option<(Opening, [u8; 32])>> {
        let path = ObjectPath::sync(chain.stream, chain.session, 0);
        self.store().find_and_open(&path, |bytes| {
            let opening = Opening::open(self.keys(), chain.stream, chain.session, &bytes);
            let opening = opening.map_err(|e| Error::damaged(&path, e))?;
            Ok((opening, *blake3::hash(&bytes).as_bytes()))
        })
    }

    /// The newest segment of a chain that ends a transaction, by itself; `None` when there is none.
    pub fn read_last_whole(&self, chain: &Chain) -> Result<Option<Segment>> {
        for (n, path) in chain.objects.iter().rev().filter(|(n, _)| **n > 0) {
            let segment = self.store().find_and_open(path, |bytes| self.open_segment(chain, *n, &bytes))?;
            if segment.as_ref().is_none_or(|segment| segment.ends) {
                return Ok(segment);
            }
        }
        Ok(None)
    }

    /// Hands out the segments of a chain in order, each compared with the hash in the next; `opening` is the opening's hash.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] names the segment that is missing, does not open or is not the successor of the one before.
    pub fn read_segments(
        &self,
        chain: &Chain,
        opening: [u8; 32],
        take: &mut dyn FnMut(Segment, usize) -> Result<()>,
    ) -> Result<()> {
        let last = chain.objects.keys().next_back().copied().unwrap_or(0);
        let mut previous = opening;
        let mut next = 1;
        while next <= last {
            let numbers: Vec<u64> = (next..=last).take(BATCH).collect();
            next += numbers.len() as u64;
            let paths: Vec<_> = numbers.iter().map(|n| ObjectPath::sync(chain.stream, chain.session, *n)).collect();
            let bodies = self.store().block_on(self.store().find_all(paths.clone()));
            for ((n, path), body) in numbers.into_iter().zip(paths).zip(bodies) {
                let missing = || Error::new(ErrorKind::Damaged, &path, "is missing: the chain has a hole");
                let open = |bytes: Bytes| Ok((self.open_segment(chain, n, &bytes)?, bytes));
                let (segment, bytes) = self.store().open_or_read_again(&path, body?.ok_or_else(missing)?, open)?;
                if segment.previous != previous {
                    return Err(Error::new(ErrorKind::Damaged, path, "does not follow the one before it"));
                }
                previous = *blake3::hash(&bytes).as_bytes();
                take(segment, bytes.len())?;
            }
        }
        Ok(())
    }

    /// Removes a chain that a snapshot contains, its opening first: what is left after a crash can be told from a chain.
    pub fn remove_chain(&self, chain: &Chain) -> Result<()> {
        self.store().delete(&ObjectPath::sync(chain.stream, chain.session, 0))?;
        self.store().delete_all(chain.objects.values().cloned().collect())
    }

    /// Removes the chain that a snapshot contains before the snapshot itself goes: nobody may take it for newer than that.
    pub(super) fn remove_contained_chain(&self, outcome: &Outcome) -> Result<()> {
        let Outcome::Committed(snapshot) = outcome else { return Ok(()) };
        let Some(session) = Chain::contained_in(snapshot) else { return Ok(()) };
        self.find_chain(session)?.map_or(Ok(()), |chain| self.remove_chain(&chain))
    }

    fn open_segment(&self, chain: &Chain, n: u64, bytes: &[u8]) -> Result<Segment> {
        Segment::open(self.keys(), chain.stream, chain.session, n, bytes)
            .map_err(|e| Error::damaged(ObjectPath::sync(chain.stream, chain.session, n), e))
    }
}

fn parse(path: &ObjectPath) -> Option<(StreamId, SnapshotId, u64)> {
    let mut parts = path.as_str().split('/').skip(1);
    let (stream, session, n) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (ObjectPath::sync(stream, session, n) == *path).then_some((stream, session, n))
}
