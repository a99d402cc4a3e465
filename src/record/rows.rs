//! Sorted rows in one flat buffer.

/// Rows of a node: key and value of each, in one buffer without an allocation per row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    bytes: Vec<u8>,
    /// End of the key and end of the row, for each row.
    ends: Vec<(u32, u32)>,
}

impl Rows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a row; callers keep keys strictly ascending. Panics past 4 GiB, which the size limit of nodes excludes.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let offset = |n: usize| u32::try_from(n).expect("nodes are limited to far less than 4 GiB");
        self.ends.push((offset(key_end), offset(self.bytes.len())));
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Key of row `i`; panics when there is none.
    pub fn key(&self, i: usize) -> &[u8] {
        &self.bytes[self.start(i)..self.ends[i].0 as usize]
    }

    /// Value of row `i`; panics when there is none.
    pub fn value(&self, i: usize) -> &[u8] {
        &self.bytes[self.ends[i].0 as usize..self.ends[i].1 as usize]
    }

    /// Key and value of every row in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        (0..self.len()).map(|i| (self.key(i), self.value(i)))
    }

    /// Index of the first row whose key is not below `key`.
    pub fn lower_bound(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Forgets all rows, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn start(&self, i: usize) -> usize {
        if i == 0 { 0 } else { self.ends[i - 1].1 as usize }
    }
}
