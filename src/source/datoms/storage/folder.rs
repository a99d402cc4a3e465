//! A folder of EDN files, named by their addresses in eight hexadecimal digits.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Content, Home, ROOT, TAIL};
use crate::error::{Error, ErrorKind, Result};

/// A node has at most some thousand datoms; a file of this length is something else.
const FILE_MAX_BYTES: u64 = 256 << 20;

/// Whether these names are those of a storage.
pub(in crate::source::datoms) fn is_folder(names: &[String]) -> bool {
    let is_address =
        |name: &String| name.len() == 8 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    names.iter().any(|name| name == "00000000") && names.iter().filter(|name| !name.starts_with('.')).all(is_address)
}

pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn file(&self, address: i64) -> PathBuf {
        self.path.join(format!("{address:08x}"))
    }
}

impl Home for Folder {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn place(&self, address: i64) -> String {
        self.file(address).display().to_string()
    }

    fn get(&mut self, address: i64) -> Result<Option<Content>> {
        let path = self.file(address);
        let failed = |error| Error::io(path.display(), error);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut text = Vec::new();
        file.take(FILE_MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_MAX_BYTES {
            return Err(Error::new(ErrorKind::Data, path.display(), "a node of more than 256 MiB"));
        }
        Ok(Some(Content { text, addresses: None }))
    }

    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, root: &[u8], tail: &[u8]) -> Result<bool> {
        let text = |content: Option<Content>| content.map(|content| content.text).unwrap_or_default();
        Ok(text(self.get(ROOT)?) == root && text(self.get(TAIL)?) == tail)
    }
}
