//! Between OpenDAL and the wire: no request is silent for ever, what a refusal says is kept, a failed part of an upload goes
//! up again alone, and a folder that two make at once is there for both.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::{Request, Response, StatusCode};
use opendal::{Buffer, ErrorKind, HttpBody, HttpTransport};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::answer;
use crate::backend::RetryPolicy;
use crate::backend::retrying::{Counts, count};

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// The slowest link that is waited for: bytes a second.
const SLOWEST: u64 = 32 << 10;
/// How often a part is repeated before the whole upload counts as failed.
const PART_REPEATS: u32 = 5;

/// Watches over a transport.
pub(super) struct Patient<T> {
    inner: T,
    policy: RetryPolicy,
    counts: Arc<Counts>,
}

impl<T: HttpTransport> Patient<T> {
    pub(super) fn new(inner: T, policy: &RetryPolicy, counts: Arc<Counts>) -> Self {
        Self { inner, policy: policy.clone(), counts }
    }

    async fn send(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        // Counts from the first byte sent to the first received, so it depends on what is sent.
        let patience = SILENCE + Duration::from_secs(request.body().len() as u64 / SLOWEST);
        let response = timeout(patience, self.inner.fetch(request)).await.map_err(|_| silent(patience))??;
        answer::note(response.status(), response.headers());
        let (head, body) = response.into_parts();
        let body = body.map_inner(|stream| Box::new(Watched { stream, alarm: Box::pin(sleep(SILENCE)) }));
        Ok(Response::from_parts(head, body))
    }

    /// A part can be sent as often as it takes: the store keeps the last.
    async fn send_part(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        for attempt in 0.. {
            let result = self.send_whole(request.clone()).await;
            let asked = match &result {
                Ok(response) if !may_pass(response.status()) => return result,
                Ok(response) => answer::retry_after(response.headers()),
                Err(error) if error.is_temporary() => None,
                Err(_) => return result,
            };
            if attempt >= PART_REPEATS.min(self.policy.retries) {
                return result;
            }
            let throttled = matches!(&result, Ok(response) if is_throttling(response.status()));
            count(if throttled { &self.counts.throttled } else { &self.counts.transient });
            sleep(self.policy.wait(attempt).max(asked.unwrap_or_default().min(SILENCE))).await;
            count(&self.counts.repeated);
        }
        unreachable!("the loop ends by returning")
    }

    /// OpenDAL makes the folders of a WebDAV server when it writes into them. The server may see that there is none, and then
    /// meet the one that somebody else made meanwhile: Apache says 403 (RFC 4918 9.3.1 leaves it open). Whoever asks once
    /// more hears 405, that it is there; a refusal that was meant comes again.
    async fn make_folder(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let response = self.send_whole(request.clone()).await?;
        match response.status() {
            StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::LOCKED => self.send(request).await,
            _ => Ok(response),
        }
    }

    /// With all of the answer's body, which is short.
    async fn send_whole(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (head, mut body) = self.send(request).await?.into_parts();
        let bytes = body.to_buffer().await?;
        let len = bytes.len() as u64;
        let stream = futures::stream::iter([Ok(bytes)]);
        Ok(Response::from_parts(head, HttpBody::new(stream, Some(len))))
    }
}

impl<T: HttpTransport> HttpTransport for Patient<T> {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        match request.method().as_str() {
            "PUT" if is_part(&request) => self.send_part(request).await,
            "MKCOL" => self.make_folder(request).await,
            _ => self.send(request).await,
        }
    }
}

/// S3 and Google (`partNumber`), Azure (`comp=block`).
fn is_part(request: &Request<Buffer>) -> bool {
    let names_part = |query: &str| query.split('&').any(|p| p.starts_with("partNumber=") || p == "comp=block");
    request.uri().query().is_some_and(names_part)
}

fn may_pass(status: StatusCode) -> bool {
    is_throttling(status)
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::INTERNAL_SERVER_ERROR
                | StatusCode::BAD_GATEWAY
                | StatusCode::GATEWAY_TIMEOUT
        )
}

/// The store asks to slow down.
pub(super) fn is_throttling(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn silent(period: Duration) -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, format!("nothing came for {} s", period.as_secs())).set_temporary()
}

type Body = Box<dyn Stream<Item = opendal::Result<Buffer>> + Send + Sync + Unpin>;

/// A body that fails when nothing comes for too long.
struct Watched {
    stream: Body,
    alarm: Pin<Box<Sleep>>,
}

impl Stream for Watched {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.stream.poll_next_unpin(context) {
            Poll::Ready(item) => {
                self.alarm.as_mut().reset(Instant::now() + SILENCE);
                Poll::Ready(item)
            }
            Poll::Pending => match self.alarm.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(silent(SILENCE)))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// Answers one after another, and fails when asked for more.
    struct Server(Mutex<VecDeque<u16>>);

    impl HttpTransport for Server {
        async fn fetch(&self, _: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
            let status = self.0.lock().unwrap().pop_front().expect("a request that was not expected");
            let body = HttpBody::new(futures::stream::iter([Ok(Buffer::new())]), Some(0));
            Ok(Response::builder().status(status).body(body).unwrap())
        }
    }

    #[tokio::test]
    async fn a_folder_that_two_make_at_once_is_asked_for_once_more() {
        for (method, answers, expected) in [
            ("MKCOL", &[201][..], 201),
            ("MKCOL", &[405], 405),
            ("MKCOL", &[403, 405], 405),
            ("MKCOL", &[409, 405], 405),
            ("MKCOL", &[423, 201], 201),
            ("MKCOL", &[403, 403], 403),
            ("MKCOL", &[507], 507),
            ("PUT", &[403], 403),
        ] {
            let server = Server(Mutex::new(answers.iter().copied().collect()));
            let patient = Patient::new(server, &RetryPolicy::default(), Arc::default());
            let request = Request::builder().method(method).uri("http://server/packs/").body(Buffer::new()).unwrap();
            assert_eq!(patient.fetch(request).await.unwrap().status(), expected, "{method} {answers:?}");
            assert!(patient.inner.0.lock().unwrap().is_empty(), "{method} {answers:?}");
        }
    }
}
