//! A CBOR sequence of datoms, read through a window that grows to the largest item.

use std::io::Read;

use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::record::datom::Datom;
use crate::record::datom::cbor::{self, Dialect};

use super::{OnError, Reading};

const WINDOW_BYTES: usize = 1 << 20;
/// No item may be longer: a length field may claim anything.
const ITEM_LIMIT: usize = 256 << 20;
/// How many left-out datoms are listed.
const PROBLEMS_LISTED: usize = 1000;

/// What a sequence held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Items, left-out ones too.
    pub items: u64,
    /// Bytes of all items.
    pub bytes: u64,
}

/// Takes a datom and its bytes, and may add to what is told about the reading.
pub type Sink<'s> = dyn FnMut(Datom<'_>, &[u8], &mut Reading) -> Result<()> + 's;

/// Hands each datom and its bytes to `sink`. With [`OnError::Collect`], items that are no datom but whose end can be
/// found are listed in `reading` and left out.
pub fn read(
    source: &mut dyn Read,
    name: &str,
    dialect: Dialect,
    on_error: OnError,
    reading: &mut Reading,
    sink: &mut Sink<'_>,
) -> Result<Totals> {
    let mut window = vec![0; WINDOW_BYTES];
    let (mut start, mut end, mut at_end) = (0, 0, false);
    let mut totals = Totals::default();
    loop {
        while start < end {
            let rest = &window[start..end];
            let taken = match cbor::decode_datom(dialect, rest) {
                Ok((datom, len)) => {
                    sink(datom, &rest[..len], reading)?;
                    len
                }
                Err(DecodeError::Truncated) if !at_end => break,
                Err(why) => {
                    let place = format!("item {} at byte {}", totals.items + 1, totals.bytes);
                    let skipped = if on_error == OnError::Collect { cbor::skip(rest).ok() } else { None };
                    let Some(len) = skipped else { return Err(refuse(name, &place, why, totals.items)) };
                    reading.problems_count += 1;
                    if reading.problems.len() < PROBLEMS_LISTED {
                        reading.problems.push((place, why.to_string()));
                    }
                    len
                }
            };
            start += taken;
            totals.items += 1;
            totals.bytes += taken as u64;
        }
        if at_end {
            return Ok(totals);
        }
        window.copy_within(start..end, 0);
        (start, end) = (0, end - start);
        if end == window.len() {
            if window.len() >= ITEM_LIMIT {
                let place = format!("item {} at byte {}", totals.items + 1, totals.bytes);
                return Err(refuse(name, &place, DecodeError::TooLarge("item"), totals.items));
            }
            window.resize(window.len() * 2, 0);
        }
        while end < window.len() {
            match source.read(&mut window[end..]) {
                Ok(0) => {
                    at_end = true;
                    break;
                }
                Ok(len) => end += len,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(name, error)),
            }
        }
    }
}

/// What decompressors say of bad bytes is about the bytes, not about the system.
fn unreadable(name: &str, error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::InvalidInput | Io::InvalidData | Io::UnexpectedEof => {
            Error::new(ErrorKind::Damaged, name, &error).because(error)
        }
        _ => Error::io(name, error),
    }
}

fn refuse(name: &str, place: &str, why: DecodeError, items_before: u64) -> Error {
    let message = match why {
        DecodeError::Truncated => format!("cut off inside {place}"),
        _ if items_before == 0 => format!("not a CBOR sequence of datoms: {place}: {why}"),
        _ => format!("{place}: {why}"),
    };
    let kind = if why == DecodeError::Truncated { ErrorKind::Damaged } else { ErrorKind::Data };
    Error::new(kind, name, message).because(why)
}
