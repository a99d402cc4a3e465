//! Datoms under another repository's ids: the keys of those whose value is kept as a blob change, and with them their order.

use std::iter::Peekable;
use std::vec;

use super::content::Contents;
use crate::error::{Error, Result};
use crate::ops::backup::store_value;
use crate::ops::values;
use crate::record::RecordKind;
use crate::record::datom::{self, Datom, Datoms, Value, ValueReference};
use crate::repository::Writer;
use crate::sorter::{Sorted, Sorter, SorterOptions};
use crate::tree::Change;

/// More changes of one transaction, entity and attribute than this are sorted outside memory.
const GROUP_MAX: usize = 4096;

/// Gives every change the key it has in the other repository, in the order of those keys.
///
/// Only keys of one transaction, entity and attribute can change places: all before that is the same in both.
pub(super) struct Rekeyed<I: Iterator> {
    changes: Peekable<I>,
    group: Group,
    /// Values of the same length are kept as blobs in both, so that other keys stay as they are.
    same_limit: bool,
    sorter: SorterOptions,
}

enum Group {
    Few(vec::IntoIter<(Vec<u8>, Change)>),
    Many(Sorted),
}

impl<I: Iterator<Item = Result<(Vec<u8>, Change)>>> Rekeyed<I> {
    pub(super) fn new(changes: I, same_limit: bool, sorter: SorterOptions) -> Self {
        Self { changes: changes.peekable(), group: Group::Few(Vec::new().into_iter()), same_limit, sorter }
    }

    pub(super) fn next(&mut self, contents: &mut Contents, writer: &mut Writer) -> Result<Option<(Vec<u8>, Change)>> {
        if let Some(change) = self.group.next()? {
            return Ok(Some(change));
        }
        let Some((key, change)) = self.changes.next().transpose()? else { return Ok(None) };
        let renamed = rekey(contents, writer, &key, self.same_limit)?;
        if renamed.is_none() && self.same_limit {
            return Ok(Some((key, change)));
        }
        let prefix = key[..prefix_len(&key)?].to_vec();
        let mut few = vec![(renamed.unwrap_or(key), change)];
        let mut many: Option<Sorter> = None;
        while let Some(Ok((key, _))) = self.changes.peek()
            && key.starts_with(&prefix)
        {
            let Some((key, change)) = self.changes.next().transpose()? else { break };
            let renamed = rekey(contents, writer, &key, self.same_limit)?;
            few.push((renamed.unwrap_or(key), change));
            if few.len() > GROUP_MAX {
                let sorter = many.get_or_insert_with(|| Sorter::new(self.sorter.clone()));
                few.drain(..).try_for_each(|(key, change)| sorter.push(&row(key, &change)))?;
            }
        }
        self.group = match many {
            None => {
                few.sort_by(|a, b| a.0.cmp(&b.0));
                Group::Few(few.into_iter())
            }
            Some(mut sorter) => {
                few.drain(..).try_for_each(|(key, change)| sorter.push(&row(key, &change)))?;
                Group::Many(sorter.finish()?)
            }
        };
        self.group.next()
    }
}

impl Group {
    fn next(&mut self) -> Result<Option<(Vec<u8>, Change)>> {
        match self {
            Self::Few(changes) => Ok(changes.next()),
            Self::Many(rows) => {
                let Some((put, key)) = rows.next()?.and_then(<[u8]>::split_last) else { return Ok(None) };
                let change = if *put == 1 { Change::Put(Vec::new()) } else { Change::Remove };
                Ok(Some((key.to_vec(), change)))
            }
        }
    }
}

/// A key delimits itself, so that rows sort as their keys do.
fn row(mut key: Vec<u8>, change: &Change) -> Vec<u8> {
    key.push(u8::from(*change != Change::Remove));
    key
}

/// Length of t, e and a at the start of a key.
fn prefix_len(key: &[u8]) -> Result<usize> {
    let parts = datom::split_key(key).map_err(|why| Error::damaged("datom key", why))?;
    Ok(16 + parts.a.len())
}

/// The key in the other repository, where it is another one; the value is stored there.
fn rekey(contents: &mut Contents, writer: &mut Writer, key: &[u8], same_limit: bool) -> Result<Option<Vec<u8>>> {
    let damaged = |why| Error::damaged("datom key", why);
    let mut references = Vec::new();
    Datoms.references(key, &[], &mut references).map_err(damaged)?;
    if references.is_empty() && same_limit {
        return Ok(None);
    }
    let mut renamed = Vec::with_capacity(key.len());
    let short = datom::decode_key(key).map_err(damaged)?;
    let largest = writer.chunker().sizes().max_bytes as u64;
    if let Value::Stored(reference) = &short.v
        && let (true, false, true) = (same_limit, reference.listed, reference.length <= largest)
    {
        let id = contents.chunk(writer, reference.id, None)?;
        let v = Value::Stored(ValueReference { id, ..reference.clone() });
        datom::encode_key(&Datom { v, ..short }, &mut renamed).map_err(|e| Error::damaged("datom key", e))?;
        return Ok(Some(renamed));
    }
    let limit = writer.repository().config().inline_value_max_bytes as usize;
    let whole = values::datom(contents.source(), key)?;
    let whole = match datom::long_value(&whole.v, limit).map_err(|e| Error::damaged("datom", e))? {
        Some(long) => Datom { v: Value::Stored(store_value(writer, &long)?), ..whole },
        None => whole,
    };
    datom::encode_key(&whole, &mut renamed).map_err(|e| Error::damaged("datom key", e))?;
    Ok(Some(renamed))
}
