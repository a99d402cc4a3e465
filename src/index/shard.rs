//! A shard: the entries of some packs in one flat file, mapped.
//!
//! ```text
//! partition ...    entries (22 bytes each, sorted), then their filter; a partition per leading bits of the id
//! directory ...    postcard of a PackDirectory, checked by its row
//! row ...          (72 bytes) a pack, or the next 65,536 blobs of one; sorted by pack and first slot
//! object ...       (32 bytes) the index objects that the rows come from
//! partition head . (44 bytes) where each partition is
//! footer           (96 bytes) counts, places, and BLAKE3 of everything but the directories
//! ```
//!
//! An entry is 16 bytes of the blob's id, the row (whose highest bit says "delta") and the slot counted from the row's first.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use xorf::{BinaryFuse8Ref, Filter, FilterRef};

use crate::format::{IndexedPack, PackDirectory};
use crate::id::{BlobId, IndexId, PackId};
use crate::index::map::Map;

pub(in crate::index) const MAGIC: &[u8; 8] = b"PSTNshd1";
pub(in crate::index) const ENTRY_BYTES: usize = 22;
pub(in crate::index) const ROW_BYTES: usize = 72;
pub(in crate::index) const PARTITION_BYTES: usize = 44;
pub(in crate::index) const FILTER_HEAD_BYTES: usize = 20;
pub(in crate::index) const FOOTER_BYTES: usize = 96;
pub(in crate::index) const SLOTS_PER_ROW: u32 = 1 << 16;
pub(in crate::index) const DELTA_BIT: u32 = 1 << 31;

/// Directories of shards up to this length are checked when they are loaded.
const LOOKED_THROUGH_BYTES: usize = 64 << 20;

/// The row comes from no index object.
pub(in crate::index) const UNLISTED: u32 = u32::MAX;

/// The part of a blob id that a shard keeps.
pub(in crate::index) type Prefix = [u8; 16];

/// A mapped shard with what this process knows of its rows.
#[derive(Debug)]
pub(in crate::index) struct Shard {
    map: Map,
    path: Option<PathBuf>,
    /// Its number in this process.
    key: u64,
    entries_count: u64,
    partition_bits: u32,
    partitions: Vec<Partition>,
    rows: Table,
    objects: Table,
    removed: Bits,
    condemned: Bits,
}

/// Where one range of ids is.
#[derive(Debug)]
struct Partition {
    first_entry: u64,
    offset: usize,
    count: usize,
    filter_len: usize,
    filter_head: [u8; FILTER_HEAD_BYTES],
}

#[derive(Clone, Copy, Debug)]
struct Table {
    offset: usize,
    count: u32,
}

/// A blob in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::index) struct Entry {
    pub(in crate::index) prefix: Prefix,
    pub(in crate::index) row: u32,
    pub(in crate::index) slot: u16,
    pub(in crate::index) delta: bool,
}

/// A pack, or the part of one that 16 bits of slot can name.
#[derive(Clone, Copy, Debug)]
pub(in crate::index) struct Row {
    pub(in crate::index) pack: PackId,
    pub(in crate::index) size_bytes: u64,
    pub(in crate::index) directory_offset: u64,
    pub(in crate::index) directory_len: u32,
    pub(in crate::index) first_slot: u32,
    pub(in crate::index) object: u32,
    pub(in crate::index) checksum: [u8; 12],
}

/// The footer's fields before its hash.
#[derive(Clone, Copy, Debug)]
pub(in crate::index) struct Footer {
    pub(in crate::index) entries_count: u64,
    pub(in crate::index) directories_offset: u64,
    pub(in crate::index) rows_offset: u64,
    pub(in crate::index) rows_count: u32,
    pub(in crate::index) objects_count: u32,
    pub(in crate::index) partition_bits: u32,
}

#[derive(Debug)]
struct Bits(Vec<u64>);

