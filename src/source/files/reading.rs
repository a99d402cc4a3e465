//! The content of a regular file.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, OFlags, SeekFrom, fadvise, fstat, seek};
use rustix::io::{Errno, pread, read};

use super::metadata::replaced;
use super::place::Place;
use super::{Found, Kind, Stat};

/// From so many bytes on the system is told that a file is read from its start to its end.
const LARGE_BYTES: u64 = 256 << 10;

/// An open regular file.
///
/// Its size and times may differ from those of the walk: what counts is [`Self::stat`], of when it was opened.
pub struct Reading {
    file: OwnedFd,
    stat: Stat,
    may_have_holes: bool,
}

impl Reading {
    /// Opens the file that was found; an error if another one or something else has its name by now.
    pub fn open(found: &Found) -> io::Result<Self> {
        let file = Place::of(&found.path)?.open(OFlags::RDONLY | OFlags::NONBLOCK).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::LOOP) => replaced(),
                _ => error,
            }
        })?;
        let said = fstat(&file)?;
        let stat = Stat::of_system(&said);
        if stat.kind != Kind::File || !stat.is_same(&found.stat) {
            return Err(replaced());
        }
        let allocated = u64::try_from(said.st_blocks).unwrap_or(0).saturating_mul(512);
        if stat.size >= LARGE_BYTES {
            // Advice: where it is not taken, reading works all the same.
            let _: Result<(), Errno> = fadvise(&file, 0, None, Advice::Sequential);
        }
        Ok(Self { file, may_have_holes: allocated < stat.size, stat })
    }

    /// What it was when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Reads it from the start into `buffer`, which is cleared: all of it, or one byte more than [`Stat::size`] if it has grown.
    /// Another length than that size means that it has changed. For files that fit in memory; holes are zeros.
    pub fn read_whole(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        let size = usize::try_from(self.stat.size).map_err(|_| Errno::FBIG)?;
        buffer.reserve_exact(size.saturating_add(1));
        while buffer.len() <= size {
            match read(&self.file, spare_capacity(buffer)) {
                Ok(0) => break,
                // A read that is cut short at the size that was said has met the end.
                Ok(_) if buffer.len() == size => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(size.saturating_add(1));
        Ok(())
    }

    /// Fills `buffer` from `offset` on; fewer bytes only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match pread(&self.file, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    /// The next range of data at or after `offset`, `None` where only a hole or nothing follows. Up to [`Stat::size`], which is
    /// where a file ends that has grown since. Costs nothing for a file without holes.
    pub fn data_from(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let size = self.stat.size;
        if offset >= size {
            return Ok(None);
        }
        if !self.may_have_holes {
            return Ok(Some(offset..size));
        }
        let start = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start.max(offset),
            Err(Errno::NXIO) => return Ok(None),
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => return Ok(Some(offset..size)),
            Err(error) => return Err(error.into()),
        };
        if start >= size {
            return Ok(None);
        }
        let end = match seek(&self.file, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(size),
            // It changes at this very moment, which `has_changed` will tell.
            _ => size,
        };
        Ok(Some(start..end))
    }

    /// Whether size, mtime or ctime are others than when it was opened.
    pub fn has_changed(&self) -> io::Result<bool> {
        let now = Stat::of_system(&fstat(&self.file)?);
        Ok((now.size, now.mtime, now.ctime) != (self.stat.size, self.stat.mtime, self.stat.ctime))
    }
}

impl AsFd for Reading {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
