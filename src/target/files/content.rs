//! Holes in files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// What is written where holes cannot be punched.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What a file keeps in ranges that ought to be holes.
pub struct Holes<'a> {
    file: &'a File,
}

impl<'a> Holes<'a> {
    /// Of this file.
    pub fn of(file: &'a File) -> Self {
        Self { file }
    }

    /// Whether anything but a hole is in a range: blocks, also of zeros alone.
    pub fn is_filled(&self, range: Range<u64>) -> io::Result<bool> {
        if range.is_empty() {
            return Ok(false);
        }
        match rustix::fs::seek(self.file, SeekFrom::Data(range.start)) {
            Ok(at) => Ok(at < range.end),
            Err(Errno::NXIO) => Ok(false),
            // A file system that cannot tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => self.has_other_than_zeros(range),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a range, as far as the file has it, reads as anything but zeros.
    pub fn has_other_than_zeros(&self, range: Range<u64>) -> io::Result<bool> {
        let mut buffer = vec![0; ZEROS.len()];
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = self.file.read_at(&mut buffer[..length], at)?;
            if read == 0 {
                return Ok(false);
            }
            if buffer[..read] != ZEROS[..read] {
                return Ok(true);
            }
            at += read as u64;
        }
        Ok(false)
    }
}

/// Makes a range within a file a hole, or zeros where the file system has no holes.
pub fn punch(file: &File, range: Range<u64>) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, range.start, range.end - range.start) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let mut at = range.start;
            while at < range.end {
                let length = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(ZEROS.len());
                file.write_all_at(&ZEROS[..length], at)?;
                at += length as u64;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
