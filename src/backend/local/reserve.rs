//! The reserve: blocks kept so that control objects can be written on a full disk.

use std::fs;

use crate::backend::local::disk::{Disk, Naming};
use crate::error::{Error, Result};
use crate::format::ObjectPath;

/// Real blocks set aside.
const RESERVE_BYTES: usize = 1 << 20;

/// The largest object that may use them.
const CONTROL_OBJECT_MAX_BYTES: usize = 64 << 10;

/// Whether the object is one that a full disk must not keep out.
pub(in crate::backend) fn may_use(path: &ObjectPath, len: usize, naming: Naming) -> bool {
    naming != Naming::Unique && len <= CONTROL_OBJECT_MAX_BYTES && !path.as_str().starts_with("packs/")
}

/// Gives the blocks back to the file system; whether there were any.
pub(in crate::backend) fn free(disk: &Disk) -> bool {
    fs::remove_file(disk.reserve_path()).is_ok()
}

/// Sets the blocks aside if they are not; whether they were missing.
pub(in crate::backend) fn restore(disk: &Disk) -> Result<bool> {
    let path = disk.reserve_path();
    if fs::symlink_metadata(&path).is_ok_and(|meta| meta.len() == RESERVE_BYTES as u64) {
        return Ok(false);
    }
    // Bytes without pattern: a file system that compresses would keep no blocks for zeros.
    let mut bytes = vec![0; RESERVE_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let temporary = disk.write_temporary(&bytes).map_err(|error| Error::io(path.display(), error))?;
    temporary.rename_to(&path).map_err(|error| Error::io(path.display(), error))?;
    Ok(true)
}
