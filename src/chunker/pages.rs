//! Files made of pages, known by their magic: they are cut at fixed runs of pages instead of by content.
//!
//! Pages are rewritten where they are and never shift, so a fixed run keeps its place: a change costs the run it is in,
//! and the run at the same place of an older state is the one it resembles.

/// How much of a file's start [`structure`] looks at; less will do, for fewer checks.
pub const STRUCTURE_HEAD_BYTES: usize = 64 << 10;

/// Cuts a file into runs of pages of one length; the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRuns {
    run_bytes: usize,
}

impl PageRuns {
    /// Length of a run: a multiple of every page size there is.
    pub const RUN_BYTES: usize = 64 << 10;

    /// For files that the user says are made of pages, such as raw images of disks.
    pub fn new() -> Self {
        Self { run_bytes: Self::RUN_BYTES }
    }

    /// The length of all runs but the last.
    pub fn run_bytes(&self) -> usize {
        self.run_bytes
    }

    /// Length of the first run of `buffer`, as [`super::Chunker::cut`]: `None` when more bytes are needed, or none are left.
    pub fn cut(&self, buffer: &[u8], end_of_stream: bool) -> Option<usize> {
        if buffer.is_empty() || (buffer.len() < self.run_bytes && !end_of_stream) {
            return None;
        }
        Some(buffer.len().min(self.run_bytes))
    }
}

impl Default for PageRuns {
    fn default() -> Self {
        Self::new()
    }
}

/// How a file of pages is cut; `None` for everything else. `head` is the start of the file, up to
/// [`STRUCTURE_HEAD_BYTES`] of it.
///
/// Knows SQLite, LMDB, redb, heaps and indexes of PostgreSQL, and qcow2. A wrong guess costs deduplication, never data.
pub fn structure(head: &[u8], file_bytes: u64) -> Option<PageRuns> {
    let known = is_sqlite(head) || is_lmdb(head) || is_redb(head) || is_qcow2(head) || is_postgres(head, file_bytes);
    known.then(PageRuns::new)
}

fn is_sqlite(head: &[u8]) -> bool {
    // The page size follows, big-endian; 1 stands for 64 KiB.
    head.starts_with(b"SQLite format 3\0")
        && be16(head, 16).is_some_and(|size| size == 1 || (size >= 512 && size.is_power_of_two()))
}

fn is_lmdb(head: &[u8]) -> bool {
    const META: u16 = 8;
    // Page number 0 and the flag of a meta page, in the layout of 64-bit machines; then magic and version.
    head.starts_with(&[0; 8])
        && le16(head, 10).is_some_and(|flags| flags & META != 0)
        && le32(head, 16) == Some(0xBEEF_C0DE)
        && le32(head, 20).is_some_and(|version| matches!(version & 0xffff, 1..=2 | 999))
}

fn is_redb(head: &[u8]) -> bool {
    head.starts_with(b"redb\x1A\x0A\xA9\x0D\x0A")
}

fn is_qcow2(head: &[u8]) -> bool {
    head.starts_with(b"QFI\xfb") && head.get(4..8).is_some_and(|version| matches!(version, [0, 0, 0, 2 | 3]))
}

/// PostgreSQL has no magic, but every page states its size and version, and where its free space is.
fn is_postgres(head: &[u8], file_bytes: u64) -> bool {
    const PAGE: usize = 8192;
    let (pages, _) = head.as_chunks::<PAGE>();
    let of_pages = file_bytes > 0 && file_bytes.is_multiple_of(PAGE as u64);
    // A page that was allocated and never written is all zero; the first one of a segment in use is not.
    of_pages
        && pages.first().is_some_and(|page| is_postgres_page(page))
        && pages.iter().all(|page| is_postgres_page(page) || page.iter().all(|byte| *byte == 0))
}

fn is_postgres_page(page: &[u8]) -> bool {
    const HEADER_LEN: u16 = 24;
    const SIZE: u16 = 8192;
    const VERSION: u16 = 4;
    let [Some(flags), Some(lower), Some(upper), Some(special), Some(size_and_version)] =
        [10, 12, 14, 16, 18].map(|at| le16(page, at))
    else {
        return false;
    };
    size_and_version == SIZE | VERSION
        && flags <= 7
        && (HEADER_LEN..=upper).contains(&lower)
        && upper <= special
        && special <= SIZE
        && special.is_multiple_of(8)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
