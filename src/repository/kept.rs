//! What sources want to find again on this machine: sealed in the local cache, under a keyed hash of its content.
//!
//! It may be gone at any time. The oldest goes when it becomes too much.

use std::fs;
use std::path::PathBuf;

use super::around::lock;
use super::object_cache::{files_below, note_use};
use super::random::random;
use super::{Repository, cache_file};
use crate::crypto::Purpose;

/// Bytes that are kept of one repository.
const LIMIT_BYTES: u64 = 512 << 20;
/// Things that are kept of one repository.
const LIMIT_COUNT: usize = 64;
/// Things that are kept in memory where there is no cache.
const LIMIT_IN_MEMORY: usize = 8;
const EPOCH_BYTES: usize = 4;

impl Repository {
    /// The name under which this content is kept.
    pub fn name_to_keep(&self, content: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.keys().local_cache_key(), content).as_bytes()
    }

    /// Keeps this content, if there is a cache and room for it; returns its name.
    pub fn keep(&self, content: &[u8]) -> [u8; 32] {
        let name = self.name_to_keep(content);
        let Some(path) = self.kept_path(&name) else {
            self.keep_in_memory(name, content);
            return name;
        };
        let mut sealed = self.keys().newest_epoch().to_le_bytes().to_vec();
        sealed.extend_from_slice(&self.keys().seal(Purpose::Metadata, &self.kept_as(&name), &random(), content));
        match cache_file::write(&path, &self.keys().local_cache_key(), &sealed) {
            Ok(_) => self.drop_oldest_kept(),
            Err(error) => {
                tracing::debug!("the local cache keeps nothing: {error}");
                self.keep_in_memory(name, content);
            }
        }
        name
    }

    /// What was kept under this name.
    pub fn kept(&self, name: &[u8; 32]) -> Option<Vec<u8>> {
        let memory = lock(&self.0.kept);
        if let Some((_, content)) = memory.iter().find(|(kept, _)| kept == name) {
            return Some(content.clone());
        }
        drop(memory);
        let path = self.kept_path(name)?;
        let bytes = cache_file::read(&path, &self.keys().local_cache_key())?;
        let (epoch, sealed) = bytes.split_first_chunk::<EPOCH_BYTES>()?;
        let epoch = u32::from_le_bytes(*epoch);
        let content = self.keys().open(Purpose::Metadata, epoch, &self.kept_as(name), sealed).ok()?;
        note_use(&path);
        (self.name_to_keep(&content) == *name).then_some(content)
    }

    /// Without a cache this process finds it again all the same.
    fn keep_in_memory(&self, name: [u8; 32], content: &[u8]) {
        let mut memory = lock(&self.0.kept);
        memory.retain(|(kept, _)| *kept != name);
        memory.push_back((name, content.to_vec()));
        while memory.len() > LIMIT_IN_MEMORY {
            memory.pop_front();
        }
    }

    fn kept_path(&self, name: &[u8; 32]) -> Option<PathBuf> {
        Some(self.cache()?.join("kept").join(crate::id::hex(name)))
    }

    fn kept_as(&self, name: &[u8; 32]) -> Vec<u8> {
        [b"kept".as_slice(), self.id().as_bytes(), name].concat()
    }

    fn drop_oldest_kept(&self) {
        let Some(cache) = self.cache() else { return };
        let mut files = files_below(&cache.join("kept"));
        files.sort_by_key(|file| std::cmp::Reverse(file.used));
        let mut bytes = 0;
        for (count, file) in files.into_iter().enumerate() {
            bytes += file.bytes;
            if count > 0 && (count >= LIMIT_COUNT || bytes > LIMIT_BYTES) {
                // Another process may have been faster.
                let _ = fs::remove_file(&file.path);
            }
        }
    }
}
