//! Writing shards: from packs, or from other shards.
//!
//! Entries are written as they come, partition by partition, so that only one partition's ids and the rows are in memory.

use std::borrow::{Borrow, Cow};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use xorf::{BinaryFuse8, DmaSerializable};

use crate::format::IndexedPack;
use crate::id::IndexId;
use crate::index::shard::{
    ENTRY_BYTES, Entry, FILTER_HEAD_BYTES, Footer, Prefix, Row, SLOTS_PER_ROW, Shard, UNLISTED, checksum, filter_key,
    partition_of,
};

/// About how many entries share a filter: building one takes some 32 bytes of memory per entry.
const PARTITION_ENTRIES: u64 = 1 << 17;

/// The largest number of partitions of a shard.
const PARTITION_BITS_MAX: u32 = 16;

/// Writes the shard of an index object, or of pending packs.
pub(in crate::index) fn build<P: Borrow<IndexedPack>>(
    file: &mut File,
    object: Option<IndexId>,
    packs: &[P],
) -> io::Result<()> {
    let mut order: Vec<&IndexedPack> = packs.iter().map(Borrow::borrow).collect();
    order.sort_by_key(|pack| pack.id);
    order.dedup_by_key(|pack| pack.id);
    let mut rows = Vec::with_capacity(order.len());
    let mut row_packs = Vec::with_capacity(order.len());
    let mut entries =
        Vec::with_capacity(order.iter().flat_map(|pack| &pack.directory.frames).map(|f| f.blobs.len()).sum());
    for pack in order {
        let first_row = rows.len() as u32;
        let blobs =
            pack.directory.frames.iter().flat_map(|frame| frame.blobs.iter().map(|b| (b, frame.base.is_some())));
        let mut slots_count = 0;
        for (blob, delta) in blobs {
            let prefix: Prefix = *blob.id.as_bytes().first_chunk().expect("an id is longer than its prefix");
            let row = first_row + slots_count / SLOTS_PER_ROW;
            entries.push(Entry { prefix, row, slot: (slots_count % SLOTS_PER_ROW) as u16, delta });
            slots_count += 1;
        }
        for part in 0..slots_count.div_ceil(SLOTS_PER_ROW).max(1) {
            rows.push(Row {
                pack: pack.id,
                size_bytes: pack.size_bytes,
                directory_offset: 0,
                directory_len: 0,
                first_slot: part * SLOTS_PER_ROW,
                object: if object.is_some() { 0 } else { UNLISTED },
                checksum: [0; 12],
            });
            row_packs.push(pack);
        }
    }
    entries.sort_unstable();
    let count = entries.len() as u64;
    let directory = |n: usize| {
        let bytes = postcard::to_stdvec(&row_packs[n].directory).map_err(io::Error::other)?;
        let checksum = checksum(&bytes);
        Ok((Cow::Owned(bytes), checksum))
    };
    write(file, object.as_slice(), rows, directory, entries.into_iter(), count)
}

/// Writes one shard with all rows of others that still count.
pub(in crate::index) fn merge(file: &mut File, shards: &[Shard]) -> io::Result<()> {
    let mut objects: Vec<IndexId> = Vec::new();
    let mut origins: Vec<(Row, usize, u32)> = Vec::new();
    for (shard_number, shard) in shards.iter().enumerate() {
        let first_object = objects.len() as u32;
        objects.extend(shard.objects());
        for n in (0..shard.rows_count()).filter(|&n| shard.is_listed(n)) {
            let mut row = shard.row(n);
            if row.object != UNLISTED {
                row.object += first_object;
            }
            origins.push((row, shard_number, n));
        }
    }
    // Stable: the rows that one object lists of a pack stay together, in order.
    origins.sort_by_key(|(row, shard, _)| (row.pack, *shard));
    let mut renumbered: Vec<Vec<u32>> =
        shards.iter().map(|shard| vec![u32::MAX; shard.rows_count() as usize]).collect();
    for (new, (_, shard, old)) in origins.iter().enumerate() {
        renumbered[*shard][*old as usize] = new as u32;
    }
    let mut streams: Vec<_> = shards
        .iter()
        .zip(&renumbered)
        .map(|(shard, numbers)| {
            let renumber = |entry: Entry| Entry { row: numbers[entry.row as usize], ..entry };
            shard.entries().map(renumber).filter(|entry| entry.row != u32::MAX)
        })
        .collect();
    let mut heap: BinaryHeap<Reverse<(Entry, usize)>> = BinaryHeap::with_capacity(streams.len());
    for (n, stream) in streams.iter_mut().enumerate() {
        heap.extend(stream.next().map(|entry| Reverse((entry, n))));
    }
    let entries = std::iter::from_fn(|| {
        let Reverse((entry, n)) = heap.pop()?;
        heap.extend(streams[n].next().map(|next| Reverse((next, n))));
        Some(entry)
    });
    let count = shards.iter().map(Shard::entries_count).sum();
    let rows = origins.iter().map(|(row, ..)| *row).collect();
    let directory = |n: usize| {
        let (_, shard, old) = origins[n];
        let row = shards[shard].row(old);
        Ok((Cow::Borrowed(shards[shard].directory_bytes(&row)), row.checksum))
    };
    write(file, &objects, rows, directory, entries, count)
}

