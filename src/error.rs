//! What can go wrong: one [`Error`] from the backend up, one [`DecodeError`] for the pure floors below it.

use std::fmt;

/// The result of everything from the backend up.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing else fits: report it and stop.
    Failed,
    /// The request makes no sense as it stands.
    Usage,
    /// The input data cannot be represented or understood.
    Data,
    /// An object, path or snapshot does not exist.
    NotFound,
    /// Something is in the way that would have been overwritten.
    AlreadyExists,
    /// There is no repository at the location.
    NoRepository,
    /// A session was fenced or a lease not obtained: run again.
    Busy,
    /// No key slot opens with the given secret.
    WrongKey,
    /// A stored object is not what was once written.
    Damaged,
    /// Disk full or quota reached: free space and run again.
    NoSpace,
    /// The amount that may be spent would be passed: allow more and run again.
    OverBudget,
    /// Another program's repository, or one of a newer format.
    Foreign,
    /// The store refuses the credentials, or what they may not do.
    Denied,
    /// An object is in a class that cannot be read before it has been asked for: ask, wait, and run again.
    Cold,
    /// May work when tried again.
    Transient,
    /// The store asks to slow down: may work when tried again later, with less at once.
    Throttled,
    /// The user or the system asked to stop.
    Interrupted,
}

/// An error that names the object it is about.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    object: String,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error about `object`; `message` is lower case without a full stop.
    pub fn new(kind: ErrorKind, object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self { kind, object: object.to_string(), message: message.to_string(), source: None }
    }

    /// The same error with its cause attached.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An input/output error about `object`; a full disk becomes [`ErrorKind::NoSpace`].
    pub fn io(object: impl fmt::Display, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::NoSpace,
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            _ => ErrorKind::Failed,
        };
        Self::new(kind, object, &error).because(error)
    }

    /// A stored object that does not decode.
    pub fn damaged(object: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Damaged, object, why)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The object it is about.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The message without the object.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.object.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.object, self.message) }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// Why bytes were refused by a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does.
    Truncated,
    /// Bytes follow after the value.
    TrailingBytes,
    /// The first bytes are not those of this kind of object.
    BadMagic,
    /// A version this program does not know.
    UnknownVersion(u8),
    /// A field holds a value that the format does not allow.
    Invalid(&'static str),
    /// A length or count is over its limit.
    TooLarge(&'static str),
    /// The seal does not open: wrong key, wrong place or changed bytes.
    Unauthentic,
    /// The content does not have the id it is stored under.
    IdMismatch,
    /// Sealed under a key epoch that is not in the keyring.
    UnknownEpoch(u32),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated"),
            Self::TrailingBytes => f.write_str("unexpected bytes at the end"),
            Self::BadMagic => f.write_str("not an object of this kind"),
            Self::UnknownVersion(version) => write!(f, "format version {version} is not known"),
            Self::Invalid(what) => write!(f, "invalid {what}"),
            Self::TooLarge(what) => write!(f, "{what} over its limit"),
            Self::Unauthentic => f.write_str("does not open: changed bytes or another object's content"),
            Self::IdMismatch => f.write_str("content does not match its id"),
            Self::UnknownEpoch(epoch) => write!(f, "sealed under key epoch {epoch}, which no key slot holds"),
        }
    }
}

impl std::error::Error for DecodeError {}
