//! Object stores: S3, Google Cloud Storage, Azure Blob Storage and what else OpenDAL speaks.
//!
//! The only module that names OpenDAL. Nothing is retried here: see [`super::Retrying`], which can, because every operation
//! either has happened or can be repeated.

mod address;
mod error;
mod list;
mod transport;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use opendal::options::{ReadOptions, WriteOptions};
use opendal::{Buffer, HttpTransporter, Operator};

use crate::backend::{Answer, Backend, ObjectStat, PutNew, Traffic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

pub use address::CloudAddress;
use transport::{Counters, Transport};

/// Longer objects go up in parts.
const PART_BYTES: usize = 16 << 20;

/// A repository's objects below a prefix of a bucket, container or folder.
pub struct CloudBackend {
    operator: Operator,
    location: String,
    counters: Arc<Counters>,
}

impl CloudBackend {
    /// The store at this address. Asks nothing of it yet.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the address or its options make no sense, or the program was built without the service.
    pub fn open(address: &CloudAddress) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let transport = Transport::new(address, Arc::clone(&counters))?;
        let operator = Operator::via_iter(address.scheme(), address.options()).map_err(|e| address.refused(&e))?;
        let context = operator.base_context().clone().with_http_transport(HttpTransporter::new(transport));
        Ok(Self { operator: operator.with_context(context), location: address.to_string(), counters })
    }

    async fn write(&self, path: &ObjectPath, body: Sealed, if_not_exists: bool) -> opendal::Result<()> {
        let options = WriteOptions { if_not_exists, ..WriteOptions::default() };
        let bytes = body.bytes().clone();
        let in_parts = self.operator.info().capability().write_can_multi;
        if bytes.len() <= PART_BYTES || if_not_exists || !in_parts {
            return self.operator.write_options(path.as_str(), Buffer::from(bytes), options).await.map(drop);
        }
        let options = WriteOptions { chunk: Some(PART_BYTES), concurrent: 2, ..options };
        let mut writer = self.operator.writer_options(path.as_str(), options).await?;
        let written = match writer.write(Buffer::from(bytes)).await {
            Ok(()) => writer.close().await.map(drop),
            Err(error) => Err(error),
        };
        if written.is_err() {
            // Parts that stay behind when this fails too are cleaned up by the store's own rules, or by `prune`.
            let _ = writer.abort().await;
        }
        written
    }
}

impl CloudBackend {
    /// Services and OpenDAL put it in many words, some like those for a broken connection, that an object is shorter than
    /// what was asked for: its length tells.
    async fn past_the_end(&self, path: &ObjectPath, end: Option<u64>, failed: Error) -> Error {
        match (end, self.stat(path).await) {
            (Some(end), Ok(Some(stat))) if stat.size_bytes < end => {
                let message = format!("{} bytes long, but bytes up to {end} were expected", stat.size_bytes);
                Error::damaged(path, message).because(failed)
            }
            _ => failed,
        }
    }
}

impl Backend for CloudBackend {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.write(path, body, false).await.map_err(|e| error::of(path, e)) })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(async move {
            match self.write(path, body, true).await {
                Ok(()) => Ok(PutNew::Created),
                Err(refused) if error::is_refusal(&refused) => Ok(PutNew::Exists),
                Err(unsupported) if unsupported.kind() == opendal::ErrorKind::Unsupported => Err(Error::new(
                    ErrorKind::Foreign,
                    path,
                    "this store cannot create an object only if it is not there",
                )),
                Err(other) => Err(error::of(path, other)),
            }
        })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        self.put(path, body)
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let wanted = range.as_ref().map(|range| range.end.saturating_sub(range.start));
            if range.as_ref().is_some_and(|range| range.start > range.end) {
                return Err(Error::new(ErrorKind::Usage, path, "range ends before it starts"));
            }
            if wanted == Some(0) {
                return Ok(Bytes::new());
            }
            let end = range.as_ref().map(|range| range.end);
            let options = ReadOptions { range: range.map(Into::into).unwrap_or_default(), ..ReadOptions::default() };
            let bytes = match self.operator.read_options(path.as_str(), options).await {
                Ok(bytes) => bytes.to_bytes(),
                Err(failed) if failed.kind() == opendal::ErrorKind::NotFound => return Err(error::of(path, failed)),
                Err(failed) => return Err(self.past_the_end(path, end, error::of(path, failed)).await),
            };
            match wanted {
                Some(wanted) if bytes.len() as u64 != wanted => {
                    Err(Error::damaged(path, format!("{} bytes where {wanted} were asked for", bytes.len())))
                }
                _ => Ok(bytes),
            }
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(async move { list::objects(&self.operator, prefix).await })
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(async move {
            match self.operator.stat(path.as_str()).await {
                Ok(metadata) if metadata.is_file() => Ok(Some(list::stat(&metadata))),
                Ok(_) => Ok(None),
                Err(missing) if missing.kind() == opendal::ErrorKind::NotFound => Ok(None),
                Err(other) => Err(error::of(path, other)),
            }
        })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(async move {
            match self.operator.delete(path.as_str()).await {
                Err(missing) if missing.kind() == opendal::ErrorKind::NotFound => Ok(()),
                result => result.map_err(|e| error::of(path, e)),
            }
        })
    }

    fn traffic(&self) -> Traffic {
        Traffic { http: self.counters.read(), ..Traffic::default() }
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move { list::unknown(&self.operator).await })
    }
}
