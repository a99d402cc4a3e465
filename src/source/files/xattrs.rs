//! Extended attributes.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{fgetxattr, flistxattr, lgetxattr, listxattr, llistxattr};
use rustix::io::Errno;

/// Most names and most values are shorter.
const USUAL_BYTES: usize = 256;

/// Names with their values, by name ascending.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Those of an open file.
pub(super) fn of_file(file: impl AsFd) -> io::Result<Xattrs> {
    let file = file.as_fd();
    all(|out| flistxattr(file, spare_capacity(out)), |name, out| fgetxattr(file, name, spare_capacity(out)))
}

/// Those of a path, of a link itself.
pub(super) fn of_path(path: &Path) -> io::Result<Xattrs> {
    all(|out| llistxattr(path, spare_capacity(out)), |name, out| lgetxattr(path, name, spare_capacity(out)))
}

/// Whether what a path leads to has any.
pub(super) fn any_behind(path: &Path) -> io::Result<bool> {
    let names = sized(|out| listxattr(path, spare_capacity(out)))?;
    Ok(names.is_some_and(|names| !names.is_empty()))
}

fn all(
    list: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut Vec<u8>) -> Result<usize, Errno>,
) -> io::Result<Xattrs> {
    let Some(names) = sized(list)? else { return Ok(Vec::new()) };
    let mut xattrs = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        // One that vanishes between the two calls is as if it had vanished before.
        if let Some(value) = sized(|out| get(name, out))? {
            xattrs.push((name.to_vec(), value));
        }
    }
    xattrs.sort_unstable();
    xattrs.dedup_by(|a, b| a.0 == b.0);
    Ok(xattrs)
}

/// What a call puts into a buffer that is large enough; `None` where there is nothing of the kind.
fn sized(call: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    loop {
        match call(&mut out) {
            Ok(_) => {
                out.shrink_to_fit();
                return Ok(Some(out));
            }
            Err(Errno::RANGE) if out.capacity() < 1 << 24 => out.reserve_exact(out.capacity() * 4),
            Err(Errno::OPNOTSUPP | Errno::NODATA | Errno::NOSYS) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
