//! Asking the index.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::IndexedPack;
use crate::id::{BlobId, IndexId, PackId};
use crate::index::shard::{Entry, Shard};
use crate::index::{BlobLocation, Index};

/// A copy of a blob in a pack that is not condemned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobCopy {
    /// The pack.
    pub pack: PackId,
    /// Its number among all entries of the index.
    pub ordinal: u64,
    /// Whether it is stored as a delta.
    pub is_delta: bool,
}

/// Which packs count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Among {
    Live,
    All,
}

impl Index {
    /// Whether the blob need not be stored again: a pack that is not condemned holds it, and if only as a delta, then one
    /// that is not condemned holds the base whole.
    pub fn contains(&self, id: &BlobId) -> bool {
        self.is_whole(id) || self.deltas(id, Among::Live).any(|location| self.base_is_whole(&location))
    }

    /// Where to read a blob. Whole copies are preferred to deltas, deltas with a known base to others. Condemned packs are
    /// passed over.
    pub fn find(&self, id: &BlobId) -> Option<BlobLocation> {
        self.find_among(id, Among::Live)
    }

    /// Like [`Self::find`], but condemned packs count as well: for rescuing, and for reading while others prune.
    pub fn find_anywhere(&self, id: &BlobId) -> Option<BlobLocation> {
        self.find_among(id, Among::Live).or_else(|| self.find_among(id, Among::All))
    }

    /// Where to read the blob itself, not a delta of it: what a base must have. Condemned packs count as well, when no other
    /// holds it.
    pub fn find_whole(&self, id: &BlobId) -> Option<BlobLocation> {
        let whole = |among| self.locations(id, among, false).next();
        whole(Among::Live).or_else(|| whole(Among::All))
    }

    /// What the delta copies of a blob are deltas of; nothing when there is a whole copy. Condemned packs count only when
    /// no other holds the blob.
    pub fn bases(&self, id: &BlobId) -> Vec<BlobId> {
        if self.is_whole(id) {
            return Vec::new();
        }
        let bases = |among| self.deltas(id, among).filter_map(|location| location.frame().base).collect::<Vec<_>>();
        let live = bases(Among::Live);
        if !live.is_empty() || self.locations(id, Among::All, false).next().is_some() { live } else { bases(Among::All) }
    }

    /// One more than the highest [ordinal](Self::ordinal). Entries are numbered over all packs, condemned or not; the
    /// numbers hold until the index is changed.
    pub fn ordinals(&self) -> u64 {
        self.first_ordinals().last().map_or(0, |(first, shard)| first + shard.entries_count())
            + self.pending.entries_count()
    }

    /// The number of one copy of the blob, the same for every call: of a whole one if there is one. Condemned packs are
    /// passed over.
    pub fn ordinal(&self, id: &BlobId) -> Option<u64> {
        let mut delta = None;
        for copy in self.copies_iter(id) {
            if !copy.is_delta {
                return Some(copy.ordinal);
            }
            delta = delta.or(Some(copy));
        }
        delta.map(|copy| copy.ordinal)
    }

    /// The number of one whole copy of the blob, as [`Self::ordinal`] gives it.
    pub fn ordinal_whole(&self, id: &BlobId) -> Option<u64> {
        self.copies_iter(id).find(|copy| !copy.is_delta).map(|copy| copy.ordinal)
    }

    /// All copies of the blob in packs that are not condemned, one per pack.
    pub fn copies(&self, id: &BlobId) -> Vec<BlobCopy> {
        let mut copies: Vec<BlobCopy> = Vec::new();
        for copy in self.copies_iter(id) {
            if copies.iter().all(|known| known.pack != copy.pack) {
                copies.push(copy);
            }
        }
        copies
    }

