//! The records of condemned packs.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::random::random;
use super::{Repository, look};
use crate::backend::PutNew;
use crate::error::{Error, Result};
use crate::format::{GcRecord, ObjectPath};
use crate::id::PackId;

/// All gc records as of one listing.
#[derive(Clone, Debug, Default)]
pub struct GcRecords {
    /// The records, oldest first.
    pub records: Vec<GcRecord>,
    /// Number of the newest; 0 when there is none.
    pub newest: u64,
    /// Every pack that any of them condemns. A condemned pack is dead for ever.
    pub condemned: HashSet<PackId>,
}

impl Repository {
    /// Lists and reads every gc record.
    pub fn gc_records(&self) -> Result<GcRecords> {
        let (found, no_longer_listed) = match self.looked_ahead(|look| look.gc.take()) {
            Some(found) => found?,
            None => {
                let listed = look::listed_gc(&self.store().list("gc/")?);
                let (found, _) = self.store().block_on(look::read_gc(self.store(), listed, &self.last_look()));
                (found, Vec::new())
            }
        };
        let mut all = GcRecords::default();
        let mut seen = BTreeMap::new();
        for (n, found) in found {
            // One that was removed since the listing named only packs that are gone.
            let Some(bytes) = found? else { continue };
            let open = |bytes: Bytes| self.open_gc_record(n, &bytes).map(|record| (bytes, record));
            let (bytes, record) = self.store().open_or_read_again(&ObjectPath::gc(n), bytes, open)?;
            seen.insert(n, bytes);
            all.newest = all.newest.max(record.n);
            all.condemned.extend(&record.condemned);
            all.records.push(record);
        }
        all.records.sort_by_key(|record| record.n);
        for (n, bytes) in no_longer_listed {
            all.condemned.extend(&self.open_gc_record(n, &bytes)?.condemned);
        }
        self.remember(|last| last.gc = Some(seen));
        Ok(all)
    }

    /// Number of the newest gc record; 0 when there is none.
    pub fn newest_gc(&self) -> Result<u64> {
        let listed = self.store().list("gc/")?;
        Ok(listed.iter().filter_map(|(path, _)| path.name().parse().ok()).max().unwrap_or(0))
    }

    /// Publishes a gc record; `false` when another pruner took its number.
    pub fn put_gc_record(&self, record: &GcRecord) -> Result<bool> {
        let path = ObjectPath::gc(record.n);
        let body = record.seal(self.keys(), &random());
        Ok(self.store().put_new(&path, body)? == PutNew::Created)
    }

    fn open_gc_record(&self, n: u64, bytes: &[u8]) -> Result<GcRecord> {
        GcRecord::open(self.keys(), n, bytes).map_err(|e| Error::damaged(ObjectPath::gc(n), e))
    }
}
