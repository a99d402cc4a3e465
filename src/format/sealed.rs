//! Bytes that may leave this machine.

use bytes::Bytes;

/// The whole content of an object: sealed, or one of the few public objects (config, key slots).
///
/// Only this floor makes one from plaintext, so nothing else can be stored by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    bytes: Bytes,
    is_content: bool,
}

impl Sealed {
    pub(in crate::format) fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), is_content: false }
    }

    /// An object's content as a backend handed it over, to be stored elsewhere unchanged.
    pub fn from_stored(bytes: Bytes) -> Self {
        Self { bytes, is_content: false }
    }

    /// The same, as a pack of chunks.
    pub(in crate::format) fn of_content(self) -> Self {
        Self { is_content: true, ..self }
    }

    /// Whether it is read for content alone, never for listing, backing up or pruning: it may be kept where reading takes
    /// hours.
    pub fn is_content(&self) -> bool {
        self.is_content
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
