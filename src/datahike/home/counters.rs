//! Counts what a home reads and writes.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::Traffic;

/// What has been read and written so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    blobs_read: AtomicU64,
    bytes_read: AtomicU64,
    blobs_written: AtomicU64,
    bytes_written: AtomicU64,
    requests: AtomicU64,
}

impl Counters {
    /// One more request.
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A blob that was read, handed on.
    pub(super) fn read(&self, blob: Bytes) -> Bytes {
        self.blobs_read.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(blob.len() as u64, Ordering::Relaxed);
        blob
    }

    /// A blob that was written.
    pub(super) fn written(&self, blob: &Bytes) {
        self.blobs_written.fetch_add(1, Ordering::Relaxed);
        self.bytes_written.fetch_add(blob.len() as u64, Ordering::Relaxed);
    }

    /// All of it.
    pub(super) fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            blobs_read: read(&self.blobs_read),
            bytes_read: read(&self.bytes_read),
            blobs_written: read(&self.blobs_written),
            bytes_written: read(&self.bytes_written),
            requests: read(&self.requests),
        }
    }
}
