//! ZIP, written without going back.

use std::io::Write;

use ::zip::write::{FullFileOptions, StreamWriter};
use ::zip::{CompressionMethod, DateTime, ZipWriter};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Item, Stream, copy, output};
use crate::error::{Error, ErrorKind, Result};
use crate::record::entry::{Body, Entry};

/// Files of this size and more are announced as such.
const LARGE_BYTES: u64 = 0xffff_0000;
/// The extra field of times as seconds since 1970.
const EXTENDED_TIMESTAMP: u16 = 0x5455;
/// That it holds the time of the last change, and no other.
const ONLY_MTIME: u8 = 1;

/// An archive on its way to `out`. About 200 bytes for each entry are kept for the directory at its end.
pub(super) struct ZipStream<'a> {
    zip: Option<ZipWriter<StreamWriter<&'a mut dyn Write>>>,
}

impl<'a> ZipStream<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { zip: Some(ZipWriter::new_stream(out)) }
    }
}

impl Stream for ZipStream<'_> {
    fn put(&mut self, item: &Item<'_>) -> Result<Result<(), String>> {
        let Some(zip) = &mut self.zip else { return Ok(Ok(())) };
        if item.name.is_empty() {
            return Ok(Ok(()));
        }
        let Ok(name) = std::str::from_utf8(item.name) else {
            return Ok(Err("ZIP cannot hold a name that is not UTF-8".to_owned()));
        };
        let entry = item.entry;
        let options = options(entry).map_err(failed)?;
        match &entry.body {
            Body::File { .. } => {
                zip.start_file(name, options).map_err(failed)?;
                copy(&mut item.tree.content(entry)?, zip)?;
            }
            Body::Directory => zip.add_directory(name, options).map_err(failed)?,
            Body::Symlink { target } => match std::str::from_utf8(target) {
                Ok(target) => zip.add_symlink(name, target, options).map_err(failed)?,
                Err(_) => return Ok(Err("ZIP cannot hold a target that is not UTF-8".to_owned())),
            },
            _ => return Ok(Err("ZIP holds files, directories and symbolic links only".to_owned())),
        }
        Ok(Ok(()))
    }

    fn finish(&mut self) -> Result<()> {
        match self.zip.take() {
            Some(zip) => zip.finish().map(drop).map_err(failed),
            None => Ok(()),
        }
    }
}

impl Drop for ZipStream<'_> {
    /// An archive that was not finished gets no end that would make it look complete.
    fn drop(&mut self) {
        if let Some(zip) = self.zip.take() {
            std::mem::forget(zip);
        }
    }
}

fn options(entry: &Entry) -> ::zip::result::ZipResult<FullFileOptions<'static, 'static>> {
    let mut options = FullFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .unix_permissions(entry.mode & 0o777)
        .large_file(entry.size() >= LARGE_BYTES);
    if let Some(time) = local(entry) {
        options = options.last_modified_time(time);
    }
    if let Ok(seconds) = i32::try_from(entry.mtime.seconds) {
        let mut field = vec![ONLY_MTIME];
        field.extend_from_slice(&seconds.to_le_bytes());
        options.add_extra_field(EXTENDED_TIMESTAMP, field, false)?;
    }
    Ok(options)
}

/// By the local clock, which is what ZIP means; only from 1980 to 2107.
fn local(entry: &Entry) -> Option<DateTime> {
    let moment = Timestamp::new(entry.mtime.seconds, 0).ok()?.to_zoned(TimeZone::system());
    let part = |number: i8| u8::try_from(number).ok();
    DateTime::from_date_and_time(
        u16::try_from(moment.year()).ok()?,
        part(moment.month())?,
        part(moment.day())?,
        part(moment.hour())?,
        part(moment.minute())?,
        part(moment.second())?,
    )
    .ok()
}

fn failed(error: ::zip::result::ZipError) -> Error {
    match error {
        ::zip::result::ZipError::Io(error) => output(error),
        error => Error::new(ErrorKind::Failed, "zip archive", &error).because(error),
    }
}
