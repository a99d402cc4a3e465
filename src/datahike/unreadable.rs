//! Why a blob, a head or a node cannot be read.

use std::fmt;

use crate::error::{DecodeError, Error, ErrorKind};

/// Why a blob, a head or a node cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// Its bytes are not what they should be.
    Decode(DecodeError),
    /// A version of konserve's blobs that is not known.
    Version(u8),
    /// A way of writing values that is not Fressian.
    Serializer(u8),
    /// A compressor that is not known.
    Compressor(u8),
    /// An encryptor that is not known.
    Encryptor(u8),
    /// It is encrypted and no key was given.
    NeedsKey,
    /// It does not open with the key that was given.
    WrongKey,
    /// A hitchhiker tree, the index of databases made before Datahike 0.6.1523.
    Hitchhiker,
    /// A segment of Datomic.
    Datomic,
    /// A record whose type is not known.
    Record(String),
}

impl Unreadable {
    /// Whether the bytes may have been read while they were written, so that reading them again may help.
    pub fn may_be_torn(&self) -> bool {
        matches!(self, Self::Decode(_) | Self::WrongKey | Self::Version(_))
    }

    /// As an error about `object`.
    pub fn about(self, object: impl fmt::Display) -> Error {
        let kind = match self {
            Self::Decode(_) => ErrorKind::Damaged,
            Self::NeedsKey | Self::WrongKey => ErrorKind::WrongKey,
            _ => ErrorKind::Data,
        };
        Error::new(kind, object, &self).because(self)
    }
}

impl From<DecodeError> for Unreadable {
    fn from(why: DecodeError) -> Self {
        Self::Decode(why)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(why) => write!(f, "{why}"),
            Self::Version(version) => write!(f, "konserve blob layout {version} is not known, only 1 is"),
            Self::Serializer(0) => {
                f.write_str("written by konserve's string serializer (EDN): Datahike writes Fressian")
            }
            Self::Serializer(2) => {
                f.write_str("written by konserve's CBOR serializer (clj-cbor): Datahike writes Fressian")
            }
            Self::Serializer(3) => {
                f.write_str("written by konserve's CBOR serializer (boring): Datahike writes Fressian")
            }
            Self::Serializer(id) => write!(f, "konserve serializer {id} is not known"),
            Self::Compressor(id) => {
                write!(f, "konserve compressor {id} is not known, only 0 (none), 1 (LZ4) and 2 (zstd)")
            }
            Self::Encryptor(id) => write!(f, "konserve encryptor {id} is not known, only 0 (none) and 1 (AES-CBC)"),
            Self::NeedsKey => f.write_str("encrypted with AES: the key of the store is needed"),
            Self::WrongKey => f.write_str("does not open with the given key of the store"),
            Self::Hitchhiker => f.write_str(
                "a hitchhiker-tree index, which is not read: export the database with Datahike (export-db), \
                 and back up the export",
            ),
            Self::Datomic => f.write_str(
                "a segment of Datomic, which is not read: use Datomic's backup-db, or back up its log as lines",
            ),
            Self::Record(name) => write!(f, "a record of the unknown type {name}"),
        }
    }
}

impl std::error::Error for Unreadable {}
