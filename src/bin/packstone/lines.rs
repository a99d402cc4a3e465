//! Many lines to standard output, from a thread of the library.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Arc, Mutex, PoisonError};

use packstone::Error;
use serde_json::Value;

use crate::exit::Result;
use crate::nodes::Names;

/// Standard output, buffered. Clones share it.
#[derive(Clone)]
pub struct Lines {
    out: Arc<Mutex<BufWriter<Stdout>>>,
}

impl Lines {
    /// At its beginning.
    pub fn new() -> Self {
        Self { out: Arc::new(Mutex::new(BufWriter::with_capacity(64 << 10, io::stdout()))) }
    }

    /// How names are to be shown there.
    pub fn names() -> Names {
        if io::stdout().is_terminal() { Names::Escaped } else { Names::Raw }
    }

    /// Bytes as they are; the caller ends lines.
    pub fn put(&self, bytes: &[u8]) -> packstone::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(bytes).map_err(|e| Error::io("standard output", e))
    }

    /// A line of JSON.
    pub fn json(&self, value: &Value) -> packstone::Result<()> {
        self.put(format!("{value}\n").as_bytes())
    }

    /// Writes what is still in the buffer.
    pub fn finish(&self) -> Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(out.flush().map_err(|e| Error::io("standard output", e))?)
    }
}
