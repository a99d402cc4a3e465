//! Bytes that may leave this machine.

use bytes::Bytes;

/// The whole content of an object: sealed, or one of the few public objects (config, key slots).
///
/// Only this floor makes one from plaintext, so nothing else can be stored by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(Bytes);

impl Sealed {
    pub(in crate::format) fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// An object's content as a backend handed it over, to be stored elsewhere unchanged.
    pub fn from_stored(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