impl Shard {
    /// Maps and checks a shard, all but its directories.
    pub(in crate::index) fn map(file: &File, path: Option<PathBuf>, key: u64) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged index shard");
        if file.metadata()?.len() < FOOTER_BYTES as u64 {
            return Err(damaged());
        }
        let map = Map::new(file)?;
        let footer = Footer::read(&map).ok_or_else(damaged)?;
        let partitions_count = 1usize << footer.partition_bits;
        let rows = Table { offset: footer.rows_offset as usize, count: footer.rows_count };
        let objects = Table { offset: rows.offset + rows.count as usize * ROW_BYTES, count: footer.objects_count };
        let heads = objects.offset + objects.count as usize * IndexId::LEN;
        let partitions = (0..partitions_count).map(|n| Partition::read(&map[heads + n * PARTITION_BYTES..])).collect();
        Ok(Self {
            path,
            key,
            entries_count: footer.entries_count,
            partition_bits: footer.partition_bits,
            partitions,
            rows,
            objects,
            removed: Bits::new(rows.count),
            condemned: Bits::new(rows.count),
            map,
        })
    }

    pub(in crate::index) fn entries_count(&self) -> u64 {
        self.entries_count
    }

    pub(in crate::index) fn tier(&self) -> u32 {
        tier(self.entries_count)
    }

    /// Whether later runs find it again.
    pub(in crate::index) fn is_cached(&self) -> bool {
        self.path.is_some()
    }

    pub(in crate::index) fn key(&self) -> u64 {
        self.key
    }

    /// Bytes of the mapped file.
    pub(in crate::index) fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The entries of a blob with their numbers. 128 bits of the id have been compared.
    pub(in crate::index) fn entries_of(&self, id: BlobId) -> impl Iterator<Item = (u64, Entry)> {
        let key = filter_key(id.as_bytes());
        let partition = &self.partitions[partition_of(key, self.partition_bits)];
        let prefix: Prefix = *id.as_bytes().first_chunk().expect("an id is longer than its prefix");
        let start = if self.may_hold(partition, key) { self.lower_bound(partition, &prefix) } else { partition.count };
        let entries = (start..partition.count).map(|n| (partition.first_entry + n as u64, self.entry(partition, n)));
        entries.take_while(move |(_, entry)| entry.prefix == prefix)
    }

    /// All entries in order.
    pub(in crate::index) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.partitions.iter().flat_map(|partition| (0..partition.count).map(|n| self.entry(partition, n)))
    }

    fn may_hold(&self, partition: &Partition, key: u64) -> bool {
        if partition.filter_len == 0 {
            return partition.count > 0;
        }
        let start = partition.offset + partition.count * ENTRY_BYTES;
        let fingerprints = &self.map[start..start + partition.filter_len];
        BinaryFuse8Ref::from_dma(&partition.filter_head, fingerprints).contains(&key)
    }

    fn prefix(&self, partition: &Partition, n: usize) -> &Prefix {
        self.map[partition.offset + n * ENTRY_BYTES..].first_chunk().expect("an entry is longer than its prefix")
    }

    fn entry(&self, partition: &Partition, n: usize) -> Entry {
        Entry::read(&self.map[partition.offset + n * ENTRY_BYTES..])
    }

    /// The first entry not below `prefix`. Ids are uniform: a guess by proportion is near, so few pages are touched.
    fn lower_bound(&self, partition: &Partition, prefix: &Prefix) -> usize {
        let count = partition.count;
        let within = filter_key(prefix).checked_shl(self.partition_bits).unwrap_or(0);
        let guess = ((u128::from(within) * count as u128) >> 64) as usize;
        let mut step = 32;
        let (mut low, mut high) = (guess, guess);
        if self.prefix(partition, guess) < prefix {
            loop {
                low = high + 1;
                high = (high + step).min(count);
                if high == count || self.prefix(partition, high) >= prefix {
                    break;
                }
                step *= 2;
            }
        } else {
            loop {
                high = low;
                low = low.saturating_sub(step);
                if low == 0 || self.prefix(partition, low) < prefix {
                    break;
                }
                step *= 2;
            }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.prefix(partition, middle) < prefix {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(in crate::index) fn row(&self, n: u32) -> Row {
        Row::read(&self.map[self.rows.offset + n as usize * ROW_BYTES..])
    }

    pub(in crate::index) fn rows_count(&self) -> u32 {
        self.rows.count
    }

    /// The first row of a pack.
    pub(in crate::index) fn row_of(&self, pack: &PackId) -> Option<u32> {
        let (mut low, mut high) = (0, self.rows.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle).pack < *pack {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < self.rows.count && self.row(low).pack == *pack).then_some(low)
    }

    fn rows_of(&self, pack: &PackId) -> impl Iterator<Item = u32> {
        let start = self.row_of(pack).unwrap_or(self.rows.count);
        let pack = *pack;
        (start..self.rows.count).take_while(move |&n| self.row(n).pack == pack)
    }

    /// The directory's bytes as they are in the file.
    pub(in crate::index) fn directory_bytes(&self, row: &Row) -> &[u8] {
        let start = row.directory_offset as usize;
        &self.map[start..start + row.directory_len as usize]
    }

    /// The pack of a row. `None` when the file was damaged after it was written; the next run will not find it again.
    pub(in crate::index) fn decode(&self, row: &Row) -> Option<IndexedPack> {
        let bytes = self.directory_bytes(row);
        let directory: Option<PackDirectory> =
            if checksum(bytes) == row.checksum { postcard::from_bytes(bytes).ok() } else { None };
        if let (None, Some(path)) = (&directory, &self.path) {
            // Best effort: if it cannot be removed, the next run fails here again.
            let _ = fs::remove_file(path);
        }
        directory.map(|directory| IndexedPack { id: row.pack, size_bytes: row.size_bytes, directory })
    }

    /// Whether every directory is what was written, as far as looking is cheap: always in short shards, which are those that
    /// are merged, and taken on trust in long ones until they are decoded.
    pub(in crate::index) fn directories_are_whole(&self) -> bool {
        if self.map.len() > LOOKED_THROUGH_BYTES {
            return true;
        }
        let rows = (0..self.rows.count).map(|n| self.row(n));
        rows.filter(|row| row.first_slot == 0).all(|row| checksum(self.directory_bytes(&row)) == row.checksum)
    }

    pub(in crate::index) fn objects(&self) -> impl Iterator<Item = IndexId> {
        let bytes = &self.map[self.objects.offset..][..self.objects.count as usize * IndexId::LEN];
        let (ids, _) = bytes.as_chunks();
        ids.iter().map(|id| IndexId::new(*id))
    }

    /// The object that a row comes from.
    pub(in crate::index) fn object_of(&self, row: &Row) -> Option<IndexId> {
        let start =
            self.objects.offset + (row.object < self.objects.count).then_some(row.object)? as usize * IndexId::LEN;
        self.map[start..].first_chunk().map(|id| IndexId::new(*id))
    }

    /// Whether the row still counts, be it condemned or not.
    pub(in crate::index) fn is_listed(&self, row: u32) -> bool {
        !self.removed.get(row)
    }

    /// Whether the row counts and its pack is not condemned.
    pub(in crate::index) fn is_live(&self, row: u32) -> bool {
        self.is_listed(row) && !self.condemned.get(row)
    }

    /// Whether no row counts any more.
    pub(in crate::index) fn is_void(&self) -> bool {
        (0..self.rows.count).all(|row| self.removed.get(row))
    }

    pub(in crate::index) fn condemn<'a>(&mut self, packs: impl Iterator<Item = &'a PackId>) {
        for pack in packs {
            let rows: Vec<u32> = self.rows_of(pack).collect();
            rows.into_iter().for_each(|row| self.condemned.set(row));
        }
    }

    pub(in crate::index) fn remove_object(&mut self, id: &IndexId) {
        let Some(object) = self.objects().position(|known| known == *id) else { return };
        for row in 0..self.rows.count {
            if self.row(row).object as usize == object {
                self.removed.set(row);
            }
        }
    }

    /// Removes rows that come from no index object, now that one lists these packs.
    pub(in crate::index) fn remove_unlisted<'a>(&mut self, packs: impl IntoIterator<Item = &'a PackId>) {
        for pack in packs {
            let rows: Vec<u32> = self.rows_of(pack).filter(|&row| self.row(row).object == UNLISTED).collect();
            rows.into_iter().for_each(|row| self.removed.set(row));
        }
    }
}

