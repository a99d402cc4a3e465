//! What goes over the wire.

use super::Retries;

/// HTTP requests by what stores charge for, repeated ones included, and the bytes of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRequests {
    /// PUT, POST and PATCH.
    pub writes: u64,
    /// GET of objects.
    pub reads: u64,
    /// GET of listings.
    pub lists: u64,
    /// HEAD.
    pub heads: u64,
    /// DELETE.
    pub deletes: u64,
    /// Bytes of bodies sent.
    pub sent_bytes: u64,
    /// Bytes of bodies received.
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
    /// Requests of every class.
    pub fn total(&self) -> u64 {
        self.writes + self.reads + self.lists + self.heads + self.deletes
    }
}
