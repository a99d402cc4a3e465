//! Objects of other programs, under names of theirs, as they are.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use opendal::options::ListOptions;
use opendal::{Buffer, Entry, HttpTransporter, Metadata, Operator};

use super::answer::noting;
use super::error;
use super::transport::{Counters, Transport};
use super::{CloudAddress, Patient};
use crate::backend::retrying::Counts;
use crate::backend::{Answer, HttpRequests, RetryPolicy, Retrying};
use crate::error::{ErrorKind, Result};

/// What an object may hold, for all that is known before it is there.
const LARGEST: u64 = 64 << 20;
/// What a name and what is around it take in a list of objects to remove.
const DELETE_BYTES: usize = 128;
/// Requests at once where objects are removed one by one.
const DELETES: usize = 16;

/// A bucket or container whose objects other programs read and write. What fails for a passing reason is repeated.
pub struct CloudObjects {
    operator: Operator,
    retrying: Retrying<()>,
    location: String,
    counters: Arc<Counters>,
}

/// An object's name and what identifies its version.
pub type NamedVersion = (String, Vec<u8>);

impl CloudObjects {
    /// The objects at this address, whose names are relative to it. Asks nothing of the store yet.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) when the address or its options make no sense.
    pub fn open(address: &CloudAddress, policy: RetryPolicy) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let transport = Transport::new(address, Arc::clone(&counters))?;
        let transporter = HttpTransporter::new(Patient::new(transport, &policy, Arc::new(Counts::default())));
        let operator = Operator::via_iter(address.scheme(), address.options()).map_err(|e| address.refused(&e))?;
        let context = operator.base_context().clone().with_http_transport(transporter);
        let operator = operator.with_context(context);
        Ok(Self { operator, retrying: Retrying::new((), policy), location: address.to_string(), counters })
    }

    /// The object's bytes, where it is there, and what identifies their version, where the store says so with them.
    pub async fn get(&self, name: &str) -> Result<Option<(Option<Vec<u8>>, Bytes)>> {
        let request = async || {
            let reader = self.operator.reader(name).await?;
            let bytes = reader.read(..).await?.to_bytes();
            Ok((reader.metadata().map(version), bytes))
        };
        self.repeat(name, Some(LARGEST), || self.asked(name, request(), present)).await
    }

    /// What identifies the version of an object that is there and not empty.
    pub async fn version(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let metadata = self.repeat(name, Some(0), || self.asked(name, self.operator.stat(name), present)).await?;
        Ok(metadata.filter(is_some_object).map(|metadata| version(&metadata)))
    }

    /// Creates or replaces the object.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let len = bytes.len() as u64;
        let request = || self.operator.write(name, Buffer::from(bytes.clone()));
        self.repeat(name, Some(len), || self.asked(name, request(), |written| written.map(drop))).await
    }

    /// Removes objects by as few requests as the store takes. One that is absent is no error.
    pub async fn delete_many(&self, names: &[String]) -> Result<()> {
        let (Some(first), Some(len)) = (names.first(), names.len().checked_mul(DELETE_BYTES)) else { return Ok(()) };
        let request = || self.operator.delete_iter(names.iter().cloned());
        let together = self.repeat(first, Some(len as u64), || self.asked(first, request(), |deleted| deleted)).await;
        match together {
            // Some stores take no list, or say of each absent object that it is absent.
            Err(refused) if matches!(refused.kind(), ErrorKind::Failed | ErrorKind::NotFound | ErrorKind::Foreign) => {
                tracing::debug!(%refused, "objects are removed one by one");
                let one = async |name: &String| {
                    self.repeat(name, Some(0), || self.asked(name, self.operator.delete(name), present)).await.map(drop)
                };
                stream::iter(names).map(one).buffer_unordered(DELETES).try_collect().await
            }
            result => result,
        }
    }

    /// Every object that is not empty and whose name starts so.
    pub async fn list(&self, start: &str) -> Result<Vec<NamedVersion>> {
        let request = async || {
            let options = ListOptions { recursive: true, ..ListOptions::default() };
            let lister = self.operator.lister_options(start, options).await?;
            lister.try_collect::<Vec<_>>().await
        };
        let entries = self.repeat(start, None, || self.asked(start, request(), |listed| listed)).await?;
        let entries = entries.into_iter().map(Entry::into_parts);
        let objects = entries.filter(|(_, metadata)| is_some_object(metadata));
        Ok(objects.map(|(name, metadata)| (name, version(&metadata))).collect())
    }

    /// Whether [`CloudObjects::list_page`] can be asked for.
    pub fn has_pages(&self) -> bool {
        self.operator.info().capability().list_with_start_after
    }

    /// At most so many objects whose name starts so and comes after this one, as the store orders them: mostly by one
    /// request. Fewer are all there are. Those that are empty have no version.
    pub async fn list_page(&self, start: &str, after: &str, most: usize) -> Result<Vec<(String, Option<Vec<u8>>)>> {
        let request = async || {
            let after = Some(after.to_owned());
            let options =
                ListOptions { recursive: true, start_after: after, limit: Some(most), ..ListOptions::default() };
            let lister = self.operator.lister_options(start, options).await?;
            lister.take(most).try_collect::<Vec<_>>().await
        };
        let entries = self.repeat(start, None, || self.asked(start, request(), |listed| listed)).await?;
        let object = |(name, metadata): (String, Metadata)| {
            let version = is_some_object(&metadata).then(|| version(&metadata));
            (name, version)
        };
        Ok(entries.into_iter().map(Entry::into_parts).map(object).collect())
    }

    /// What left this machine so far.
    pub fn requests(&self) -> HttpRequests {
        self.counters.read()
    }

    async fn repeat<'a, T>(
        &'a self,
        name: &str,
        body_len: Option<u64>,
        request: impl Fn() -> Answer<'a, T>,
    ) -> Result<T> {
        self.retrying.repeat(&self.object(name), body_len, request).await
    }

    /// A request, with the error that its failure is here.
    fn asked<'a, T: 'a, U: 'a>(
        &'a self,
        name: &'a str,
        request: impl Future<Output = opendal::Result<T>> + Send + 'a,
        answer: fn(opendal::Result<T>) -> opendal::Result<U>,
    ) -> Answer<'a, U> {
        Box::pin(noting(async move { answer(request.await).map_err(|e| error::of(self.object(name), e)) }))
    }

    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.location)
    }
}

impl fmt::Display for CloudObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

/// Nothing for what is not there.
fn present<T>(found: opendal::Result<T>) -> opendal::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(missing) if missing.kind() == opendal::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(other),
    }
}

fn is_some_object(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.content_length() > 0
}

/// The version that the store gives, the object's hash, or when it was written: whatever there is.
fn version(metadata: &Metadata) -> Vec<u8> {
    match metadata.etag() {
        Some(etag) => etag.trim_matches('"').as_bytes().to_vec(),
        None => {
            let written = metadata.last_modified().map_or(0, |time| time.into_inner().as_nanosecond());
            format!("{written} {}", metadata.content_length()).into_bytes()
        }
    }
}
