//! Summaries: what an inner node says about the entries below a child, so that walks skip what cannot match and sums need
//! no leaves.

use super::{Head, Kind};
use crate::error::DecodeError;
use crate::record::Rows;
use crate::record::cursor::{Cursor, put_varint, put_zigzag};

/// Counts, sums and bounds of a set of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// Sum of the lengths of the files; stays at the highest number when it would pass it, as sparse files may make it.
    pub bytes: u64,
    /// Length of the longest file.
    pub largest: u64,
    /// Seconds of the newest mtime.
    pub newest_mtime_seconds: i64,
    /// Seconds of the oldest mtime.
    pub oldest_mtime_seconds: i64,
}

impl Summary {
    /// Of no entries: matches nothing and adds nothing.
    pub const EMPTY: Self = Self {
        files: 0,
        directories: 0,
        others: 0,
        bytes: 0,
        largest: 0,
        newest_mtime_seconds: i64::MIN,
        oldest_mtime_seconds: i64::MAX,
    };

    /// Of these rows; what is no entry is not counted.
    pub(super) fn of(rows: &Rows) -> Self {
        let mut summary = Self::EMPTY;
        for head in rows.iter().filter_map(|(_, value)| Head::parse(value).ok()) {
            let count = match head.kind {
                Kind::File => &mut summary.files,
                Kind::Directory => &mut summary.directories,
                _ => &mut summary.others,
            };
            *count += 1;
            summary.bytes = summary.bytes.saturating_add(head.size);
            summary.largest = summary.largest.max(head.size);
            summary.newest_mtime_seconds = summary.newest_mtime_seconds.max(head.mtime.seconds);
            summary.oldest_mtime_seconds = summary.oldest_mtime_seconds.min(head.mtime.seconds);
        }
        summary
    }

    /// How many entries.
    pub fn entries(&self) -> u64 {
        self.files.saturating_add(self.directories).saturating_add(self.others)
    }

    // format-spec records, summary of entries.
    /// Its bytes, at most 60; none for no entries.
    pub fn encode(&self) -> Vec<u8> {
        if *self == Self::EMPTY {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(32);
        for number in [self.files, self.directories, self.others, self.bytes, self.largest] {
            put_varint(number, &mut out);
        }
        put_zigzag(self.newest_mtime_seconds, &mut out);
        put_varint(self.newest_mtime_seconds.abs_diff(self.oldest_mtime_seconds), &mut out);
        out
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::EMPTY);
        }
        let mut cursor = Cursor::new(bytes);
        let (files, directories, others) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
        let (bytes, largest) = (cursor.varint()?, cursor.varint()?);
        let newest_mtime_seconds = cursor.zigzag()?;
        let oldest = newest_mtime_seconds.checked_sub_unsigned(cursor.varint()?);
        cursor.finish()?;
        let oldest_mtime_seconds = oldest.ok_or(DecodeError::Invalid("summary"))?;
        let summary = Self { files, directories, others, bytes, largest, newest_mtime_seconds, oldest_mtime_seconds };
        match summary.entries() > 0 && largest <= bytes && (files > 0 || bytes == 0) {
            true => Ok(summary),
            false => Err(DecodeError::Invalid("summary")),
        }
    }

    /// Of these entries and the other's.
    pub fn merge(&self, other: &Self) -> Result<Self, DecodeError> {
        let sum = |a: u64, b: u64| a.checked_add(b).ok_or(DecodeError::TooLarge("entries of a summary"));
        Ok(Self {
            files: sum(self.files, other.files)?,
            directories: sum(self.directories, other.directories)?,
            others: sum(self.others, other.others)?,
            bytes: self.bytes.saturating_add(other.bytes),
            largest: self.largest.max(other.largest),
            newest_mtime_seconds: self.newest_mtime_seconds.max(other.newest_mtime_seconds),
            oldest_mtime_seconds: self.oldest_mtime_seconds.min(other.oldest_mtime_seconds),
        })
    }
}
