//! konserve's S3 stores: an object for each blob, all in one bucket, their names beginning with the store's id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::{Builder, Runtime};

use super::counters::Counters;
use super::pace::Pace;
use super::remote::{POLL_MS, poll_every};
use super::url::{StoreUrl, Variable};
use super::{Home, Stamp, StoreKey, Traffic};
use crate::backend::{CloudAddress, CloudObjects, RetryPolicy};
use crate::error::{Error, ErrorKind, Result};

/// How often changes are asked for: requests are paid for.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Requests at once.
const CONNECTIONS: usize = 32;
/// Names in a page of a listing, and in a list of what is to be removed.
const PAGE: usize = 1000;
/// A page of a listing is as dear as so many questions about one object, wherever there are prices.
const HEADS_PER_PAGE: usize = 12;
/// Parts of a long listing that are asked for at once, ...
const RANGES: usize = 8;
/// ... each of at least so many pages.
const PAGES_PER_RANGE: usize = 4;
/// What the marker's name ends with, without which konserve says that there is no store.
const MARKER: &str = "_.konserve-metadata";
/// What is in the marker.
const MARKER_BODY: &[u8] = b"konserve";

/// A store in a bucket.
pub(super) struct ObjectHome {
    objects: CloudObjects,
    /// Names of blobs are relative to this.
    id: String,
    name: String,
    pace: Pace,
    counters: Counters,
    /// How many objects the store has, as far as a listing told; nothing before that.
    listed: AtomicUsize,
    is_marked: AtomicBool,
    /// Dropped in [`Drop`], where it may not wait for what still runs.
    runtime: Option<Runtime>,
}

impl ObjectHome {
    /// The store of an id that has one.
    pub(super) fn open(text: &str, variable: Variable<'_>) -> Result<Self> {
        let home = Self::of(text, variable)?;
        let is_there = home.is_there(&home.marker())? || home.is_there(&home.object(super::head_key()))?;
        if !is_there {
            let message = "no store of konserve has this id: it is the `:id` of the store's configuration";
            return Err(Error::new(ErrorKind::NotFound, home.name(), message));
        }
        Ok(home)
    }

    /// A store of an id that has none.
    pub(super) fn create(text: &str, variable: Variable<'_>) -> Result<Self> {
        let home = Self::of(text, variable)?;
        if home.is_there(&home.marker())? || !home.list()?.is_empty() {
            return Err(Error::new(ErrorKind::AlreadyExists, home.name(), "there is a store with this id already"));
        }
        Ok(home)
    }

    fn of(text: &str, variable: Variable<'_>) -> Result<Self> {
        // Which options there are the address of the bucket knows.
        let url = StoreUrl::parse_any(text)?;
        let bucket = url.host().ok_or_else(|| url.refuse("the bucket is missing: s3://bucket/id"))?;
        let id = url.path.trim_matches('/').to_owned();
        if id.is_empty() {
            return Err(url.refuse("the store's id is missing: s3://bucket/id, the `:id` of its configuration"));
        }
        if url.user(&[], &|_| None).is_some() || url.password(&[], &|_| None).is_some() {
            return Err(
                url.refuse("credentials do not belong into the address: AWS_ACCESS_KEY_ID and the like hold them")
            );
        }
        let options: Vec<_> = url
            .options()
            .filter(|(name, _)| *name != POLL_MS)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let address = CloudAddress::parse(&format!("{}://{bucket}", url.scheme), &options, variable);
        // Behind a secret, what looks like an option may be the rest of it.
        let has_secrets = options.iter().any(|(name, _)| name.contains("secret") || name.contains("token"));
        let address = address.map_err(|e| match has_secrets {
            true => url.refuse("an option has no meaning here; in one `&` is written %26"),
            false => e,
        })?;
        let policy = RetryPolicy {
            retries: 6,
            first_wait: Duration::from_millis(200),
            max_wait: Duration::from_secs(10),
            connections: CONNECTIONS,
            patience: Duration::from_secs(60),
        };
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("datahike").enable_all().build();
        Ok(Self {
            objects: CloudObjects::open(&address, policy)?,
            name: format!("{address}/{id}"),
            id,
            pace: Pace::new(poll_every(&url, POLL_EVERY)?),
            counters: Counters::default(),
            listed: AtomicUsize::new(0),
            is_marked: AtomicBool::new(false),
            runtime: Some(runtime.map_err(|e| Error::io("threads", e))?),
        })
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is there until this is dropped").block_on(work)
    }

