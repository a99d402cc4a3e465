//! A table of an SQLite database with an address, a content and maybe addresses in each row.
//!
//! The database is opened read-only and read in one transaction, so what a writer commits meanwhile, also into the
//! write-ahead log, neither shows nor disturbs.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{Content, Home};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Value, json};

/// Tables that are known to hold nodes: Logseq's, and that of DataScript's own storage for SQL.
const TABLES: [&str; 2] = ["kvs", "datascript"];

pub(super) struct Sqlite {
    path: PathBuf,
    connection: Connection,
    query: String,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| failed(path, error))?;
        connection.busy_timeout(std::time::Duration::from_secs(30)).map_err(|error| failed(path, error))?;
        let query = query(&connection).map_err(|error| failed(path, error))?;
        let Some(query) = query else {
            let message = "an SQLite database without a table of DataScript's nodes (`kvs` with addr and content); \
                           back it up as a file";
            return Err(Error::new(ErrorKind::Data, path.display(), message));
        };
        Ok(Self { path: path.to_owned(), connection, query })
    }
}

/// What gets a row of the table, if there is one.
fn query(connection: &Connection) -> rusqlite::Result<Option<String>> {
    for table in TABLES {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let columns: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let has = |column: &str| columns.iter().any(|name| name == column);
        if has("addr") && has("content") {
            let addresses = if has("addresses") { "addresses" } else { "NULL" };
            return Ok(Some(format!("SELECT content, {addresses} FROM {table} WHERE addr = ?1")));
        }
    }
    Ok(None)
}

impl Home for Sqlite {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn place(&self, address: i64) -> String {
        format!("{}, address {address}", self.path.display())
    }

    fn get(&mut self, address: i64) -> Result<Option<Content>> {
        let place = self.place(address);
        let mut statement = self.connection.prepare(&self.query).map_err(|error| failed(&self.path, error))?;
        let row = statement.query_row([address], |row| Ok((bytes(row.get_ref(0)?), bytes(row.get_ref(1)?)))).optional();
        let Some((text, addresses)) = row.map_err(|error| failed(&self.path, error))? else { return Ok(None) };
        let damaged = |what: &str| Error::new(ErrorKind::Damaged, &place, what);
        let text = text.ok_or_else(|| damaged("a content that is neither text nor bytes"))?;
        let listed = match addresses.as_deref() {
            None | Some([]) => Vec::new(),
            Some(addresses) => listed(addresses).ok_or_else(|| damaged("addresses that are no list of integers"))?,
        };
        let addresses = if listed.is_empty() { None } else { Some(listed) };
        Ok(Some(Content { text, addresses }))
    }

    fn begin(&mut self) -> Result<()> {
        self.connection.execute_batch("BEGIN").map_err(|error| failed(&self.path, error))
    }

    fn end(&mut self, _: &[u8], _: &[u8]) -> Result<bool> {
        self.connection.execute_batch("COMMIT").map_err(|error| failed(&self.path, error))?;
        Ok(true)
    }
}

fn bytes(value: ValueRef<'_>) -> Option<Vec<u8>> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}

/// `[2,3]`, or `null`.
fn listed(text: &[u8]) -> Option<Vec<i64>> {
    match json::parse_value(text).ok()? {
        Value::Nil => Some(Vec::new()),
        Value::Tuple(addresses) => {
            addresses.into_iter().map(|address| if let Value::Long(n) = address { Some(n) } else { None }).collect()
        }
        _ => None,
    }
}

fn failed(path: &Path, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Damaged,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, path.display(), format!("SQLite: {error}")).because(error)
}
