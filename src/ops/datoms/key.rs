//! Log keys and view keys: the same parts in another order.

use crate::error::{DecodeError, Error, Result};
use crate::record::datom::{FactEvent, from_view_key, to_view_key};

/// t as it stands in keys: eight bytes that sort as the numbers do.
pub(super) type T = [u8; 8];

/// Turns a log key into `view`, which is cleared first.
///
/// # Errors
/// [`ErrorKind::Damaged`](crate::error::ErrorKind) when the key is too short to be one.
pub fn view_key(log_key: &[u8], view: &mut Vec<u8>) -> Result<()> {
    view.clear();
    to_view_key(log_key, view).map_err(damaged)
}

/// Turns a view key into `log`, which is cleared first.
///
/// # Errors
/// [`ErrorKind::Damaged`](crate::error::ErrorKind) when the key is too short to be one.
pub fn log_key(view_key: &[u8], log: &mut Vec<u8>) -> Result<()> {
    log.clear();
    from_view_key(view_key, log).map_err(damaged)
}

/// t, fact and op of a log key.
///
/// # Errors
/// [`ErrorKind::Damaged`](crate::error::ErrorKind) when the key is too short to be one.
pub fn split(log_key: &[u8]) -> Result<FactEvent<'_>> {
    FactEvent::of_key(log_key).map_err(damaged)
}

/// The same of a view key.
pub(super) fn split_view(view: &[u8]) -> Result<FactEvent<'_>> {
    FactEvent::of_view_key(view).map_err(damaged)
}

/// Appends t and op to a fact.
pub(super) fn complete(fact: &mut Vec<u8>, t: &T, asserts: bool) {
    fact.extend_from_slice(t);
    fact.push(u8::from(asserts));
}

fn damaged(why: DecodeError) -> Error {
    Error::damaged("datom key", why)
}