impl Entry {
    fn read(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        let (prefix, row, slot) = (fields.take(), u32::from_le_bytes(fields.take()), u16::from_le_bytes(fields.take()));
        Self { prefix, row: row & !DELTA_BIT, slot, delta: row & DELTA_BIT != 0 }
    }

    pub(in crate::index) fn write(&self, out: &mut Vec<u8>) {
        let row = if self.delta { self.row | DELTA_BIT } else { self.row };
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&row.to_le_bytes());
        out.extend_from_slice(&self.slot.to_le_bytes());
    }
}

impl Row {
    fn read(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            pack: PackId::new(fields.take()),
            size_bytes: u64::from_le_bytes(fields.take()),
            directory_offset: u64::from_le_bytes(fields.take()),
            directory_len: u32::from_le_bytes(fields.take()),
            first_slot: u32::from_le_bytes(fields.take()),
            object: u32::from_le_bytes(fields.take()),
            checksum: fields.take(),
        }
    }

    pub(in crate::index) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.pack.as_bytes());
        out.extend_from_slice(&self.size_bytes.to_le_bytes());
        out.extend_from_slice(&self.directory_offset.to_le_bytes());
        out.extend_from_slice(&self.directory_len.to_le_bytes());
        out.extend_from_slice(&self.first_slot.to_le_bytes());
        out.extend_from_slice(&self.object.to_le_bytes());
        out.extend_from_slice(&self.checksum);
    }
}

