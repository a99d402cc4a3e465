//! Uploads in parts that were begun and never ended, on S3: OpenDAL has no words for them, so these requests are our own.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header::HOST};
use jiff::Timestamp;
use opendal::{Buffer, HttpTransporter};
use reqsign_aws_v4::Credential;
use reqsign_core::Signer;

use super::signer::{REGION, signer};
use super::{CloudAddress, answer, patient};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectPath;

/// More pages than this have no end.
const PAGES: usize = 10_000;

/// Asks an S3 bucket about its unfinished uploads below a prefix.
pub(super) struct Uploads {
    transporter: HttpTransporter,
    /// None when requests are not to be signed.
    signer: Option<Signer<Credential>>,
    /// Of the bucket, without a slash at the end.
    endpoint: String,
    /// With a slash at the end, or empty.
    prefix: String,
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    uploads: Vec<Upload>,
    /// Where the next page begins.
    next: Option<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Upload {
    key: String,
    id: String,
    begun: Timestamp,
}

impl Uploads {
    /// None where uploads are not listed here: another service, or a way to come by credentials that is only OpenDAL's.
    pub(super) fn new(address: &CloudAddress, transporter: HttpTransporter) -> Option<Self> {
        if address.scheme() != "s3" || address.option("role_arn").is_some() {
            return None;
        }
        let region = address.option("region").unwrap_or(REGION);
        let bucket = address.option("bucket")?;
        let endpoint = match address.option("endpoint") {
            Some(endpoint) if endpoint.starts_with("http") => endpoint.trim_end_matches('/').to_owned(),
            Some(endpoint) => format!("https://{}", endpoint.trim_end_matches('/')),
            None => format!("https://s3.{region}.amazonaws.com"),
        };
        let endpoint = match address.option("enable_virtual_host_style") {
            Some("true") => endpoint.replacen("//", &format!("//{bucket}."), 1),
            _ => format!("{endpoint}/{bucket}"),
        };
        let root = address.option("root").unwrap_or("").trim_matches('/');
        let prefix = if root.is_empty() { String::new() } else { format!("{root}/") };
        let signer = signer(address, &transporter);
        Some(Self { transporter, signer, endpoint, prefix })
    }

    /// Removes what was begun more than `older_than` ago; returns how many there were.
    pub(super) async fn clean(&self, older_than: Duration) -> Result<u64> {
        let before = Timestamp::now().checked_sub(older_than).unwrap_or(Timestamp::MIN);
        let mut cleaned = 0;
        let mut from = None;
        for _ in 0..PAGES {
            let page = self.list(from.as_ref()).await?;
            for upload in page.uploads.iter().filter(|upload| upload.begun < before && self.is_ours(&upload.key)) {
                self.abort(upload).await?;
                cleaned += 1;
            }
            match page.next {
                next @ Some(_) if next != from => from = next,
                _ => break,
            }
        }
        Ok(cleaned)
    }

    /// Others may keep things below the same prefix.
    fn is_ours(&self, key: &str) -> bool {
        key.strip_prefix(&self.prefix).is_some_and(|path| ObjectPath::parse(path).is_some())
    }

    async fn list(&self, from: Option<&(String, String)>) -> Result<Page> {
        let mut query = format!("uploads&prefix={}", encode(&self.prefix, false));
        if let Some((key, id)) = from {
            query += &format!("&key-marker={}&upload-id-marker={}", encode(key, false), encode(id, false));
        }
        let answer = self.ask(Method::GET, &format!("{}?{query}", self.endpoint)).await?;
        Page::parse(&String::from_utf8_lossy(&answer))
            .ok_or_else(|| Error::new(ErrorKind::Failed, "uploads", "the store lists them in an unknown way"))
    }

    async fn abort(&self, upload: &Upload) -> Result<()> {
        let url = format!("{}/{}?uploadId={}", self.endpoint, encode(&upload.key, true), encode(&upload.id, false));
        match self.ask(Method::DELETE, &url).await {
            Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map(drop),
        }
    }

