//! Where objects are kept.
//!
//! A [`Backend`] offers seven operations. After any of them returns `Ok` the effect is durable: a crash, also of the whole
//! machine, does not undo it.

mod budget;
#[cfg(feature = "cloud")]
mod cloud;
mod counted;
mod foreign;
mod full;
mod limited;
mod local;
mod mirrored;
mod prices;
mod probe;
mod retrying;
mod simulated;
mod thaw;
mod traffic;

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Result;
use crate::format::{ObjectPath, Sealed};

pub use budget::{Budget, Meter, Purse};
#[cfg(feature = "cloud")]
pub use cloud::{CloudAddress, CloudBackend, CloudObjects, NamedVersion};
pub use counted::{Counted, Requests};
pub use foreign::detect_foreign;
pub use full::WaitsWhenFull;
pub use limited::{Limited, Limits};
pub use local::LocalBackend;
pub use mirrored::{Mirror, Mirrored, Unreachable};
pub use prices::{Charge, Money, PriceTable, Prices};
pub use probe::{Finding, Fitness, Guarantee, Probe, ProbeOptions, probe};
pub use retrying::{Retries, RetryAfter, RetryPolicy, Retrying};
pub use simulated::{Damage, SimulatedBackend, StoppedWrite, StoredObjects};
pub use thaw::{Thaw, ThawOrder, ThawTier};
pub use traffic::{HttpRequests, Traffic};

/// The future of a backend operation.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What an object store knows about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectStat {
    /// Its length.
    pub size_bytes: u64,
    /// When it was last written, by the store's clock: milliseconds since 1970.
    pub modified_ms: i64,
}

/// Whether [`Backend::put_new`] created the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutNew {
    /// It did not exist and now holds the given bytes.
    Created,
    /// Something was there already; nothing was changed.
    Exists,
}

/// A store of objects under one prefix. Errors name the object by its path.
pub trait Backend: Send + Sync {
    /// Where this is, as shown to people; no credentials.
    fn location(&self) -> String;

    /// Whether reading costs about what reading a disk of this machine does.
    fn is_local(&self) -> bool {
        false
    }

    /// Stores an object under a name that nobody else uses. Readers see all of it or nothing.
    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()>;

    /// Stores a small control object unless something is there: of several racing callers exactly one gets `Created`.
    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew>;

    /// Overwrites atomically: readers see the old object or the new one.
    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()>;

    /// The object's bytes, or those of a range of it (an error when the object is shorter).
    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes>;

    /// Every object below `prefix` (a folder such as `packs/` or `sessions/`, or empty for all), in path order.
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>>;

    /// What is known of the object; `None` when it does not exist.
    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>>;

    /// Removes the object; removing what is not there is no error.
    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()>;

    /// What can be read of an object; with an order, after asking for it where it cannot be read yet.
    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        let _ = (path, order);
        Box::pin(async { Ok(Thaw::Readable) })
    }

    /// What went over the wire so far; nothing where there is no wire.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// What was last read of this object did not hold what it should: the next read must not be answered from a copy.
    fn doubt(&self, _path: &ObjectPath) {}

    /// Removes what is left of uploads that began longer ago than this and never ended; returns how many there were. They
    /// are no objects, but stores charge for them.
    fn clean_uploads(&self, _older_than: Duration) -> Answer<'_, u64> {
        Box::pin(async { Ok(0) })
    }

    /// What lies among the objects but cannot be one by its name, as shown to people.
    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// The mirrors, where there may be some.
    fn mirrored(&self) -> Option<&Mirrored> {
        None
    }
}

impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn location(&self) -> String {
        (**self).location()
    }

    fn is_local(&self) -> bool {
        (**self).is_local()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        (**self).put(path, body)
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        (**self).put_new(path, body)
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        (**self).replace(path, body)
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        (**self).get(path, range)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        (**self).list(prefix)
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        (**self).stat(path)
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        (**self).delete(path)
    }

    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        (**self).thaw(path, order)
    }

    fn traffic(&self) -> Traffic {
        (**self).traffic()
    }

    fn doubt(&self, path: &ObjectPath) {
        (**self).doubt(path);
    }

    fn clean_uploads(&self, older_than: Duration) -> Answer<'_, u64> {
        (**self).clean_uploads(older_than)
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        (**self).list_unknown()
    }

    fn mirrored(&self) -> Option<&Mirrored> {
        (**self).mirrored()
    }
}
