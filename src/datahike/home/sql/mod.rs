//! konserve's JDBC stores: one table with a row for each blob, its three parts in three columns.
//!
//! A row is replaced by one statement and the rows of a commit in one transaction, so no transaction is held for reading:
//! what is read after the head is at least as new as the head.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::connections::{Connect, Connections, Failure};
use super::counters::Counters;
use super::pace::Pace;
use super::parts::{self, Parts};
use super::several::Several;
use super::{Home, Stamp, StoreKey, Traffic};
use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "mysql")]
pub(super) use mysql::MySql;
#[cfg(feature = "postgres")]
pub(super) use postgres::Postgres;
#[cfg(feature = "sqlite")]
pub(super) use sqlite::Sqlite;
pub(super) use table::{TABLE, Table};

/// Rows that are asked for by one statement.
const READ_ROWS: usize = 256;
/// Rows that one statement writes, with four parameters each.
const WRITE_ROWS: usize = 200;
/// Bytes that one statement writes, unless a single blob is larger: servers have limits.
const WRITE_BYTES: usize = 4 << 20;
/// Rows that one statement removes.
const REMOVE_ROWS: usize = 1000;
/// Names that one statement lists.
const LIST_ROWS: usize = 25_000;

/// A row: its id, and the columns `header`, `meta` and `val`.
pub(super) type Row = (Vec<u8>, [Option<Vec<u8>>; 3]);
/// What changes with a row: its id, the columns `header` and `meta`, and the length of `val`.
pub(super) type Glance = (Vec<u8>, [Option<Vec<u8>>; 2], Option<i64>);

/// A connection to one kind of database.
pub(super) trait Session: Send {
    /// Whether the table is there.
    fn has_table(&mut self, table: &Table) -> Result<bool, Failure>;
    /// Makes the table where it is not there.
    fn create_table(&mut self, table: &Table) -> Result<(), Failure>;
    /// The rows of these ids, in any order.
    fn read(&mut self, table: &Table, ids: &[String]) -> Result<Vec<Row>, Failure>;
    /// What changes with these rows, in any order.
    fn glance(&mut self, table: &Table, ids: &[String]) -> Result<Vec<Glance>, Failure>;
    /// Writes all in one transaction, each statement as many as one piece holds; no piece names an id twice.
    fn write(&mut self, table: &Table, pieces: &[Vec<(String, Parts)>]) -> Result<(), Failure>;
    /// Removes the rows of these ids, as far as they are there.
    fn remove(&mut self, table: &Table, ids: &[String]) -> Result<(), Failure>;
    /// The ids after this one, in order, of rows that are not empty.
    fn list(&mut self, table: &Table, after: &str, most: usize) -> Result<Vec<String>, Failure>;
}

/// A store in a table.
pub(super) struct SqlHome<D: Connect> {
    connections: Connections<D>,
    table: Table,
    pace: Pace,
    counters: Counters,
    has_table: AtomicBool,
}

impl<D: Connect<Connection: Session>> SqlHome<D> {
    /// The store in an existing table.
    pub(super) fn open(database: D, name: String, table: Table, poll_every: Duration) -> Result<Self> {
        let home = Self::new(database, name, table, poll_every);
        if home.look_for_table()? {
            return Ok(home);
        }
        let message = format!("there is no table `{}`: which one it is says `?{TABLE}=`", home.table);
        Err(Error::new(ErrorKind::NotFound, home.name(), message))
    }

    /// A store in a table that is made, or has no row.
    pub(super) fn create(database: D, name: String, table: Table, poll_every: Duration) -> Result<Self> {
        let home = Self::new(database, name, table, poll_every);
        let is_taken = home.look_for_table()? && !home.page("", 1)?.is_empty();
        if is_taken {
            let message = format!("the table `{}` is not empty: another one can be named by `?{TABLE}=`", home.table);
            return Err(Error::new(ErrorKind::AlreadyExists, home.name(), message));
        }
        Ok(home)
    }

    fn new(database: D, name: String, table: Table, poll_every: Duration) -> Self {
        let connections = Connections::new(database, name);
        let pace = Pace::new(poll_every);
        Self { connections, table, pace, counters: Counters::default(), has_table: AtomicBool::new(false) }
    }

    fn look_for_table(&self) -> Result<bool> {
        let there = self.run(&"table", |session, table| session.has_table(table))?;
        self.has_table.store(there, Ordering::Relaxed);
        Ok(there)
    }

    fn run<T>(
        &self,
        what: &dyn fmt::Display,
        mut work: impl FnMut(&mut D::Connection, &Table) -> Result<T, Failure>,
    ) -> Result<T> {
        self.connections.run(what, |session| {
            self.counters.request();
            work(session, &self.table)
        })
    }

    /// The blobs, each with its stamp: both are of one row, read at once.
    fn rows(&self, keys: &[StoreKey]) -> Result<Vec<Option<(Stamp, Bytes)>>> {
        if !self.is_there()? {
            return Ok(vec![None; keys.len()]);
        }
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_ROWS) {
            let ids: Vec<_> = keys.iter().map(StoreKey::file_name).collect();
            let rows = self.run(&Several(keys), |session, table| session.read(table, &ids))?;
            let rows: HashMap<_, _> = rows.into_iter().map(|(id, columns)| (id, joined(columns))).collect();
            found.extend(ids.iter().map(|id| {
                let (stamp, blob) = rows.get(id.as_bytes())?;
                (!blob.is_empty()).then(|| (*stamp, self.counters.read(blob.clone())))
            }));
        }
        Ok(found)
    }

    /// Whether there is anything to ask: a table that is made with the first blob may not be there yet.
    fn is_there(&self) -> Result<bool> {
        Ok(self.has_table.load(Ordering::Relaxed) || self.look_for_table()?)
    }

    fn page(&self, after: &str, most: usize) -> Result<Vec<String>> {
        self.run(&"list of blobs", |session, table| session.list(table, after, most))
    }
}

