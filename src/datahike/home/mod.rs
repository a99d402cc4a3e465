//! Where the blobs of a store are kept: one trait, one file per kind of place.

#![cfg_attr(
    not(all(feature = "s3", feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis")),
    allow(dead_code, unused_imports, reason = "each kind of place uses another part of what they share")
)]

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis"))]
mod connections;
mod counters;
mod file;
#[cfg(feature = "s3")]
mod objects;
#[cfg(any(feature = "s3", feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis"))]
mod pace;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis"))]
mod parts;
#[cfg(feature = "redis")]
mod redis;
mod remote;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis"))]
mod several;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "redis"))]
mod tls;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{MAIN_BRANCH, hasch};
use crate::error::{DecodeError, Result};
use crate::record::datom::Value;

pub use file::FileHome;
use remote::Intent;

/// The name of a blob: hasch's UUID of its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(pub [u8; 16]);

impl StoreKey {
    /// The name of the blob with this key.
    pub fn of(key: &Value<'_>) -> Result<Self, DecodeError> {
        hasch::uuid(key).map(Self)
    }

    /// The name of the blob whose key is a keyword, given without its colon.
    pub fn keyword(name: &str) -> Self {
        Self(hasch::keyword(name))
    }

    /// The name of the blob whose key is a UUID: a node, a commit, a schema.
    pub fn address(uuid: &[u8; 16]) -> Self {
        Self(hasch::of_uuid(uuid))
    }

    /// The key of a blob's file or row.
    pub fn file_name(&self) -> String {
        format!("{self}.ksv")
    }

    /// The name a file or row of that key belongs to; nothing where it is not one of a blob.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let uuid = name.strip_suffix(".ksv")?;
        let dashes = [8, 13, 18, 23];
        if uuid.len() != 36 || dashes.iter().any(|&at| uuid.as_bytes()[at] != b'-') {
            return None;
        }
        let digits: Vec<u8> = uuid.bytes().filter(|byte| *byte != b'-').collect();
        let mut key = [0; 16];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |byte: u8| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'a'..=b'f' => Some(byte - b'a' + 10),
                _ => None,
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        (digits.len() == 32).then_some(Self(key))
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hasch::spell(&self.0))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Changes whenever the blob is written again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(pub [u8; 16]);

impl Stamp {
    /// The stamp of what identifies one version of a blob, whatever the home knows of it.
    pub fn of(version: &[u8]) -> Self {
        let hash = blake3::hash(version);
        Self(*hash.as_bytes().first_chunk().expect("a hash is longer than a stamp"))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::id::hex(&self.0))
    }
}

/// What has been read and written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Blobs read.
    pub blobs_read: u64,
    /// Bytes of these.
    pub bytes_read: u64,
    /// Blobs written.
    pub blobs_written: u64,
    /// Bytes of these.
    pub bytes_written: u64,
    /// Calls to whatever keeps the blobs: system calls that open or list, statements, requests.
    pub requests: u64,
}

/// A place where the blobs of a store are kept.
///
/// Calls block; implementations drive asynchronous clients themselves. Nothing is locked, and reading writes nothing.
pub trait Home: Send + Sync {
    /// The location as the user wrote it, without secrets.
    fn name(&self) -> String;

    /// A whole blob; nothing where it is absent or empty, as konserve creates blobs before it fills them.
    fn get(&self, key: StoreKey) -> Result<Option<Bytes>>;

    /// Several blobs, in the order of their keys.
    fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>> {
        keys.iter().map(|key| self.get(*key)).collect()
    }

    /// Several blobs, each with a stamp that is at least as old as the blob: a blob written between the two has the old
    /// stamp, so that a later look finds it changed.
    fn get_stamped(&self, keys: &[StoreKey]) -> Result<Vec<Option<(Stamp, Bytes)>>> {
        let stamps = self.stamps(keys)?;
        let blobs = self.get_many(keys)?;
        Ok(stamps.into_iter().zip(blobs).map(|(stamp, blob)| Some((stamp?, blob?))).collect())
    }

    /// Stamps of several blobs, cheaper than reading them; nothing where a blob is absent or empty.
    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>>;

    /// Whether a blob is there and has no contents, where the home can tell.
    fn is_empty(&self, _: StoreKey) -> Result<bool> {
        Ok(false)
    }

    /// Writes blobs, durably when it returns. Others may see some of them before that, and in any order.
    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()>;

    /// Removes blobs, durably when it returns, in any order. One that is absent is no error.
    fn remove_many(&self, keys: &[StoreKey]) -> Result<()>;

    /// The names of all blobs that are not empty.
    fn list(&self) -> Result<Vec<StoreKey>>;

    /// How often it is asked whether something has changed, where nothing tells of that by itself.
    ///
    /// | home | told or asked | an idle hour costs |
    /// |---|---|---|
    /// | folder | told by the kernel (inotify); where it cannot, every 50 ms | next to nothing |
    /// | PostgreSQL, MySQL, SQLite, Redis | every 50 ms | at most 72,000 short statements by primary key |
    /// | S3 | every second | 3600 HEAD requests for each blob watched |
    ///
    /// A network file system tells nothing of what other machines do, so a folder is looked at every second in any case.
    /// `?poll-ms=` in the address says otherwise.
    fn poll_every(&self) -> Duration {
        POLL_EVERY
    }

