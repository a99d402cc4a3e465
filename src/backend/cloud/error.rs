//! What OpenDAL's errors mean here.

use std::fmt::Display;

use opendal::ErrorKind as Theirs;

use crate::error::{Error, ErrorKind};

/// The store said that something was there already.
pub(super) fn is_refusal(error: &opendal::Error) -> bool {
    matches!(error.kind(), Theirs::ConditionNotMatch | Theirs::AlreadyExists | Theirs::Conflict)
}

/// An error about an object.
pub(super) fn of(object: impl Display, error: opendal::Error) -> Error {
    let text = error.to_string();
    let kind = match error.kind() {
        Theirs::NotFound => ErrorKind::NotFound,
        Theirs::AlreadyExists | Theirs::ConditionNotMatch => ErrorKind::AlreadyExists,
        Theirs::RateLimited => ErrorKind::Throttled,
        Theirs::Conflict => ErrorKind::Transient,
        Theirs::RangeNotSatisfied => ErrorKind::Damaged,
        _ if is_cold(&text) => ErrorKind::Cold,
        _ if is_full(&text) => ErrorKind::NoSpace,
        _ if error.is_temporary() || error.is_persistent() => ErrorKind::Transient,
        _ if is_past_the_end(&text) => ErrorKind::Damaged,
        _ => ErrorKind::Failed,
    };
    let message = match kind {
        ErrorKind::Cold => "is in a class that must be thawed before it can be read".to_owned(),
        _ => one_line(&error),
    };
    Error::new(kind, object, message).because(error)
}

/// The kind and the message, without the operation's context, which names hosts and headers over several lines.
fn one_line(error: &opendal::Error) -> String {
    let what = match error.kind() {
        Theirs::NotFound => return "not found".to_owned(),
        Theirs::PermissionDenied => "the store refuses access",
        Theirs::RateLimited => "the store asks to slow down",
        Theirs::ConfigInvalid => "settings of the store",
        Theirs::Unsupported => "the store cannot do this",
        _ => "the store failed",
    };
    let message: String = error.message().split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    format!("{what}: {message}")
}

/// Services say that a bucket is full in their own words.
fn is_full(text: &str) -> bool {
    ["QuotaExceeded", "QuotaExceededException", "InsufficientStorage", "507", "no space left", "StorageFull"]
        .iter()
        .any(|word| text.contains(word))
}

/// S3 and Azure on objects in an archive class.
fn is_cold(text: &str) -> bool {
    ["InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"].iter().any(|word| text.contains(word))
}

fn is_past_the_end(text: &str) -> bool {
    text.contains("InvalidRange") || text.contains("416")
}
