//! What a store's last refusal said beside its body, which is all that OpenDAL's errors keep: status and `Retry-After`.

use std::cell::Cell;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use jiff::{Timestamp, fmt::rfc2822};

/// The head of an answer that is not a success.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
}

tokio::task_local! {
    static LAST: Cell<Option<Refusal>>;
}

/// Runs an operation; [`last`] tells within it what its requests were refused with.
pub(super) async fn noting<T>(operation: impl Future<Output = T>) -> T {
    LAST.scope(Cell::new(None), operation).await
}

/// Notes the head of an answer.
pub(super) fn note(status: StatusCode, headers: &HeaderMap) {
    let refusal = (!status.is_success()).then(|| Refusal { status, retry_after: retry_after(headers) });
    // Requests on behalf of nobody, and those of a part that runs by itself, are not asked about.
    let _ = LAST.try_with(|last| last.set(refusal));
}

/// The last answer to this operation, when it was a refusal.
pub(super) fn last() -> Option<Refusal> {
    LAST.try_with(Cell::get).ok().flatten()
}

/// How long to wait, in seconds or until a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::HeaderValue;

    use super::*;

    fn parse(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(parse("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let far = parse("Mon, 31 Dec 2125 23:59:59 GMT").unwrap();
        assert!(far > Duration::from_secs(86_400 * 365 * 50));
        assert_eq!(parse("soon"), None);
        assert_eq!(parse("-3"), None);
    }
}