impl<D: Connect<Connection: Session>> Home for SqlHome<D> {
    fn name(&self) -> String {
        self.connections.name().to_owned()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        Ok(self.get_many(&[key])?.pop().flatten())
    }

    fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.rows(keys)?.into_iter().map(|row| row.map(|(_, blob)| blob)).collect())
    }

    fn get_stamped(&self, keys: &[StoreKey]) -> Result<Vec<Option<(Stamp, Bytes)>>> {
        self.rows(keys)
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        if !self.is_there()? {
            return Ok(vec![None; keys.len()]);
        }
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_ROWS) {
            let ids: Vec<_> = keys.iter().map(StoreKey::file_name).collect();
            let rows = self.run(&Several(keys), |session, table| session.glance(table, &ids))?;
            let rows: HashMap<_, _> = rows.into_iter().map(|(id, columns, len)| (id, glanced(columns, len))).collect();
            found.extend(ids.iter().map(|id| *rows.get(id.as_bytes())?));
        }
        Ok(found)
    }

    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()> {
        let (Some((first, _)), count) = (blobs.first(), blobs.len()) else { return Ok(()) };
        if !self.has_table.load(Ordering::Relaxed) {
            self.run(&"table", |session, table| session.create_table(table))?;
            self.has_table.store(true, Ordering::Relaxed);
        }
        let mut pieces: Vec<Vec<(String, Parts)>> = Vec::new();
        let mut room = 0;
        for (key, blob) in &blobs {
            let parts = parts::split(blob).map_err(|e| Error::damaged(format!("{}: {key}", self.name()), e))?;
            let id = key.file_name();
            let open = pieces.last_mut().filter(|piece| {
                blob.len() <= room && piece.len() < WRITE_ROWS && piece.iter().all(|(other, _)| *other != id)
            });
            match open {
                Some(piece) => {
                    piece.push((id, parts));
                    room -= blob.len();
                }
                None => {
                    pieces.push(vec![(id, parts)]);
                    room = WRITE_BYTES.saturating_sub(blob.len());
                }
            }
        }
        let what = format!("{first} and {} more", count - 1);
        self.run(&what, |session, table| session.write(table, &pieces))?;
        blobs.iter().for_each(|(_, blob)| self.counters.written(blob));
        Ok(())
    }

    fn remove_many(&self, keys: &[StoreKey]) -> Result<()> {
        if keys.is_empty() || !self.is_there()? {
            return Ok(());
        }
        for keys in keys.chunks(REMOVE_ROWS) {
            let ids: Vec<_> = keys.iter().map(StoreKey::file_name).collect();
            self.run(&Several(keys), |session, table| session.remove(table, &ids))?;
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<StoreKey>> {
        let mut keys = Vec::new();
        if !self.is_there()? {
            return Ok(keys);
        }
        let mut after = String::new();
        loop {
            let page = self.page(&after, LIST_ROWS)?;
            keys.extend(page.iter().filter_map(|id| StoreKey::from_file_name(id)));
            match page.into_iter().next_back() {
                Some(last) => after = last,
                None => return Ok(keys),
            }
        }
    }

    fn wait_for_change(&self, key: StoreKey, seen: Option<Stamp>, timeout: Duration) -> Result<bool> {
        self.pace.wait(self, key, seen, timeout)
    }

    fn poll_every(&self) -> Duration {
        self.pace.every()
    }

    fn traffic(&self) -> Traffic {
        self.counters.traffic()
    }
}

/// The blob of a row, and its stamp.
fn joined(columns: [Option<Vec<u8>>; 3]) -> (Stamp, Bytes) {
    let [header, meta, value] = columns.map(Option::unwrap_or_default);
    let stamp = stamp(&header, &meta, value.len() as u64);
    let mut blob = BytesMut::with_capacity(header.len() + meta.len() + value.len());
    [header, meta, value].iter().for_each(|part| blob.extend_from_slice(part));
    (stamp, blob.freeze())
}

/// The stamp of a row that is not empty.
fn glanced(columns: [Option<Vec<u8>>; 2], value_len: Option<i64>) -> Option<Stamp> {
    let [header, meta] = columns.map(Option::unwrap_or_default);
    let value_len = value_len.and_then(|len| u64::try_from(len).ok()).unwrap_or(0);
    (!header.is_empty() || !meta.is_empty() || value_len > 0).then(|| stamp(&header, &meta, value_len))
}

/// The metadata hold when the blob was written last.
fn stamp(header: &[u8], meta: &[u8], value_len: u64) -> Stamp {
    let mut version = Vec::with_capacity(header.len() + meta.len() + 8);
    version.extend_from_slice(header);
    version.extend_from_slice(meta);
    version.extend_from_slice(&value_len.to_be_bytes());
    Stamp::of(&version)
}
