//! What OpenDAL's errors mean here.

use std::fmt::Display;

use http::StatusCode;
use opendal::ErrorKind as Theirs;

use super::{answer, patient};
use crate::backend::RetryAfter;
use crate::error::{Error, ErrorKind};

/// The store said that something was there already.
pub(super) fn is_refusal(error: &opendal::Error) -> bool {
    matches!(error.kind(), Theirs::ConditionNotMatch | Theirs::AlreadyExists)
}

/// An error about an object.
pub(super) fn of(object: impl Display, error: opendal::Error) -> Error {
    let refusal = answer::last();
    let kind = kind(&error, refusal.map(|refusal| refusal.status));
    let asked = refusal.and_then(|refusal| refusal.retry_after);
    tracing::debug!(%error, "the store's answer");
    let message = match kind {
        ErrorKind::Cold => "is in a class that must be thawed before it can be read".to_owned(),
        ErrorKind::NoSpace => format!("no room is left: {}", words(&error)),
        _ => one_line(&error),
    };
    let result = Error::new(kind, object, message);
    match asked.filter(|_| matches!(kind, ErrorKind::Transient | ErrorKind::Throttled)) {
        Some(wait) => result.because(RetryAfter::new(wait)),
        None => result,
    }
}

/// Only the message is searched for words: the context holds paths, whose digits may be anything.
fn kind(error: &opendal::Error, status: Option<StatusCode>) -> ErrorKind {
    let message = error.message();
    match error.kind() {
        Theirs::NotFound => ErrorKind::NotFound,
        Theirs::AlreadyExists | Theirs::ConditionNotMatch => ErrorKind::AlreadyExists,
        Theirs::RangeNotSatisfied => ErrorKind::Damaged,
        _ if status == Some(StatusCode::INSUFFICIENT_STORAGE) || says(message, &FULL) => ErrorKind::NoSpace,
        Theirs::RateLimited => ErrorKind::Throttled,
        Theirs::Conflict => ErrorKind::Transient,
        _ if status.is_some_and(patient::is_throttling) || says(message, &TOO_FAST) => ErrorKind::Throttled,
        _ if status == Some(StatusCode::RANGE_NOT_SATISFIABLE) || says(message, &["InvalidRange"]) => {
            ErrorKind::Damaged
        }
        // A cold object is not refused for want of rights.
        _ if says(message, &COLD) => ErrorKind::Cold,
        Theirs::PermissionDenied => ErrorKind::Denied,
        _ if status == Some(StatusCode::UNAUTHORIZED) || says(message, &DENIED) => ErrorKind::Denied,
        // Whoever answers with a certificate that nobody trusts does so again.
        _ if says(&format!("{error:?}"), &["invalid peer certificate"]) => ErrorKind::Failed,
        _ if error.is_temporary() || error.is_persistent() || status == Some(StatusCode::REQUEST_TIMEOUT) => {
            ErrorKind::Transient
        }
        _ => ErrorKind::Failed,
    }
}

/// S3 and Azure say so of objects in an archive class.
const COLD: [&str; 3] = ["InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"];
/// Services say that a bucket is full in their own words: Ceph, MinIO, SeaweedFS, Google, Backblaze, WebDAV servers, SFTP.
const FULL: [&str; 12] = [
    "QuotaExceeded",
    "quotaExceeded",
    "StorageFull",
    "InsufficientStorage",
    "Insufficient Storage",
    "storage_cap_exceeded",
    "no writable volumes",
    "No writable volumes",
    "no space left",
    "No space left",
    "not enough free space",
    "NotEnoughSpace",
];
/// And that it is too much at once.
const TOO_FAST: [&str; 4] = ["rateLimitExceeded", "userRateLimitExceeded", "ServerBusy", "too_many_requests"];
/// And that the credentials will not do.
const DENIED: [&str; 6] =
    ["ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "AccessDenied", "bad_auth_token"];

fn says(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

/// The kind, the message and the last cause, without the operation's context, which names hosts and headers over several lines.
fn one_line(error: &opendal::Error) -> String {
    let what = match error.kind() {
        Theirs::NotFound => return "not found".to_owned(),
        Theirs::PermissionDenied => "the store refuses access",
        Theirs::RateLimited => "the store asks to slow down",
        Theirs::ConfigInvalid => "settings of the store",
        Theirs::Unsupported => "the store cannot do this",
        _ => "the store failed",
    };
    let mut parts = vec![what.to_owned(), words(error)];
    // What lies deepest says most: a connection refused, a certificate that nobody trusts.
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    parts.extend(cause.map(ToString::to_string));
    parts.retain(|part| !part.is_empty());
    parts.join(": ")
}

/// The message on one line; of a page for browsers its title.
fn words(error: &opendal::Error) -> String {
    let message = error.message();
    let title = message.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let message = title.map_or(message, |(title, _)| title);
    message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_from_status_and_words_never_from_paths() {
        let error = |kind, message: &str| opendal::Error::new(kind, message).with_context("path", "packs/50/507416");
        let temporary = |message: &str| error(Theirs::Unexpected, message).set_temporary();
        for (error, status, expected) in [
            (temporary("InternalError"), Some(500), ErrorKind::Transient),
            (temporary("send http request"), None, ErrorKind::Transient),
            (temporary("ServiceUnavailable"), Some(503), ErrorKind::Throttled),
            (error(Theirs::RateLimited, "SlowDown"), Some(503), ErrorKind::Throttled),
            (error(Theirs::PermissionDenied, "code: \"AccessDenied\""), Some(403), ErrorKind::Denied),
            (error(Theirs::PermissionDenied, "code: \"QuotaExceeded\""), Some(403), ErrorKind::NoSpace),
            (error(Theirs::PermissionDenied, "reason: userRateLimitExceeded"), Some(403), ErrorKind::Throttled),
            (error(Theirs::PermissionDenied, "code: \"InvalidObjectState\""), Some(403), ErrorKind::Cold),
            (error(Theirs::Unexpected, "code: \"ExpiredToken\""), Some(400), ErrorKind::Denied),
            (error(Theirs::Unexpected, ""), Some(401), ErrorKind::Denied),
            (error(Theirs::Unexpected, ""), Some(507), ErrorKind::NoSpace),
            (error(Theirs::Unexpected, ""), Some(416), ErrorKind::Damaged),
            (error(Theirs::Unexpected, "who knows"), Some(400), ErrorKind::Failed),
            (error(Theirs::NotFound, ""), Some(404), ErrorKind::NotFound),
            (error(Theirs::Conflict, "OperationAborted"), Some(409), ErrorKind::Transient),
        ] {
            let status = status.and_then(|code| StatusCode::from_u16(code).ok());
            assert_eq!(kind(&error, status), expected, "{error}");
        }
    }

    #[test]
    fn a_page_for_browsers_is_told_by_its_title() {
        let page = "<!DOCTYPE HTML><html>\n<head><title>507 Insufficient Storage</title></head><body>...";
        let error = of("packs/50", opendal::Error::new(Theirs::Unexpected, page));
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(error.to_string(), "packs/50: no room is left: 507 Insufficient Storage");
    }
}
