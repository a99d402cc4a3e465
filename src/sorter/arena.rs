//! A batch of rows in memory, sorted by moving 16-byte entries.
//!
//! Keys often share long stretches (the high bytes of a transaction id, say), so an entry holds the first eight bytes
//! *at positions where rows of this batch differ at all*; most comparisons then never touch the rows themselves.

/// Positions of a row that are looked at for bytes that differ.
const HEAD_BYTES: usize = 32;

/// Rows, one after the other in one buffer.
#[derive(Default)]
pub struct Arena {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    unordered: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    head: u64,
    offset: u32,
    length: u32,
}

impl Arena {
    /// Most bytes of rows, so that offsets fit in 32 bits even after one row too many.
    pub const MAX_BYTES: usize = i32::MAX as usize;

    /// Memory in use, entries included.
    pub fn used_bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a row; the caller keeps `used_bytes` and the row within [`Arena::MAX_BYTES`] each.
    pub fn push(&mut self, row: &[u8]) {
        let offset = u32::try_from(self.bytes.len()).expect("this cannot fail because a batch is limited");
        let length = u32::try_from(row.len()).expect("this cannot fail because a row is limited");
        if !self.unordered && self.entries.last().is_some_and(|&last| self.row(last) > row) {
            self.unordered = true;
        }
        self.bytes.extend_from_slice(row);
        self.entries.push(Entry { head: 0, offset, length });
    }

    /// Puts the rows in ascending order.
    pub fn sort(&mut self) {
        if !self.unordered {
            return;
        }
        self.fill_heads();
        self.entries.sort_unstable_by_key(|entry| entry.head);
        let bytes = &self.bytes;
        for ties in self.entries.chunk_by_mut(|a, b| a.head == b.head).filter(|ties| ties.len() > 1) {
            ties.sort_unstable_by(|a, b| slice(bytes, *a).cmp(slice(bytes, *b)));
        }
        self.unordered = false;
    }

    /// Row `i` in the present order.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        self.entries.get(i).map(|&entry| self.row(entry))
    }

    /// Rows in the present order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|&entry| self.row(entry))
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.unordered = false;
    }

    fn row(&self, entry: Entry) -> &[u8] {
        slice(&self.bytes, entry)
    }

    fn fill_heads(&mut self) {
        let Some(first) = self.get(0).map(padded) else { return };
        let mut differs = [0u8; HEAD_BYTES];
        for row in self.iter() {
            let row = padded(row);
            for i in 0..HEAD_BYTES {
                differs[i] |= row[i] ^ first[i];
            }
        }
        let positions: Vec<usize> = (0..HEAD_BYTES).filter(|&i| differs[i] != 0).take(8).collect();
        let bytes = &self.bytes;
        for entry in &mut self.entries {
            let row = padded(slice(bytes, *entry));
            entry.head = positions.iter().fold(0, |head, &i| head << 8 | u64::from(row[i]));
        }
    }
}

fn slice(bytes: &[u8], entry: Entry) -> &[u8] {
    &bytes[entry.offset as usize..][..entry.length as usize]
}

/// The start of a row; zeros after a short one keep the order, except that they may turn `<` into `=`.
fn padded(row: &[u8]) -> [u8; HEAD_BYTES] {
    if let Some(head) = row.first_chunk() {
        return *head;
    }
    let mut head = [0; HEAD_BYTES];
    head[..row.len()].copy_from_slice(row);
    head
}