    fn object(&self, key: StoreKey) -> String {
        format!("{}_{}", self.id, key.file_name())
    }

    fn marker(&self) -> String {
        format!("{}{MARKER}", self.id)
    }

    fn is_there(&self, name: &str) -> Result<bool> {
        Ok(self.run(self.objects.version(name))?.is_some())
    }

    /// The versions of all blobs.
    async fn versions(&self) -> Result<HashMap<StoreKey, Stamp>> {
        let start = format!("{}_", self.id);
        let listed = self.objects.list(&start).await?;
        self.listed.store(listed.len(), Ordering::Relaxed);
        let blob = |(name, version): (String, Vec<u8>)| {
            Some((StoreKey::from_file_name(name.strip_prefix(&start)?)?, Stamp::of(&version)))
        };
        Ok(listed.into_iter().filter_map(blob).collect())
    }

    /// The versions of these blobs, which are in order, by whatever costs less: pages of a listing or questions one by one.
    async fn versions_of(&self, wanted: &[StoreKey]) -> Result<HashMap<StoreKey, Stamp>> {
        let mut found = HashMap::new();
        let mut rest = wanted;
        let has_pages = self.objects.has_pages() && wanted.len() > HEADS_PER_PAGE;
        if has_pages && self.listed.load(Ordering::Relaxed) == 0 {
            // Names are hashes: one page tells how many there are.
            rest = self.page(wanted, &mut found).await?;
        }
        let pages = self.pages(rest);
        if has_pages && rest.len() >= pages.saturating_mul(HEADS_PER_PAGE) {
            let walk = async |mut range: &[StoreKey]| {
                let mut found = HashMap::new();
                while !range.is_empty() {
                    range = self.page(range, &mut found).await?;
                }
                Ok(found)
            };
            let ranges = (pages / PAGES_PER_RANGE).clamp(1, RANGES);
            let ranges = rest.chunks(rest.len().div_ceil(ranges).max(1));
            self.each(ranges, walk).await?.into_iter().for_each(|part| found.extend(part));
            return Ok(found);
        }
        let version = async |key: &StoreKey| {
            let version = self.objects.version(&self.object(*key)).await?;
            Ok(version.map(|version| (*key, Stamp::of(&version))))
        };
        found.extend(self.each(rest, version).await?.into_iter().flatten());
        Ok(found)
    }

    /// How many pages of a listing it takes to hear of all of these, which are in order.
    fn pages(&self, wanted: &[StoreKey]) -> usize {
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return 0 };
        let names = self.listed.load(Ordering::Relaxed) as f64 * (place(*last) - place(*first));
        names as usize / PAGE + 1
    }

    /// Takes the versions of wanted blobs, which are in order, from one page of a listing that begins at the first of them.
    /// Hands back those that come after the page.
    async fn page<'k>(&self, wanted: &'k [StoreKey], found: &mut HashMap<StoreKey, Stamp>) -> Result<&'k [StoreKey]> {
        let Some(first) = wanted.first() else { return Ok(wanted) };
        let start = format!("{}_", self.id);
        // Without its ending the name comes right before itself.
        let after = format!("{start}{first}");
        let page = self.objects.list_page(&start, &after, PAGE).await?;
        let is_in_order = page.iter().map(|(name, _)| name).is_sorted();
        if !is_in_order || page.first().is_some_and(|(name, _)| *name <= after) {
            // A store that does not list by name: only all of it tells what is absent.
            found.extend(self.versions().await?);
            return Ok(&[]);
        }
        let last = page.last().filter(|_| page.len() >= PAGE).map(|(name, _)| name.clone());
        let heard = match &last {
            Some(last) => wanted.partition_point(|key| self.object(*key) <= *last),
            None => wanted.len(),
        };
        let count = page.len();
        let mut end = 1.0;
        for (name, version) in page {
            let Some(key) = name.strip_prefix(&start).and_then(StoreKey::from_file_name) else { continue };
            if last.is_some() {
                end = place(key);
            }
            if let Some(version) = version.filter(|_| wanted.binary_search(&key).is_ok()) {
                found.insert(key, Stamp::of(&version));
            }
        }
        let share = (end - place(*first)).max(f64::EPSILON);
        self.listed.store((count as f64 / share) as usize, Ordering::Relaxed);
        Ok(&wanted[heard..])
    }

    /// Answers to one question about each of several, in their order.
    async fn each<T, Q, A>(&self, questions: impl IntoIterator<Item = Q>, ask: impl Fn(Q) -> A) -> Result<Vec<T>>
    where
        A: Future<Output = Result<T>>,
    {
        stream::iter(questions).map(ask).buffered(CONNECTIONS).try_collect().await
    }
}

