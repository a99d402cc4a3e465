//! SQLite: a file, read by its own library.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error as Theirs, ErrorCode, OpenFlags, TransactionBehavior, params_from_iter};

use super::{Glance, Row, Session, Table};
use crate::datahike::home::connections::{Connect, Failure};
use crate::datahike::home::parts::Parts;
use crate::error::ErrorKind;

/// How long another's lock is waited for.
const BUSY: Duration = Duration::from_secs(30);

/// A database in a file.
pub(in crate::datahike::home) struct Sqlite {
    path: PathBuf,
    may_create: bool,
}

impl Sqlite {
    /// The database in an existing file.
    pub(in crate::datahike::home) fn open(path: PathBuf) -> Self {
        Self { path, may_create: false }
    }

    /// The same; the file is made where there is none.
    pub(in crate::datahike::home) fn create(path: PathBuf) -> Self {
        Self { path, may_create: true }
    }
}

impl Connect for Sqlite {
    type Connection = Database;

    fn connect(&self) -> Result<Database, Failure> {
        let flags = match self.may_create {
            true => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            // Closing a connection that may write would move what is in the log into the file.
            false => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        Ok(Database { path: self.path.clone(), connection: open(&self.path, flags)?, is_writable: self.may_create })
    }
}

/// An open file, for reading until something is written.
pub(in crate::datahike::home) struct Database {
    path: PathBuf,
    connection: Connection,
    is_writable: bool,
}

impl Database {
    fn writer(&mut self) -> Result<&mut Connection, Failure> {
        if !self.is_writable {
            self.connection = open(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            self.is_writable = true;
        }
        Ok(&mut self.connection)
    }
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, Failure> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failure)?;
    connection.busy_timeout(BUSY).map_err(failure)?;
    Ok(connection)
}

impl Session for Database {
    fn has_table(&mut self, table: &Table) -> Result<bool, Failure> {
        match self.connection.prepare(&format!("SELECT 1 FROM {table} LIMIT 1")) {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().starts_with("no such table") => Ok(false),
            Err(error) => Err(failure(error)),
        }
    }

    fn create_table(&mut self, table: &Table) -> Result<(), Failure> {
        let columns = "(id varchar(100) primary key, header bytea, meta bytea, val bytea)";
        self.writer()?.execute_batch(&format!("CREATE TABLE IF NOT EXISTS {table} {columns}")).map_err(failure)
    }

    fn read(&mut self, table: &Table, ids: &[String]) -> Result<Vec<Row>, Failure> {
        let row = |row: &rusqlite::Row<'_>| {
            Ok((bytes(row, 0)?.unwrap_or_default(), [bytes(row, 1)?, bytes(row, 2)?, bytes(row, 3)?]))
        };
        select(&self.connection, "id, header, meta, val", table, ids, row)
    }

    fn glance(&mut self, table: &Table, ids: &[String]) -> Result<Vec<Glance>, Failure> {
        let row = |row: &rusqlite::Row<'_>| {
            Ok((bytes(row, 0)?.unwrap_or_default(), [bytes(row, 1)?, bytes(row, 2)?], row.get(3)?))
        };
        select(&self.connection, "id, header, meta, length(val)", table, ids, row)
    }

    fn write(&mut self, table: &Table, pieces: &[Vec<(String, Parts)>]) -> Result<(), Failure> {
        let statement = format!(
            "INSERT INTO {table} (id, header, meta, val) VALUES (?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET header = excluded.header, meta = excluded.meta, val = excluded.val"
        );
        let connection = self.writer()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
        {
            let mut statement = transaction.prepare(&statement).map_err(failure)?;
            for (id, [header, meta, value]) in pieces.iter().flatten() {
                statement.execute((id, &header[..], &meta[..], &value[..])).map_err(failure)?;
            }
        }
        transaction.commit().map_err(failure)
    }

    fn remove(&mut self, table: &Table, ids: &[String]) -> Result<(), Failure> {
        let places = vec!["?"; ids.len()].join(",");
        let statement = format!("DELETE FROM {table} WHERE id IN ({places})");
        self.writer()?.execute(&statement, params_from_iter(ids)).map(drop).map_err(failure)
    }

    fn list(&mut self, table: &Table, after: &str, most: usize) -> Result<Vec<String>, Failure> {
        let statement = format!("SELECT id FROM {table} WHERE id > ? AND header IS NOT NULL ORDER BY id LIMIT {most}");
        let mut statement = self.connection.prepare(&statement).map_err(failure)?;
        let rows = statement.query_map([after], |row| row.get(0)).map_err(failure)?;
        rows.collect::<Result<_, _>>().map_err(failure)
    }
}

fn select<T>(
    connection: &Connection,
    columns: &str,
    table: &Table,
    ids: &[String],
    row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Failure> {
    let places = vec!["?"; ids.len()].join(",");
    let statement = format!("SELECT {columns} FROM {table} WHERE id IN ({places})");
    let mut statement = connection.prepare(&statement).map_err(failure)?;
    let rows = statement.query_map(params_from_iter(ids), row).map_err(failure)?;
    rows.collect::<Result<_, _>>().map_err(failure)
}

/// A column's bytes; nothing where it is null.
fn bytes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Vec<u8>>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(bytes.to_vec()),
        other => return Err(Theirs::InvalidColumnType(column, "a blob".to_owned(), other.data_type())),
    })
}

/// A lock that was waited for in vain may be gone the next time; nothing else changes by itself.
fn failure(error: Theirs) -> Failure {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return Failure::Passing(error.to_string()),
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => ErrorKind::Denied,
        Some(ErrorCode::DiskFull) => ErrorKind::NoSpace,
        Some(ErrorCode::CannotOpen) => ErrorKind::NotFound,
        Some(ErrorCode::NotADatabase) => ErrorKind::Data,
        Some(ErrorCode::DatabaseCorrupt) => ErrorKind::Damaged,
        _ => ErrorKind::Failed,
    };
    Failure::Lasting(kind, error.to_string())
}
