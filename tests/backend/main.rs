//! What every backend promises, and what each does beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod full_disk;
mod local;
mod retrying;
#[cfg(all(feature = "s3", feature = "gcs", feature = "azblob"))]
mod servers;
mod simulated;

use bytes::Bytes;
use packstone::format::{ObjectPath, Sealed};

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).unwrap()
}

fn body(bytes: impl Into<Bytes>) -> Sealed {
    Sealed::from_stored(bytes.into())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}