impl Partition {
    fn read(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            first_entry: u64::from_le_bytes(fields.take()),
            offset: u64::from_le_bytes(fields.take()) as usize,
            count: u32::from_le_bytes(fields.take()) as usize,
            filter_len: u32::from_le_bytes(fields.take()) as usize,
            filter_head: fields.take(),
        }
    }
}

impl Footer {
    /// The footer of a whole and undamaged file.
    fn read(map: &[u8]) -> Option<Self> {
        let hash_at = map.len().checked_sub(32)?;
        let mut fields = Fields(map.get(map.len().checked_sub(FOOTER_BYTES)?..)?);
        if fields.take::<8>() != *MAGIC {
            return None;
        }
        let footer = Self {
            entries_count: u64::from_le_bytes(fields.take()),
            directories_offset: u64::from_le_bytes(fields.take()),
            rows_offset: u64::from_le_bytes(fields.take()),
            rows_count: u32::from_le_bytes(fields.take()),
            objects_count: u32::from_le_bytes(fields.take()),
            partition_bits: u32::from_le_bytes(fields.take()),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(map.get(..usize::try_from(footer.directories_offset).ok()?)?);
        hasher.update(map.get(usize::try_from(footer.rows_offset).ok()?..hash_at)?);
        (hasher.finalize().as_bytes() == &map[hash_at..]).then_some(footer)
    }

    pub(in crate::index) fn write(&self, out: &mut Vec<u8>) {
        let end = out.len() + FOOTER_BYTES - 32;
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.entries_count.to_le_bytes());
        out.extend_from_slice(&self.directories_offset.to_le_bytes());
        out.extend_from_slice(&self.rows_offset.to_le_bytes());
        out.extend_from_slice(&self.rows_count.to_le_bytes());
        out.extend_from_slice(&self.objects_count.to_le_bytes());
        out.extend_from_slice(&self.partition_bits.to_le_bytes());
        out.resize(end, 0);
    }
}

/// Fixed fields one after another, of a file that has been checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LEN: usize>(&mut self) -> [u8; LEN] {
        let (field, rest) = self.0.split_first_chunk().expect("the file was checked as a whole");
        self.0 = rest;
        *field
    }
}

impl Bits {
    fn new(count: u32) -> Self {
        Self(vec![0; (count as usize).div_ceil(64)])
    }

    fn get(&self, n: u32) -> bool {
        self.0[n as usize / 64] >> (n % 64) & 1 == 1
    }

    fn set(&mut self, n: u32) {
        self.0[n as usize / 64] |= 1 << (n % 64);
    }
}

/// Shards of one tier are of about one size.
fn tier(entries_count: u64) -> u32 {
    entries_count.max(1).ilog(8).max(2)
}

/// What filters and partitions go by: the first 64 bits.
pub(in crate::index) fn filter_key(id: &[u8]) -> u64 {
    u64::from_be_bytes(*id.first_chunk().expect("an id is longer than eight bytes"))
}

pub(in crate::index) fn partition_of(key: u64, bits: u32) -> usize {
    key.checked_shr(64 - bits).unwrap_or(0) as usize
}

pub(in crate::index) fn checksum(directory: &[u8]) -> [u8; 12] {
    *blake3::hash(directory).as_bytes().first_chunk().expect("a hash is longer than twelve bytes")
}