    /// Waits until the stamp of a blob differs from `seen`; whether it was found to when the time is up. Homes that ask do
    /// so as often as [`Home::poll_every`] says, however short the waits are: what one does not notice a later one does.
    fn wait_for_change(&self, key: StoreKey, seen: Option<Stamp>, timeout: Duration) -> Result<bool> {
        poll_for_change(self, key, seen, timeout, POLL_EVERY)
    }

    /// What has been read and written so far.
    fn traffic(&self) -> Traffic;
}

/// How often stamps are looked at where nothing tells of changes and looking is cheap.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Looks at the stamp of a blob again and again.
fn poll_for_change<H: Home + ?Sized>(
    home: &H,
    key: StoreKey,
    seen: Option<Stamp>,
    timeout: Duration,
    every: Duration,
) -> Result<bool> {
    let until = Instant::now() + timeout;
    loop {
        if home.stamps(&[key])?.first() != Some(&seen) {
            return Ok(true);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        thread::sleep(left.min(every));
    }
}

/// Opens the store at a location, which must exist: a directory, `s3://bucket/id`, `postgres://`, `mysql://` or
/// `mariadb://user@host/database`, `sqlite:/file` or `redis://host/number`. What an address does not say comes from the
/// variables that the tools of these places read.
pub fn open(location: &str) -> Result<Arc<dyn Home>> {
    match remote_scheme(location) {
        Some(scheme) => remote::store(scheme, location, Intent::Open, &variable),
        None => Ok(Arc::new(FileHome::open(PathBuf::from(location))?)),
    }
}

/// Makes a store at a location, as [`open`] takes them, where there is none yet.
pub fn create(location: &str) -> Result<Arc<dyn Home>> {
    match remote_scheme(location) {
        Some(scheme) => remote::store(scheme, location, Intent::Create, &variable),
        None => Ok(Arc::new(FileHome::create(PathBuf::from(location))?)),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The scheme of an address as it is written; nothing for a path. What stands before `://` is never part of a path, so that
/// the address of a place that is not known is refused rather than taken for a folder.
fn remote_scheme(location: &str) -> Option<&str> {
    let (scheme, rest) = location.split_once(':')?;
    let is_address = rest.starts_with("//") && !scheme.contains('/');
    (is_address || is_scheme(scheme) || remote::is_known(scheme)).then_some(scheme)
}

/// The scheme of an address, in lower case; nothing for a folder of this machine.
pub fn scheme(location: &str) -> Option<String> {
    remote_scheme(location).map(str::to_ascii_lowercase).filter(|scheme| scheme != "file")
}

/// The folder that a location names, unless it is the address of another place.
pub fn folder(location: &str) -> Option<PathBuf> {
    match remote_scheme(location) {
        None => Some(PathBuf::from(location)),
        Some(scheme) if scheme.eq_ignore_ascii_case("file") => {
            Some(PathBuf::from(location[scheme.len() + 1..].trim_start_matches("//")))
        }
        Some(_) => None,
    }
}

/// A location as it may be shown and stored: without user name, password and options, but for the one that names the store.
pub fn without_secrets(location: &str) -> String {
    match remote_scheme(location) {
        Some(_) => url::shown(location),
        None => location.to_owned(),
    }
}

/// A location as [`without_secrets`] gives it, which means the same in whatever directory the program runs.
pub fn absolute(location: &str) -> String {
    match remote_scheme(location) {
        Some(_) => without_secrets(location),
        None => match std::path::absolute(location) {
            Ok(path) => path.to_string_lossy().into_owned(),
            Err(_) => location.to_owned(),
        },
    }
}

/// Whether what stands before a colon is a scheme rather than part of a path.
fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'+')
}

/// The name of the blob that makes a store a database.
fn head_key() -> StoreKey {
    StoreKey::keyword(MAIN_BRANCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_path_whatever_its_case() {
        for address in [
            "Postgres://me:hunter2@host/db",
            "POSTGRESQL://me:hunter2@host/db",
            "JDBC:postgresql://me:hunter2@host/db",
            "Postgres:me:hunter2@host/db",
            "my_sql://me:hunter2@host/db",
            "Mongo-DB://me:hunter2@host/db",
            "x://me:hunter2@host/db",
            "://me:hunter2@host/db",
        ] {
            assert!(!without_secrets(address).contains("hunter2"), "{address}");
            assert!(!absolute(address).contains("hunter2"), "{address}");
            assert_eq!(folder(address), None);
        }
        for path in ["a/b", "./a://b", "/a/b://c", "A:b", "My-Store:1"] {
            assert_eq!((without_secrets(path).as_str(), folder(path)), (path, Some(PathBuf::from(path))));
        }
        assert_eq!(folder("File:///a/b"), Some(PathBuf::from("/a/b")));
    }

    #[test]
    fn an_unknown_address_is_refused_rather_than_made_a_folder() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        for address in ["Mongo://me:hunter2@host/db", "my_sql://me:hunter2@host/db", "x://me:hunter2@host/db"] {
            let refused = create(address).err().map(|e| (e.kind(), e.to_string()));
            let Some((crate::error::ErrorKind::Usage, told)) = refused else { panic!("{address}: {refused:?}") };
            assert!(!told.contains("hunter2"), "{told}");
        }
        let file = format!("FILE://{}", folder.path().join("store").display());
        assert!(create(&file).is_ok());
        assert!(folder.path().join("store").is_dir());
    }
}
