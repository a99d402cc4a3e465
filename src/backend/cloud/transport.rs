//! HTTP, with every request counted where it leaves the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use http::{Request, Response};
use opendal::{Buffer, HttpBody, HttpTransport, HttpTransporter};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::redirect;

use super::CloudAddress;
use super::class::Class;
use crate::backend::HttpRequests;
use crate::error::{Error, ErrorKind, Result};

/// A connection that was idle for so long is not used again: servers close theirs, some after 5 s.
const IDLE: Duration = Duration::from_secs(4);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How often a store may send a request on to another of its hosts.
const REDIRECTS: usize = 10;

tokio::task_local! {
    /// The class of the request under way, for those that the client repeats elsewhere by itself.
    static CLASS: Class;
}

/// What has left and come in so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    writes: AtomicU64,
    reads: AtomicU64,
    lists: AtomicU64,
    heads: AtomicU64,
    deletes: AtomicU64,
    others: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
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
            others: read(&self.others),
            sent_bytes: read(&self.sent_bytes),
            received_bytes: read(&self.received_bytes),
        }
    }

    fn request(&self, class: Class) {
        let counter = match class {
            Class::Write => &self.writes,
            Class::Read => &self.reads,
            Class::List => &self.lists,
            Class::Head => &self.heads,
            Class::Delete => &self.deletes,
            Class::Other => &self.others,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Follows where the store points to; each step is a request of its own.
    fn redirects(self: &Arc<Self>) -> redirect::Policy {
        let counters = Arc::clone(self);
        redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS {
                return attempt.error("redirected too often");
            }
            counters.request(CLASS.try_with(|class| *class).unwrap_or(Class::Other));
            attempt.follow()
        })
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
            .redirect(counters.redirects())
            .user_agent(concat!("packstone/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = address.ca_file() {
            let refuse = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Usage, path.display(), e);
            let pem = std::fs::read(path).map_err(|e| refuse(&e))?;
            for certificate in reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| refuse(&e))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|e| Error::new(ErrorKind::Failed, address, &e).because(e))?;
        let inner = ReqwestTransport::new(client);
        // For what asks for credentials without knowing of this store: assuming a role. The first one stays.
        HttpTransporter::install_default(inner.clone());
        Ok(Self { inner, counters })
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let class = Class::of(request.method(), request.uri());
        self.counters.request(class);
        if class == Class::Other {
            return CLASS.scope(class, self.inner.fetch(request)).await;
        }
        self.counters.sent_bytes.fetch_add(request.body().len() as u64, Ordering::Relaxed);
        let response = CLASS.scope(class, self.inner.fetch(request)).await?;
        Ok(response.map(|body| counted(body, Arc::clone(&self.counters))))
    }
}

/// Counts what comes in, also when it ends early or nobody reads on.
fn counted(body: HttpBody, counters: Arc<Counters>) -> HttpBody {
    body.map_inner(|stream| {
        Box::new(stream.inspect(move |piece| {
            if let Ok(piece) = piece {
                counters.received_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }))
    })
}
