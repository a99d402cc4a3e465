//! Files of the local cache: each ends with a keyed hash of its name and content. What does not match is not there.
//!
//! Files appear whole, by renaming, so that processes may share a cache and be killed at any moment. Nothing is synced: a
//! file that a crash of the machine has torn is found out by its hash. Failing to write one is no failure of anything else.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const HASH_BYTES: usize = 32;

/// Content of a file; one that is damaged is removed and not there.
pub(super) fn read(path: &Path, key: &[u8; 32]) -> Option<Vec<u8>> {
    let mut bytes = read_unproven(path)?;
    let content_len = prove(path, key, &bytes);
    if content_len.is_none() {
        let _ = fs::remove_file(path);
    }
    bytes.truncate(content_len?);
    Some(bytes)
}

/// All bytes of a file, hash included, for [`prove`].
pub(super) fn read_unproven(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let len = usize::try_from(file.metadata().ok()?.len()).ok()?;
    let mut bytes = Vec::with_capacity(len.saturating_add(1));
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Length of the content when the hash behind it is right.
pub(super) fn prove(path: &Path, key: &[u8; 32], bytes: &[u8]) -> Option<usize> {
    let (content, found) = bytes.split_last_chunk::<HASH_BYTES>()?;
    (hash(path, key, content)? == *found).then_some(content.len())
}

/// Puts a file in place of what was there; returns its length.
pub(super) fn write(path: &Path, key: &[u8; 32], content: &[u8]) -> io::Result<u64> {
    let unnamed = || io::Error::from(io::ErrorKind::InvalidInput);
    let folder = path.parent().ok_or_else(unnamed)?;
    let hash = hash(path, key, content).ok_or_else(unnamed)?;
    let mut file = match tempfile::NamedTempFile::new_in(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_folder(folder)?;
            tempfile::NamedTempFile::new_in(folder)?
        }
        file => file?,
    };
    file.write_all(content)?;
    file.write_all(hash.as_bytes())?;
    file.persist(path)?;
    Ok((content.len() + HASH_BYTES) as u64)
}

/// A folder that only its owner may look into.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(folder)
}

fn hash(path: &Path, key: &[u8; 32], content: &[u8]) -> Option<blake3::Hash> {
    let name = path.file_name()?.as_encoded_bytes();
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(content);
    Some(hasher.finalize())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_flipped_byte_and_every_cut_is_found_and_the_file_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/file");
        write(&path, &[1; 32], b"content of a file").unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!(read(&path, &[1; 32]).unwrap(), b"content of a file");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            for spoilt in [&bytes[..], &whole[..at]] {
                fs::write(&path, spoilt).unwrap();
                assert!(read(&path, &[1; 32]).is_none() && !path.exists(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_file_of_another_name_or_key_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        write(&one, &[1; 32], b"content").unwrap();
        fs::copy(&one, &two).unwrap();
        assert!(read(&two, &[1; 32]).is_none() && !two.exists());
        assert!(read(&one, &[2; 32]).is_none() && !one.exists());
    }
}