/// Writes a shard of sorted rows and sorted entries; `count` is at least that of the entries.
fn write<'a>(
    file: &mut File,
    objects: &[IndexId],
    mut rows: Vec<Row>,
    mut directory: impl FnMut(usize) -> io::Result<(Cow<'a, [u8]>, [u8; 12])>,
    entries: impl Iterator<Item = Entry>,
    count: u64,
) -> io::Result<()> {
    let mut out = HashedFile { file: BufWriter::new(file), hasher: blake3::Hasher::new(), offset: 0 };
    let partition_bits = (count / PARTITION_ENTRIES + 1).next_power_of_two().ilog2().min(PARTITION_BITS_MAX);
    let mut partitions = PartitionWriter::default();
    for entry in entries {
        let number = partition_of(filter_key(&entry.prefix), partition_bits);
        while partitions.finished_count < number {
            partitions.finish(&mut out)?;
        }
        partitions.add(entry);
    }
    while partitions.finished_count < 1 << partition_bits {
        partitions.finish(&mut out)?;
    }

    let directories_offset = out.offset;
    for n in 0..rows.len() {
        if rows[n].first_slot > 0 {
            let before = rows[n - 1];
            rows[n] = Row { first_slot: rows[n].first_slot, ..before };
            continue;
        }
        let (bytes, checksum) = directory(n)?;
        rows[n].directory_offset = out.offset;
        rows[n].directory_len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        rows[n].checksum = checksum;
        out.write_unhashed(&bytes)?;
    }

    let rows_offset = out.offset;
    let mut tables = Vec::new();
    rows.iter().for_each(|row| row.write(&mut tables));
    objects.iter().for_each(|id| tables.extend_from_slice(id.as_bytes()));
    tables.extend_from_slice(&partitions.heads);
    let footer = Footer {
        entries_count: partitions.entries_count,
        directories_offset,
        rows_offset,
        rows_count: u32::try_from(rows.len()).map_err(io::Error::other)?,
        objects_count: u32::try_from(objects.len()).map_err(io::Error::other)?,
        partition_bits,
    };
    footer.write(&mut tables);
    out.write(&tables)?;
    let hash = out.hasher.finalize();
    out.write_unhashed(hash.as_bytes())?;
    out.file.flush()
}

struct HashedFile<'a> {
    file: BufWriter<&'a mut File>,
    hasher: blake3::Hasher,
    offset: u64,
}

impl HashedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.write_unhashed(bytes)
    }

    fn write_unhashed(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.offset += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

/// The partition being filled, and the heads of those before it.
#[derive(Default)]
struct PartitionWriter {
    heads: Vec<u8>,
    finished_count: usize,
    entries_count: u64,
    encoded: Vec<u8>,
    keys: Vec<u64>,
}

impl PartitionWriter {
    fn add(&mut self, entry: Entry) {
        entry.write(&mut self.encoded);
        let key = filter_key(&entry.prefix);
        if self.keys.last() != Some(&key) {
            self.keys.push(key);
        }
    }

    fn finish(&mut self, out: &mut HashedFile<'_>) -> io::Result<()> {
        let offset = out.offset;
        out.write(&self.encoded)?;
        let mut filter_head = [0; FILTER_HEAD_BYTES];
        let mut filter_len = 0;
        // Without a filter the entries themselves are asked; building one fails only by extraordinary bad luck.
        if let Some(filter) = (self.keys.len() > 1).then(|| BinaryFuse8::try_from(&self.keys).ok()).flatten() {
            filter.dma_copy_descriptor_to(&mut filter_head);
            filter_len = filter.dma_fingerprints().len() as u32;
            out.write(filter.dma_fingerprints())?;
        }
        let count = (self.encoded.len() / ENTRY_BYTES) as u32;
        self.heads.extend_from_slice(&self.entries_count.to_le_bytes());
        self.heads.extend_from_slice(&offset.to_le_bytes());
        self.heads.extend_from_slice(&count.to_le_bytes());
        self.heads.extend_from_slice(&filter_len.to_le_bytes());
        self.heads.extend_from_slice(&filter_head);
        self.entries_count += u64::from(count);
        self.finished_count += 1;
        self.encoded.clear();
        self.keys.clear();
        Ok(())
    }
}
