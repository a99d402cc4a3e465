//! One output stream: a file that appears under its name when it is finished, or standard output.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use crate::error::{Error, ErrorKind, Result};

/// Bytes gathered before they are handed on.
const BUFFER_BYTES: usize = 256 << 10;

/// A stream of bytes with the name that errors give it.
pub(super) struct Output {
    name: String,
    /// What is not handed on yet; [`Output::buffer`] appends here.
    buffer: Vec<u8>,
    sink: Sink,
}

enum Sink {
    File { file: NamedTempFile, path: PathBuf, overwrite: bool },
    Gzip { encoder: Box<GzEncoder<NamedTempFile>>, path: PathBuf, overwrite: bool },
    Stdout { bytes: u64 },
}

impl Output {
    /// A file beside `path` that replaces it at the end; compressed when the name ends in `.gz`.
    pub(super) fn file(path: &Path, overwrite: bool) -> Result<Self> {
        let name = path.display().to_string();
        if path.is_dir() {
            return Err(Error::new(ErrorKind::AlreadyExists, name, "is a directory"));
        }
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        let file = temporary(path).map_err(|error| Error::io(&name, error))?;
        let path = path.to_owned();
        let sink = if path.extension().is_some_and(|extension| extension == "gz") {
            let encoder = Box::new(GzEncoder::new(file, Compression::default()));
            Sink::Gzip { encoder, path, overwrite }
        } else {
            Sink::File { file, path, overwrite }
        };
        Ok(Self { name, buffer: Vec::with_capacity(BUFFER_BYTES * 2), sink })
    }

    pub(super) fn stdout() -> Self {
        let buffer = Vec::with_capacity(BUFFER_BYTES * 2);
        Self { name: "standard output".to_owned(), buffer, sink: Sink::Stdout { bytes: 0 } }
    }

    /// Where bytes are appended; [`Output::flush_when_full`] hands them on.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    #[inline]
    pub(super) fn flush_when_full(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        let written = match &mut self.sink {
            Sink::File { file, .. } => file.write_all(&self.buffer),
            Sink::Gzip { encoder, .. } => encoder.write_all(&self.buffer),
            Sink::Stdout { bytes } => {
                *bytes += self.buffer.len() as u64;
                let mut stdout = io::stdout().lock();
                stdout.write_all(&self.buffer).and_then(|()| stdout.flush())
            }
        };
        self.buffer.clear();
        written.map_err(|error| failed(&self.name, error))
    }

    /// Makes everything durable under the final name; how many bytes it takes there.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.flush()?;
        let (file, path, overwrite) = match self.sink {
            Sink::Stdout { bytes } => return Ok(bytes),
            Sink::File { file, path, overwrite } => (file, path, overwrite),
            Sink::Gzip { encoder, path, overwrite } => {
                let file = encoder.finish().map_err(|error| failed(&self.name, error))?;
                (file, path, overwrite)
            }
        };
        publish(file, &path, overwrite)
    }
}

fn publish(file: NamedTempFile, path: &Path, overwrite: bool) -> Result<u64> {
    let failed = |error| Error::io(path.display(), error);
    file.as_file().sync_all().map_err(failed)?;
    let bytes = file.as_file().metadata().map_err(failed)?.len();
    let renamed = if overwrite { file.persist(path) } else { file.persist_noclobber(path) };
    renamed.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => failed(error.error),
    })?;
    File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(bytes)
}

fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".packstone-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file: the process's umask takes away what it takes away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder(path))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::AlreadyExists, path.display(), "exists already")
}

fn failed(name: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::new(ErrorKind::Interrupted, name, "closed by its reader").because(error),
        _ => Error::io(name, error),
    }
}
