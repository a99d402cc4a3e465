//! Object stores: S3, Google Cloud Storage, Azure Blob Storage and what else OpenDAL speaks.
//!
//! The only module that names OpenDAL. Nothing but single parts of an upload is repeated here: see [`super::Retrying`], which
//! can, because every operation either has happened or can be repeated.

mod address;
mod answer;
mod class;
mod error;
mod list;
mod objects;
mod patient;
#[cfg(feature = "s3")]
mod signer;
#[cfg(feature = "s3")]
mod thaw;
mod transport;
#[cfg(feature = "s3")]
mod uploads;

use std::ops::Range;
use std::sync::Arc;
#[cfg(feature = "s3")]
use std::time::Duration;

use bytes::Bytes;
use opendal::options::{ReadOptions, WriteOptions};
use opendal::{Buffer, HttpTransporter, Operator};

use crate::backend::retrying::Counts;
use crate::backend::{Answer, Backend, ObjectStat, PutNew, RetryPolicy, Traffic};
#[cfg(feature = "s3")]
use crate::backend::{Thaw, ThawOrder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

pub use address::CloudAddress;
use answer::noting;
pub use objects::{CloudObjects, NamedVersion};
use patient::Patient;
use transport::{Counters, Transport};

/// Longer objects go up in parts.
const PART_BYTES: usize = 16 << 20;

/// A repository's objects below a prefix of a bucket, container or folder.
pub struct CloudBackend {
    operator: Operator,
    /// For packs of content, where those go into a class of their own.
    data_operator: Option<Operator>,
    #[cfg(feature = "s3")]
    thawer: Option<thaw::Thawer>,
    location: String,
    counters: Arc<Counters>,
    parts: Arc<Counts>,
    #[cfg(feature = "s3")]
    uploads: Option<uploads::Uploads>,
}

impl CloudBackend {
    /// The store at this address. Asks nothing of it yet.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the address or its options make no sense, or the program was built without the service.
    pub fn open(address: &CloudAddress) -> Result<Self> {
        Self::with_policy(address, &RetryPolicy::default())
    }

    /// The same; parts of uploads are repeated with the waits of `policy`.
    ///
    /// # Errors
    /// As [`CloudBackend::open`].
    pub fn with_policy(address: &CloudAddress, policy: &RetryPolicy) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let parts = Arc::new(Counts::default());
        let transport = Transport::new(address, Arc::clone(&counters))?;
        let transporter = HttpTransporter::new(Patient::new(transport, policy, Arc::clone(&parts)));
        let open = |options: &mut dyn Iterator<Item = (String, String)>| {
            let operator = Operator::via_iter(address.scheme(), options).map_err(|e| address.refused(&e))?;
            let context = operator.base_context().clone().with_http_transport(transporter.clone());
            Ok::<_, Error>(operator.with_context(context))
        };
        Ok(Self {
            operator: open(&mut address.options())?,
            data_operator: address.data_options().map(|mut options| open(&mut options)).transpose()?,
            #[cfg(feature = "s3")]
            thawer: thaw::Thawer::new(address, transporter.clone()),
            location: address.to_string(),
            counters,
            parts,
            #[cfg(feature = "s3")]
            uploads: uploads::Uploads::new(address, transporter),
        })
    }

    async fn write(&self, path: &ObjectPath, body: &Sealed, if_not_exists: bool) -> opendal::Result<()> {
        let options = WriteOptions { if_not_exists, ..WriteOptions::default() };
        let bytes = body.bytes().clone();
        self.operator_for(body).write_options(path.as_str(), Buffer::from(bytes), options).await.map(drop)
    }

    /// Packs of content may go into a class of their own.
    fn operator_for(&self, body: &Sealed) -> &Operator {
        self.data_operator.as_ref().filter(|_| body.is_content()).unwrap_or(&self.operator)
    }

    /// An object of many bytes goes up in parts and appears when all are there.
    async fn write_in_parts(&self, path: &ObjectPath, body: &Sealed) -> Result<()> {
        let options = WriteOptions { chunk: Some(PART_BYTES), concurrent: 2, ..WriteOptions::default() };
        let begun = self.operator_for(body).writer_options(path.as_str(), options).await;
        let mut writer = begun.map_err(|e| error::of(path, e))?;
        let written = match writer.write(Buffer::from(body.bytes().clone())).await {
            Ok(()) => writer.close().await.map(drop),
            Err(error) => Err(error),
        };
        let Err(error) = written else { return Ok(()) };
        let error = match error.kind() {
            // The upload is not there: because it was completed and the answer lost, or because the store forgot it.
            opendal::ErrorKind::NotFound => {
                Error::new(ErrorKind::Transient, path, "the upload vanished").because(error)
            }
            _ => error::of(path, error),
        };
        // When it was completed the object is there and this is not needed; parts that stay behind when it fails are removed
        // by `clean_uploads`.
        let _ = writer.abort().await;
        let is_unclear = matches!(error.kind(), ErrorKind::Transient | ErrorKind::Throttled);
        match self.operator.stat(path.as_str()).await {
            Ok(there) if is_unclear && there.content_length() == body.len() as u64 => Ok(()),
            _ => Err(error),
        }
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
        Box::pin(noting(async move {
            let in_parts = body.len() > PART_BYTES && self.operator.info().capability().write_can_multi;
            match !in_parts {
                true => self.write(path, &body, false).await.map_err(|e| error::of(path, e)),
                false => self.write_in_parts(path, &body).await,
            }
        }))
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(noting(async move {
            match self.write(path, &body, true).await {
                Ok(()) => Ok(PutNew::Created),
                Err(refused) if error::is_refusal(&refused) => Ok(PutNew::Exists),
                Err(unsupported) if unsupported.kind() == opendal::ErrorKind::Unsupported => Err(Error::new(
                    ErrorKind::Foreign,
                    path,
                    "this store cannot create an object only if it is not there",
                )),
                Err(other) => Err(error::of(path, other)),
            }
        }))
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        // Never in parts: an object of the same length may be there already.
        Box::pin(noting(async move { self.write(path, &body, false).await.map_err(|e| error::of(path, e)) }))
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(noting(async move {
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
        }))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(noting(async move { list::objects(&self.operator, prefix).await }))
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(noting(async move {
            match self.operator.stat(path.as_str()).await {
                Ok(metadata) if metadata.is_file() => Ok(Some(list::stat(&metadata))),
                Ok(_) => Ok(None),
                Err(missing) if missing.kind() == opendal::ErrorKind::NotFound => Ok(None),
                Err(other) => Err(error::of(path, other)),
            }
        }))
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(noting(async move {
            match self.operator.delete(path.as_str()).await {
                Err(missing) if missing.kind() == opendal::ErrorKind::NotFound => Ok(()),
                result => result.map_err(|e| error::of(path, e)),
            }
        }))
    }

    #[cfg(feature = "s3")]
    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        Box::pin(async move {
            match &self.thawer {
                Some(thawer) => thawer.thaw(&self.operator, path, order).await,
                None => Ok(Thaw::Readable),
            }
        })
    }

    fn traffic(&self) -> Traffic {
        Traffic { http: self.counters.read(), retries: self.parts.read() }
    }

    #[cfg(feature = "s3")]
    fn clean_uploads(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(noting(async move {
            match &self.uploads {
                Some(uploads) => uploads.clean(older_than).await,
                None => Ok(0),
            }
        }))
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(noting(async move { list::unknown(&self.operator).await }))
    }
}