    async fn ask(&self, method: Method, url: &str) -> Result<Bytes> {
        let failed = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Failed, "uploads", e);
        let request = Request::builder().method(method).uri(url).body(Buffer::new()).map_err(|e| failed(&e))?;
        let (mut head, body) = request.into_parts();
        if let Some(signer) = &self.signer {
            signer.sign(&mut head, None).await.map_err(|e| failed(&e))?;
        }
        head.headers.remove(HOST);
        let sent = self.transporter.send(Request::from_parts(head, body)).await;
        let answer = sent.map_err(|e| super::error::of("uploads", e))?;
        match answer.status() {
            status if status.is_success() => Ok(answer.into_body().to_bytes()),
            status => {
                let kind = match status {
                    StatusCode::NOT_FOUND => ErrorKind::NotFound,
                    StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => ErrorKind::Denied,
                    status if patient::is_throttling(status) => ErrorKind::Throttled,
                    status if status.is_server_error() => ErrorKind::Transient,
                    _ => ErrorKind::Failed,
                };
                let error = Error::new(kind, "uploads", format!("the store answers {status}"));
                Err(match answer::last().and_then(|refusal| refusal.retry_after) {
                    Some(wait) => error.because(crate::backend::RetryAfter::new(wait)),
                    None => error,
                })
            }
        }
    }
}

impl Page {
    /// Reads a `ListMultipartUploadsResult`.
    fn parse(text: &str) -> Option<Self> {
        let (head, uploads) = match text.find("<Upload>") {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        if !head.contains("<ListMultipartUploadsResult") {
            return None;
        }
        let uploads_end = uploads.rfind("</Upload>").unwrap_or(0);
        // What says where to go on may stand before the uploads or after them.
        let around = format!("{head}{}", &uploads[uploads_end..]);
        let mut page = Self::default();
        for upload in uploads[..uploads_end].split("<Upload>").skip(1) {
            let begun = element(upload, "Initiated")?.parse().ok()?;
            page.uploads.push(Upload { key: element(upload, "Key")?, id: element(upload, "UploadId")?, begun });
        }
        if element(&around, "IsTruncated").as_deref() == Some("true") {
            let key = element(&around, "NextKeyMarker")?;
            page.next = Some((key, element(&around, "NextUploadIdMarker").unwrap_or_default()));
        }
        Some(page)
    }
}

/// The text of the first element of this name.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    let unescaped = content.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#34;", "\"");
    Some(unescaped.replace("&apos;", "'").replace("&#39;", "'").replace("&amp;", "&"))
}

fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            b'/' if keep_slashes => encoded.push('/'),
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_page_of_uploads_is_read() {
        let upload = |key: &str, id: &str| {
            format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiator><ID>x</ID></Initiator>\
                 <Initiated>2026-11-20T10:00:00.000Z</Initiated></Upload>"
            )
        };
        let page = |uploads: &str, end: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <Bucket>b</Bucket><KeyMarker></KeyMarker>{uploads}{end}</ListMultipartUploadsResult>"
            )
        };
        let two = upload("a&amp;b/packs/1", "id1") + &upload("c", "id2");
        let more = "<NextKeyMarker>c</NextKeyMarker><NextUploadIdMarker>id2</NextUploadIdMarker>\
                    <IsTruncated>true</IsTruncated>";
        let begun = "2026-11-20T10:00:00Z".parse().unwrap();
        let expected = vec![
            Upload { key: "a&b/packs/1".to_owned(), id: "id1".to_owned(), begun },
            Upload { key: "c".to_owned(), id: "id2".to_owned(), begun },
        ];
        let parsed = Page::parse(&page(&two, more)).unwrap();
        assert_eq!(parsed, Page { uploads: expected, next: Some(("c".to_owned(), "id2".to_owned())) });
        assert_eq!(Page::parse(&page("", "<IsTruncated>false</IsTruncated>")), Some(Page::default()));
        assert_eq!(Page::parse("<Error><Code>NotImplemented</Code></Error>"), None);
        assert_eq!(Page::parse(&page("<Upload><Key>a</Key></Upload>", "")), None);
    }

    #[test]
    fn names_are_encoded_as_signatures_want_it() {
        assert_eq!(encode("a b/ü~", false), "a%20b%2F%C3%BC~");
        assert_eq!(encode("a/b", true), "a/b");
    }
}
