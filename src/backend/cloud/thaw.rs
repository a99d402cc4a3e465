//! Cold classes: asking what can be read, and for what cannot. OpenDAL has no words for that.
//!
//! Requests are built from those that OpenDAL signs for an object, so that hosts and paths are the same.

use std::time::Duration;

use http::{HeaderMap, Method, Request};
use opendal::{Buffer, HttpTransporter, Operator};
use reqsign_aws_v4::Credential;
use reqsign_core::Signer;

use super::signer::signer;
use super::{CloudAddress, error};
use crate::backend::{Thaw, ThawOrder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectPath;

/// How long a signed request may be on its way.
const VALID: Duration = Duration::from_secs(300);

/// Asks an S3 store about what its objects are kept in.
pub(super) struct Thawer {
    transporter: HttpTransporter,
    /// None when requests are not to be signed.
    signer: Option<Signer<Credential>>,
}

impl Thawer {
    /// None where a store knows no classes that cannot be read.
    pub(super) fn new(address: &CloudAddress, transporter: HttpTransporter) -> Option<Self> {
        if address.scheme() != "s3" {
            return None;
        }
        let signer = signer(address, &transporter);
        Some(Self { transporter, signer })
    }

    /// What can be read of an object; with an order, after asking for it if need be.
    pub(super) async fn thaw(&self, operator: &Operator, path: &ObjectPath, order: Option<&ThawOrder>) -> Result<Thaw> {
        let signed = operator.presign_stat(path.as_str(), VALID).await.map_err(|e| error::of(path, e))?;
        let mut request = Request::new(Buffer::new());
        *request.method_mut() = signed.method().clone();
        *request.uri_mut() = signed.uri().clone();
        *request.headers_mut() = signed.header().clone();
        let answer = self.transporter.send(request).await.map_err(|e| error::of(path, e))?;
        refuse(path, answer.status().as_u16(), "")?;
        let found = state(answer.headers());
        match (&found, order) {
            (Thaw::Frozen { class }, Some(order)) => {
                self.order(signed.uri(), path, order).await?;
                Ok(Thaw::Underway { class: class.clone() })
            }
            _ => Ok(found),
        }
    }

    /// `POST ?restore`.
    async fn order(&self, like: &http::Uri, path: &ObjectPath, order: &ThawOrder) -> Result<()> {
        let failed =
            |why: &dyn std::fmt::Display| Error::new(ErrorKind::Failed, path, format!("cannot be asked for: {why}"));
        let mut uri = like.clone().into_parts();
        uri.path_and_query = Some(format!("{}?restore", like.path()).parse().map_err(|e| failed(&e))?);
        let body = format!(
            "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Days>{}</Days>\
             <GlacierJobParameters><Tier>{}</Tier></GlacierJobParameters></RestoreRequest>",
            order.days,
            order.tier.name()
        );
        let request = Request::builder()
            .method(Method::POST)
            .uri(http::Uri::from_parts(uri).map_err(|e| failed(&e))?)
            .header(http::header::CONTENT_LENGTH, body.len())
            .header(http::header::CONTENT_TYPE, "application/xml")
            .body(Buffer::from(body))
            .map_err(|e| failed(&e))?;
        let (mut head, body) = request.into_parts();
        if let Some(signer) = &self.signer {
            signer.sign(&mut head, None).await.map_err(|e| failed(&e))?;
        }
        let answer = self.transporter.send(Request::from_parts(head, body)).await.map_err(|e| error::of(path, e))?;
        let (head, body) = answer.into_parts();
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        // Somebody else has asked for it: that is as good.
        if body.contains("RestoreAlreadyInProgress") {
            return Ok(());
        }
        refuse(path, head.status.as_u16(), &body)
    }
}

/// What the headers of an object say.
fn state(headers: &HeaderMap) -> Thaw {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    // Without the header, an object is in the standard class.
    let class = header("x-amz-storage-class");
    let archived = match class {
        "GLACIER" | "DEEP_ARCHIVE" => true,
        // Objects of this class move to an archive when nobody reads them for long, and say so.
        "INTELLIGENT_TIERING" => !header("x-amz-archive-status").is_empty(),
        _ => false,
    };
    let restore = header("x-amz-restore");
    let class = class.to_owned();
    match () {
        () if !archived => Thaw::Readable,
        () if restore.contains("ongoing-request=\"true\"") => Thaw::Underway { class },
        () if restore.contains("ongoing-request=\"false\"") => Thaw::Readable,
        () => Thaw::Frozen { class },
    }
}

/// The error that a status stands for.
fn refuse(path: &ObjectPath, status: u16, body: &str) -> Result<()> {
    let code = body.split("<Code>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or("");
    let kind = match status {
        200..300 => return Ok(()),
        404 => ErrorKind::NotFound,
        429 | 503 => ErrorKind::Throttled,
        500.. => ErrorKind::Transient,
        _ => ErrorKind::Failed,
    };
    Err(Error::new(kind, path, format!("the store answers {status} {code}").trim_end()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn headers_say_what_can_be_read() {
        let check = |class: &str, restore: &str, expected: Thaw| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-amz-storage-class", class), ("x-amz-restore", restore)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(state(&headers), expected, "{class} {restore}");
        };
        let class = || "GLACIER".to_owned();
        check("", "", Thaw::Readable);
        check("STANDARD_IA", "", Thaw::Readable);
        check("GLACIER_IR", "", Thaw::Readable);
        check("GLACIER", "", Thaw::Frozen { class: class() });
        check("DEEP_ARCHIVE", "", Thaw::Frozen { class: "DEEP_ARCHIVE".to_owned() });
        check("GLACIER", "ongoing-request=\"true\"", Thaw::Underway { class: class() });
        check("GLACIER", "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\"", Thaw::Readable);
    }

    #[test]
    fn statuses_are_errors_of_a_kind() {
        let kind =
            |status, body| refuse(&ObjectPath::config(), status, body).map_err(|e| (e.kind(), e.message().to_owned()));
        assert_eq!(kind(202, ""), Ok(()));
        let (found, message) = kind(403, "<Error><Code>AccessDenied</Code></Error>").unwrap_err();
        assert_eq!((found, message.as_str()), (ErrorKind::Failed, "the store answers 403 AccessDenied"));
        assert_eq!(kind(404, "").unwrap_err().0, ErrorKind::NotFound);
        assert_eq!(kind(503, "").unwrap_err().0, ErrorKind::Throttled);
    }
}