impl Home for ObjectHome {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        Ok(self.get_many(&[key])?.pop().flatten())
    }

    fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>> {
        let get = async |key: &StoreKey| {
            let found = self.objects.get(&self.object(*key)).await?;
            Ok(found.filter(|(_, blob)| !blob.is_empty()).map(|(_, blob)| self.counters.read(blob)))
        };
        self.run(self.each(keys, get))
    }

    fn get_stamped(&self, keys: &[StoreKey]) -> Result<Vec<Option<(Stamp, Bytes)>>> {
        let get = async |key: &StoreKey| {
            let name = self.object(*key);
            let found = self.objects.get(&name).await?.filter(|(_, blob)| !blob.is_empty());
            let (version, blob) = match found {
                None => return Ok(None),
                Some((Some(version), blob)) => (Some(version), blob),
                // A version that is asked for before the blob is not newer than the blob.
                Some((None, _)) => {
                    let version = self.objects.version(&name).await?;
                    (version, self.objects.get(&name).await?.map(|(_, blob)| blob).unwrap_or_default())
                }
            };
            let found = version.filter(|_| !blob.is_empty());
            Ok(found.map(|version| (Stamp::of(&version), self.counters.read(blob))))
        };
        self.run(self.each(keys, get))
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        let mut wanted = keys.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let versions = self.run(self.versions_of(&wanted))?;
        Ok(keys.iter().map(|key| versions.get(key).copied()).collect())
    }

    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()> {
        self.run(async {
            let put = async |(key, blob): (StoreKey, Bytes)| {
                self.objects.put(&self.object(key), blob.clone()).await?;
                self.counters.written(&blob);
                Ok(())
            };
            // Of several under one name the last one stays.
            let last: HashMap<_, _> = blobs.into_iter().collect();
            self.each::<(), _, _>(last, put).await?;
            if !self.is_marked.load(Ordering::Relaxed) {
                let marker = self.marker();
                if self.objects.version(&marker).await?.is_none() {
                    self.objects.put(&marker, Bytes::from_static(MARKER_BODY)).await?;
                }
                self.is_marked.store(true, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    fn remove_many(&self, keys: &[StoreKey]) -> Result<()> {
        let names: Vec<_> = keys.iter().map(|key| self.object(*key)).collect();
        let remove = |names| self.objects.delete_many(names);
        self.run(self.each::<(), _, _>(names.chunks(PAGE), remove)).map(drop)
    }

    fn list(&self) -> Result<Vec<StoreKey>> {
        Ok(self.run(self.versions())?.into_keys().collect())
    }

    fn wait_for_change(&self, key: StoreKey, seen: Option<Stamp>, timeout: Duration) -> Result<bool> {
        self.pace.wait(self, key, seen, timeout)
    }

    fn poll_every(&self) -> Duration {
        self.pace.every()
    }

    fn traffic(&self) -> Traffic {
        Traffic { requests: self.objects.requests().total(), ..self.counters.traffic() }
    }
}

/// Where among all names one is, from 0 to 1: names are hashes whose first two bits are zero, everywhere equally dense.
fn place(StoreKey(key): StoreKey) -> f64 {
    let [a, b, c, d, ..] = key;
    (f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX >> 2)).min(1.0)
}

impl Drop for ObjectHome {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
