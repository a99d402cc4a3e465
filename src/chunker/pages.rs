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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    const HEADS: [(&str, &str, u64); 5] = [
        // The first bytes that these programs write: SQLite 3 with pages of 4 KiB and of 64 KiB ...
        ("sqlite", "53514c69746520666f726d6174203300100001010040202000000001000000020000000000000000", 8192),
        ("sqlite 64k", "53514c69746520666f726d6174203300000101010040202000000001000000020000000000000000", 131_072),
        // ... LMDB 0.9 ...
        ("lmdb", "00000000000000000000080000000000dec0efbe01000000", 8192),
        // ... redb 2 ...
        ("redb", "726564621a0aa90d0a0000000010000000000000", 1_056_768),
        // ... and qemu-img, version 3.
        ("qcow2", "514649fb000000030000000000000000000000000000001000000000", 196_616),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    /// A page of a heap with these places of free and special space.
    fn page(lower: u16, upper: u16, special: u16) -> Vec<u8> {
        let mut page = vec![0; 8192];
        page[..8].copy_from_slice(&0x0000_0001_0234_5678_u64.to_le_bytes());
        for (at, value) in [(10, 4), (12, lower), (14, upper), (16, special), (18, 0x2004)] {
            page[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        page
    }

    #[test]
    fn what_is_made_of_pages_is_known_by_its_start() {
        for (name, head, length) in HEADS {
            let mut head = bytes(head);
            head.resize(4096, 0);
            assert_eq!(structure(&head, length).map(|runs| runs.run_bytes()), Some(65536), "{name}");
        }
    }

    #[test]
    fn a_magic_alone_or_cut_off_is_not_enough() {
        for (name, head, length) in HEADS {
            assert_eq!(structure(&bytes(head)[..7], length), None, "{name}");
        }
        let mut sqlite = bytes(HEADS[0].1);
        sqlite[16..18].copy_from_slice(&[0x10, 1]);
        assert_eq!(structure(&sqlite, 8192), None, "a page size that is no power of two");
        let mut qcow = bytes(HEADS[4].1);
        qcow[7] = 9;
        assert_eq!(structure(&qcow, 8192), None, "a version that nobody knows");
        for text in [&b""[..], b"SQLite format 3 is what this text is about", &[0; 65536]] {
            assert_eq!(structure(text, 65536), None);
        }
    }

    #[test]
    fn segments_of_postgresql_are_known_by_all_their_pages() {
        let heap = [page(48, 8000, 8192), page(24, 8192, 8192), vec![0; 8192]].concat();
        assert!(structure(&heap, 24_576).is_some());
        let btree = [page(72, 8176, 8176), page(100, 4000, 8176)].concat();
        assert!(structure(&btree, 16_384).is_some());
        assert!(structure(&btree[..12_000], 16_384).is_some(), "a page that is not all there does not count");
        assert_eq!(structure(&heap, 24_577), None, "half a page at the end");
        for wrong in
            [page(20, 8000, 8192), page(48, 40, 8192), page(48, 8000, 7000), page(48, 8000, 8196), vec![7; 8192]]
        {
            assert_eq!(structure(&[page(48, 8000, 8192), wrong.clone()].concat(), 16_384), None);
            assert_eq!(structure(&wrong, 8192), None);
        }
        assert_eq!(structure(&[vec![0; 8192], page(48, 8000, 8192)].concat(), 16_384), None);
    }

    proptest! {
        #[test]
        fn arbitrary_heads_do_no_harm(head in prop::collection::vec(any::<u8>(), 0..60), which in 0..5_usize) {
            let _ = structure(&head, 8192);
            let mut damaged = bytes(HEADS[which].1);
            damaged.truncate(head.len());
            let _ = structure(&damaged, 8192);
        }

        #[test]
        fn runs_are_the_content(len in 0_usize..400_000) {
            let content = vec![1; len];
            let (runs, mut rest, mut lens) = (PageRuns::new(), &content[..], Vec::new());
            prop_assert_eq!(runs.cut(&content, false), (len >= 65536).then_some(65536));
            while let Some(run) = runs.cut(rest, true) {
                lens.push(run);
                rest = &rest[run..];
            }
            prop_assert!(rest.is_empty());
            prop_assert!(lens.iter().rev().skip(1).all(|run| *run == 65536));
        }
    }
}
