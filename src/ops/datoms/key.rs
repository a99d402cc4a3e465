//! Log keys and view keys: the same parts in another order.

use crate::error::{Error, ErrorKind, Result};

/// t as it stands in keys: eight bytes that sort as the numbers do.
pub(super) type T = [u8; 8];

/// Bytes of a view key behind its fact.
const TAIL_BYTES: usize = 9;

/// Turns a log key into `view`, which is cleared first.
///
/// # Errors
/// [`ErrorKind::Damaged`] when the key is too short to be one.
pub fn view_key(log_key: &[u8], view: &mut Vec<u8>) -> Result<()> {
    let (op, rest) = checked(log_key)?.split_last().ok_or_else(short)?;
    let (t, fact) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    view.clear();
    view.extend_from_slice(fact);
    view.extend_from_slice(t);
    view.push(*op);
    Ok(())
}

/// Turns a view key into `log`, which is cleared first.
///
/// # Errors
/// [`ErrorKind::Damaged`] when the key is too short to be one.
pub fn log_key(view_key: &[u8], log: &mut Vec<u8>) -> Result<()> {
    let (op, rest) = checked(view_key)?.split_last().ok_or_else(short)?;
    let (fact, t) = rest.split_last_chunk::<8>().ok_or_else(short)?;
    log.clear();
    log.extend_from_slice(t);
    log.extend_from_slice(fact);
    log.push(*op);
    Ok(())
}

/// The key, if it is long enough for t, e and op.
pub(super) fn checked(key: &[u8]) -> Result<&[u8]> {
    if key.len() >= TAIL_BYTES + 8 { Ok(key) } else { Err(short()) }
}

/// e, a and v of a checked view key.
pub(super) fn fact(view: &[u8]) -> &[u8] {
    &view[..view.len() - TAIL_BYTES]
}

/// t of a checked view key.
pub(super) fn t(view: &[u8]) -> T {
    view[view.len() - TAIL_BYTES..].first_chunk().copied().expect("this cannot fail because the key was checked")
}

/// Whether a checked key asserts.
pub(super) fn asserts(key: &[u8]) -> bool {
    key.last() == Some(&1)
}

/// Appends t and op to a fact.
pub(super) fn complete(fact: &mut Vec<u8>, t: &T, asserts: bool) {
    fact.extend_from_slice(t);
    fact.push(u8::from(asserts));
}

fn short() -> Error {
    Error::new(ErrorKind::Damaged, "datom key", "too short")
}
