//! HTTP, with every request counted where it leaves the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request, Response};
use opendal::{Buffer, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;

use super::CloudAddress;
use crate::backend::HttpRequests;
use crate::error::{Error, ErrorKind, Result};

/// A connection that was idle for so long is not used again: servers close theirs, some after 5 s.
const IDLE: Duration = Duration::from_secs(4);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

/// What has left and come in so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    writes: AtomicU64,
    reads: AtomicU64,
    lists: AtomicU64,
    heads: AtomicU64,
    deletes: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> HttpRequests {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HttpRequests {
            writes: read(&self.writes),
            reads: read(&self.reads),
            lists: read(&self.lists),
            heads: read(&self.heads),
            deletes: read(&self.deletes),
            sent_bytes: read(&self.sent_bytes),
            received_bytes: 0,
        }
    }
}

pub(super) struct Transport {
    inner: ReqwestTransport,
    counters: Arc<Counters>,
}

impl Transport {
    pub(super) fn new(address: &CloudAddress, counters: Arc<Counters>) -> Result<Self> {
        // Fails only when somebody has installed one before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT)
            .user_agent(concat!("packstone/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = address.ca_file() {
            let refuse = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Usage, path.display(), e);
            let pem = std::fs::read(path).map_err(|e| refuse(&e))?;
            for certificate in reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| refuse(&e))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|e| Error::new(ErrorKind::Failed, address, &e).because(e))?;
        Ok(Self { inner: ReqwestTransport::new(client), counters })
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let counter = match *request.method() {
            Method::GET if is_listing(&request) => &self.counters.lists,
            Method::GET => &self.counters.reads,
            Method::HEAD => &self.counters.heads,
            Method::DELETE => &self.counters.deletes,
            _ => &self.counters.writes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.counters.sent_bytes.fetch_add(request.body().len() as u64, Ordering::Relaxed);
        self.inner.fetch(request).await
    }
}

/// S3 (`list-type`), Azure (`comp=list`), Google (`/o?...`).
fn is_listing(request: &Request<Buffer>) -> bool {
    let query = request.uri().query().unwrap_or("");
    query.contains("list-type=") || query.contains("comp=list") || request.uri().path().ends_with("/o")
}
