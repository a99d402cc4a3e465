//! Packs as they lie in the backend, compared with what is said about them.

use std::ops::Range;

use bytes::Bytes;

use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{self, BlobEntry, BlobKind, FrameEntry, IndexedPack, ObjectPath, PackDirectory, PackTrailer};
use crate::id::{BlobId, PackId};
use crate::repository::{Reader, Repository};
use crate::tree::Node;

/// A frame of which not everything is what the directory says.
pub(super) struct BadFrame {
    /// Where it starts in the pack.
    pub(super) offset: u64,
    /// Its blobs that are lost.
    pub(super) blobs: Vec<BlobId>,
    /// What is wrong.
    pub(super) why: String,
}

/// The directory of a pack of this size, read from its end, where it is expected in the last `tail_bytes`.
pub(super) fn read_directory(
    repository: &Repository,
    id: PackId,
    size_bytes: u64,
    tail_bytes: u64,
) -> Result<PackDirectory> {
    let path = ObjectPath::pack(id);
    let (store, keys) = (repository.store(), repository.keys());
    let refuse = |why| Error::damaged(&path, why);
    let start = size_bytes.saturating_sub(tail_bytes.max(PackTrailer::LEN));
    let place = |at: u64| at.checked_sub(start).and_then(|at| usize::try_from(at).ok());
    // Opened from the tail when it is there, else with what is needed for reading it.
    let (trailer, opened) = store.get_and_open(&path, Some(start..size_bytes), |tail| {
        let trailer = PackTrailer::decode(&tail, size_bytes).map_err(refuse)?;
        let range = trailer.directory_range();
        let opened = match (place(range.start), place(range.end)) {
            (Some(from), Some(to)) => {
                Some(format::open_directory(keys, &trailer, &tail.slice(from..to)).map_err(refuse)?)
            }
            _ => None,
        };
        Ok((trailer, opened))
    })?;
    match opened {
        Some(directory) => Ok(directory),
        None => store.get_and_open(&path, Some(trailer.directory_range()), |sealed| {
            format::open_directory(keys, &trailer, &sealed).map_err(refuse)
        }),
    }
}

/// Where the last bytes of a pack are that [`directory_in`] is given.
pub(super) fn tail(size_bytes: u64, tail_bytes: u64) -> Range<u64> {
    size_bytes.saturating_sub(tail_bytes.max(PackTrailer::LEN))..size_bytes
}

/// The directory of a pack of this size, of which the last bytes were read; what of it begins before them is read too.
pub(super) fn directory_in(
    repository: &Repository,
    id: PackId,
    size_bytes: u64,
    tail: &Bytes,
) -> Result<PackDirectory> {
    let path = ObjectPath::pack(id);
    let refuse = |why| Error::damaged(&path, why);
    let start = size_bytes.saturating_sub(tail.len() as u64);
    let trailer = PackTrailer::decode(tail, size_bytes).map_err(refuse)?;
    let range = trailer.directory_range();
    let place = |at: u64| at.checked_sub(start).and_then(|at| usize::try_from(at).ok());
    let sealed = match (place(range.start), place(range.end)) {
        (Some(from), Some(to)) => tail.slice(from..to),
        _ => repository.store().get(&path, Some(range))?,
    };
    format::open_directory(repository.keys(), &trailer, &sealed).map_err(refuse)
}

/// Opens every frame of a pack that was read whole, and compares every blob with its id.
pub(super) fn bad_frames(reader: &Reader, pack: &IndexedPack, bytes: &[u8]) -> Result<Vec<BadFrame>> {
    let mut bad = Vec::new();
    for entry in &pack.directory.frames {
        bad.extend(bad_frame(reader, entry, bytes)?);
    }
    Ok(bad)
}

fn bad_frame(reader: &Reader, entry: &FrameEntry, bytes: &[u8]) -> Result<Option<BadFrame>> {
    let all = |why: String| {
        let blobs = entry.blobs.iter().map(|blob| blob.id).collect();
        Ok(Some(BadFrame { offset: entry.offset, blobs, why }))
    };
    let base = match entry.base {
        None => None,
        Some(base) => match reader.stored_form(base) {
            Ok((location, stored)) if !location.is_delta() => Some(stored),
            Ok(_) => return all(format!("needs blob {base}, of which no whole copy exists")),
            Err(error) if error.kind() == ErrorKind::Damaged => return all(format!("needs blob {base}: {error}")),
            Err(error) => return Err(error),
        },
    };
    let range = entry.range();
    let sealed = match (usize::try_from(range.start), usize::try_from(range.end)) {
        (Ok(start), Ok(end)) => bytes.get(start..end),
        _ => None,
    };
    let keys = reader.repository().keys();
    let opened = sealed
        .ok_or(DecodeError::Truncated)
        .and_then(|sealed| format::open_frame(keys, entry, sealed, base.as_deref()));
    let raw = match opened {
        Ok(raw) => raw,
        Err(why) => return all(why.to_string()),
    };
    let is_bad = |(i, blob): &(usize, &BlobEntry)| {
        let stored = entry.blob_range(*i).and_then(|range| raw.get(range));
        !stored.is_some_and(|stored| is_blob(reader, blob, stored))
    };
    let blobs: Vec<BlobId> = entry.blobs.iter().enumerate().filter(is_bad).map(|(_, blob)| blob.id).collect();
    let why = DecodeError::IdMismatch.to_string();
    Ok((!blobs.is_empty()).then_some(BadFrame { offset: entry.offset, blobs, why }))
}

/// Whether the stored form is that of the blob.
fn is_blob(reader: &Reader, blob: &BlobEntry, stored: &[u8]) -> bool {
    let keys = reader.repository().keys();
    match blob.kind {
        BlobKind::Chunk => keys.blob_id_chunk(stored) == blob.id,
        BlobKind::Node => Node::decode(stored).is_ok_and(|node| {
            let canonical = node.canonical();
            canonical.len() as u64 == u64::from(blob.content_len) && keys.blob_id_node(&canonical) == blob.id
        }),
    }
}
