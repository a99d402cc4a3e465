//! The names of things: every kind of id is its own type, shown as lower-case hexadecimal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is not an id, or not hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id in hexadecimal digits")
    }
}

impl std::error::Error for NotAnId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// From its bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hexadecimal digits, as shown to people.
            pub fn short(&self) -> String {
                hex(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let bytes = unhex(text)?;
                Ok(Self(bytes.try_into().map_err(|_| NotAnId)?))
            }
        }
    };
}

id!(
    /// Keyed BLAKE3 of a blob's canonical bytes.
    BlobId, 32
);
id!(
    /// BLAKE3 of a whole pack object.
    PackId, 32
);
id!(
    /// BLAKE3 of a whole index object.
    IndexId, 32
);
id!(
    /// BLAKE3 of a whole key slot object.
    KeySlotId, 32
);
id!(
    /// Random name of a repository; part of every key derivation.
    RepositoryId, 16
);
id!(
    /// Random name of a session and of the snapshot that it commits.
    SnapshotId, 16
);

id!(
    /// Random name of a record in the ledger.
    LedgerId, 16
);

id!(
    /// Keyed hash of the host and label of what is followed.
    StreamId, 16
);

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// The bytes of a hexadecimal text of either case.
pub fn unhex(text: &str) -> Result<Vec<u8>, NotAnId> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(NotAnId);
    }
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8).ok_or(NotAnId);
    digits.chunks_exact(2).map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