    /// The packs that are not condemned, each once, their directories decoded as the iterator proceeds.
    pub fn packs(&self) -> Packs<'_> {
        Packs { index: self, shard: 0, row: 0, pending: 0 }
    }

    /// A pack, condemned or not.
    pub fn pack(&self, id: &PackId) -> Result<Option<Arc<IndexedPack>>> {
        if let Some(pack) = self.pending.packs().iter().find(|pack| pack.id == *id) {
            return Ok(Some(Arc::clone(pack)));
        }
        let Some((shard, row)) = self.shards.iter().find_map(|shard| Some((shard, shard.first_listed(id)?))) else {
            return Ok(None);
        };
        self.directory(shard, row).map(Some).ok_or_else(|| damaged_cache(id))
    }

    /// Whether any index object or this session lists the pack, condemned or not.
    pub fn has_pack(&self, id: &PackId) -> bool {
        self.pending.packs().iter().any(|pack| pack.id == *id)
            || self.shards.iter().any(|shard| shard.first_listed(id).is_some())
    }

    /// Which index object lists which pack, condemned or not; a pack may come more than once.
    pub fn objects(&self) -> impl Iterator<Item = (IndexId, PackId)> {
        self.shards.iter().flat_map(|shard| {
            let rows = (0..shard.rows_count()).filter(|&n| shard.is_listed(n)).map(|n| shard.row(n));
            rows.filter(|row| row.first_slot == 0).filter_map(|row| Some((shard.object_of(&row)?, row.pack)))
        })
    }

    /// Entries over all packs, copies counted each.
    pub fn entries_count(&self) -> u64 {
        self.ordinals()
    }

    /// Bytes of the shards' files, the index's use of disk.
    pub fn disk_bytes(&self) -> u64 {
        self.shards.iter().map(Shard::size_bytes).sum()
    }

    fn is_whole(&self, id: &BlobId) -> bool {
        self.copies_iter(id).any(|copy| !copy.is_delta)
    }

    fn base_is_whole(&self, location: &BlobLocation) -> bool {
        location.frame().base.is_some_and(|base| self.is_whole(&base))
    }

    fn find_among(&self, id: &BlobId, among: Among) -> Option<BlobLocation> {
        let mut whole = self.locations(id, among, false);
        if let Some(location) = whole.next() {
            return Some(location);
        }
        let mut deltas = self.deltas(id, among);
        let first = deltas.next()?;
        if self.base_is_whole(&first) {
            return Some(first);
        }
        Some(deltas.find(|location| self.base_is_whole(location)).unwrap_or(first))
    }

    fn deltas(&self, id: &BlobId, among: Among) -> impl Iterator<Item = BlobLocation> {
        self.locations(id, among, true)
    }

    /// The copies that are deltas, or those that are not. The whole id has been compared.
    fn locations(&self, id: &BlobId, among: Among, delta: bool) -> impl Iterator<Item = BlobLocation> {
        let id = *id;
        let pending =
            self.pending.copies(id).filter(move |copy| among == Among::All || !self.is_condemned(&copy.pack.id));
        let pending = pending.filter_map(|copy| BlobLocation::at(Arc::clone(copy.pack), copy.slot));
        let shards = self.shards.iter().flat_map(move |shard| {
            let entries = shard.entries_of(id).map(|(_, entry)| entry);
            let counts = move |entry: &Entry| match among {
                Among::Live => shard.is_live(entry.row),
                Among::All => shard.is_listed(entry.row),
            };
            entries.filter(counts).filter(move |entry| entry.delta == delta).filter_map(move |entry| {
                let slot = shard.row(entry.row).first_slot + u32::from(entry.slot);
                BlobLocation::at(self.directory(shard, entry.row)?, slot)
            })
        });
        pending.chain(shards).filter(move |location| location.blob().id == id && location.is_delta() == delta)
    }

    /// Live copies. Of copies in shards, 128 bits of the id have been compared.
    fn copies_iter(&self, id: &BlobId) -> impl Iterator<Item = BlobCopy> {
        let id = *id;
        let in_shards = self.first_ordinals().flat_map(move |(first, shard)| {
            let live = shard.entries_of(id).filter(|(_, entry)| shard.is_live(entry.row));
            live.map(move |(number, entry)| BlobCopy {
                pack: shard.row(entry.row).pack,
                ordinal: first + number,
                is_delta: entry.delta,
            })
        });
        let live = self.pending.copies(id).filter(|copy| !self.is_condemned(&copy.pack.id));
        let in_pending = live.filter_map(|copy| {
            let location = BlobLocation::at(Arc::clone(copy.pack), copy.slot)?;
            let first = self.ordinals() - self.pending.entries_count();
            Some(BlobCopy { pack: copy.pack.id, ordinal: first + copy.number, is_delta: location.is_delta() })
        });
        in_shards.chain(in_pending)
    }

    fn first_ordinals(&self) -> impl Iterator<Item = (u64, &Shard)> {
        self.shards.iter().scan(0, |next, shard| {
            let first = *next;
            *next += shard.entries_count();
            Some((first, shard))
        })
    }

    fn directory(&self, shard: &Shard, row: u32) -> Option<Arc<IndexedPack>> {
        let row_value = shard.row(row);
        // The rows of one pack share a directory.
        let first_row = row - row_value.first_slot / crate::index::shard::SLOTS_PER_ROW;
        self.directories.get((shard.key(), first_row), || shard.decode(&row_value))
    }
}

impl Shard {
    /// The first row of a pack that still counts.
    fn first_listed(&self, id: &PackId) -> Option<u32> {
        let start = self.row_of(id)?;
        (start..self.rows_count()).take_while(|&n| self.row(n).pack == *id).find(|&n| self.is_listed(n))
    }
}

/// The packs of an [`Index`] that are not condemned.
pub struct Packs<'a> {
    index: &'a Index,
    shard: usize,
    row: u32,
    pending: usize,
}

impl Iterator for Packs<'_> {
    type Item = Result<Arc<IndexedPack>>;

    fn next(&mut self) -> Option<Self::Item> {
        let shards = &self.index.shards;
        while let Some(shard) = shards.get(self.shard) {
            let n = self.row;
            if n == shard.rows_count() {
                (self.shard, self.row) = (self.shard + 1, 0);
                continue;
            }
            self.row += 1;
            let row = shard.row(n);
            let first = shard.is_live(n) && shard.first_listed(&row.pack) == Some(n);
            if first && shards[..self.shard].iter().all(|earlier| earlier.first_listed(&row.pack).is_none()) {
                return Some(shard.decode(&row).map(Arc::new).ok_or_else(|| damaged_cache(&row.pack)));
            }
        }
        while let Some(pack) = self.index.pending.packs().get(self.pending) {
            self.pending += 1;
            let in_shards = shards.iter().any(|shard| shard.first_listed(&pack.id).is_some());
            let earlier = self.index.pending.packs()[..self.pending - 1].iter().any(|known| known.id == pack.id);
            if !(in_shards || earlier || self.index.is_condemned(&pack.id)) {
                return Some(Ok(Arc::clone(pack)));
            }
        }
        None
    }
}

fn damaged_cache(pack: &PackId) -> Error {
    let message = format_args!("the cached directory of pack {} is damaged and was removed: run again", pack.short());
    Error::new(ErrorKind::Damaged, "index cache", message)
}
