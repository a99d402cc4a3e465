//! The log in the orders that targets want.

use super::key::{split, view_key};
use crate::error::Result;
use crate::record::datom::FactEvent;
use crate::sorter::{Sorted, Sorter, SorterOptions};

/// Sorts log keys into view keys: (e, a, v, t, op).
pub struct ViewOrder {
    sorter: Sorter,
    view: Vec<u8>,
}

impl ViewOrder {
    /// Without keys yet.
    pub fn new(options: SorterOptions) -> Self {
        Self { sorter: Sorter::new(options), view: Vec::new() }
    }

    /// Takes a log key; any order will do.
    pub fn push(&mut self, log_key: &[u8]) -> Result<()> {
        view_key(log_key, &mut self.view)?;
        self.sorter.push(&self.view)
    }

    /// The view keys, ascending.
    pub fn finish(self) -> Result<Sorted> {
        self.sorter.finish()
    }
}

/// Reorders ascending log keys as Datahike's dumps have them: t, then the transaction's own `:db/txInstant`, then e, a,
/// retractions before assertions, v.
///
/// Holds one transaction at a time; a large one is sorted on disk. Attributes and values are ordered as in keys.
pub struct DumpOrder<'a> {
    options: SorterOptions,
    is_instant: &'a dyn Fn(&[u8]) -> bool,
    attribute_len: &'a dyn Fn(&[u8]) -> usize,
    t: Option<[u8; 8]>,
    transaction: Sorter,
    key: Vec<u8>,
}

/// Bytes of an entity id.
const ENTITY_LEN: usize = 8;
/// Where the attribute begins in a log key, behind t and e.
const ATTRIBUTE_AT: usize = 8 + ENTITY_LEN;

impl<'a> DumpOrder<'a> {
    /// `is_instant` tells the log keys of `:db/txInstant` datoms that come first in their transaction, `attribute_len` the
    /// length of the attribute at the start of some bytes.
    pub fn new(
        options: SorterOptions,
        is_instant: &'a dyn Fn(&[u8]) -> bool,
        attribute_len: &'a dyn Fn(&[u8]) -> usize,
    ) -> Self {
        let transaction = Sorter::new(options.clone());
        Self { options, is_instant, attribute_len, t: None, transaction, key: Vec::new() }
    }

    /// Takes the next log key, and hands the transaction before to `emit` when this key begins another.
    pub fn push(&mut self, log_key: &[u8], emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let FactEvent { t, fact, op } = split(log_key)?;
        if self.t != Some(t) {
            self.flush(emit)?;
            self.t = Some(t);
        }
        let attribute_len = (self.attribute_len)(&log_key[ATTRIBUTE_AT..]);
        let (before_value, value) = fact.split_at(fact.len().min(ENTITY_LEN.saturating_add(attribute_len)));
        self.key.clear();
        self.key.push(u8::from(!(self.is_instant)(log_key)));
        self.key.extend_from_slice(before_value);
        self.key.push(op);
        self.key.extend_from_slice(value);
        self.transaction.push(&self.key)
    }

    /// Hands over the last transaction.
    pub fn finish(mut self, emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.flush(emit)
    }

    fn flush(&mut self, emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Some(t) = self.t else { return Ok(()) };
        let transaction = std::mem::replace(&mut self.transaction, Sorter::new(self.options.clone()));
        let mut rows = transaction.finish()?;
        while let Some(row) = rows.next()? {
            // Behind the flag and e stands the attribute, as it was when the row was made.
            let op_at = 9usize.saturating_add((self.attribute_len)(&row[9..])).min(row.len() - 1);
            self.key.clear();
            self.key.extend_from_slice(&t);
            self.key.extend_from_slice(&row[1..op_at]);
            self.key.extend_from_slice(&row[op_at + 1..]);
            self.key.push(row[op_at]);
            emit(&self.key)?;
        }
        Ok(())
    }
}
