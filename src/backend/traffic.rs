//! What goes over the wire.

use super::Retries;

/// HTTP requests by what stores charge for, repeated and failed ones included, and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRequests {
    /// What creates or overwrites, every part of an upload for itself: PUT, most POST, PATCH.
    pub writes: u64,
    /// GET of objects.
    pub reads: u64,
    /// GET of listings, each page for itself.
    pub lists: u64,
    /// HEAD.
    pub heads: u64,
    /// DELETE, also many objects in one request.
    pub deletes: u64,
    /// What goes to others than the store, for credentials: costs nothing.
    pub others: u64,
    /// Bytes of bodies sent to the store, whole ones also where the connection broke in between.
    pub sent_bytes: u64,
    /// Bytes of bodies received from the store, as far as they came.
    pub received_bytes: u64,
}

/// What went over the wire, and what went wrong on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests as they left this machine.
    pub http: HttpRequests,
    /// What was met on the way.
    pub retries: Retries,
}

impl Traffic {
    /// Adds what went to another place.
    pub fn add(&mut self, other: &Self) {
        let (http, more) = (&mut self.http, &other.http);
        http.writes += more.writes;
        http.reads += more.reads;
        http.lists += more.lists;
        http.heads += more.heads;
        http.deletes += more.deletes;
        http.sent_bytes += more.sent_bytes;
        http.received_bytes += more.received_bytes;
        let (retries, more) = (&mut self.retries, &other.retries);
        retries.transient += more.transient;
        retries.throttled += more.throttled;
        retries.timeouts += more.timeouts;
        retries.repeated += more.repeated;
        retries.given_up += more.given_up;
    }
}

impl HttpRequests {
    /// Requests of every class that the store may charge for.
    pub fn total(&self) -> u64 {
        self.writes + self.reads + self.lists + self.heads + self.deletes
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        self.zip(more, u64::saturating_add)
    }

    /// What has come since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.zip(before, u64::saturating_sub)
    }

    fn zip(&self, other: &Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            writes: join(self.writes, other.writes),
            reads: join(self.reads, other.reads),
            lists: join(self.lists, other.lists),
            heads: join(self.heads, other.heads),
            deletes: join(self.deletes, other.deletes),
            others: join(self.others, other.others),
            sent_bytes: join(self.sent_bytes, other.sent_bytes),
            received_bytes: join(self.received_bytes, other.received_bytes),
        }
    }
}
