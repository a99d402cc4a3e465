//! MySQL and MariaDB.

use std::time::Duration;

use ::mysql::prelude::Queryable as _;
use ::mysql::{Conn, DriverError, Error as Theirs, OptsBuilder, SslOpts, TxOpts, Value};

use super::{Glance, Row, Session, Table};
use crate::datahike::home::connections::{Connect, Failure};
use crate::datahike::home::parts::Parts;
use crate::datahike::home::tls::{Tls, TlsMode, install_provider};
use crate::datahike::home::url::{StoreUrl, Variable};
use crate::error::{ErrorKind, Result};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the server may say nothing while it is asked something.
const SILENCE: Duration = Duration::from_secs(120);

/// A server, and how to talk to it.
pub(in crate::datahike::home) struct MySql {
    options: OptsBuilder,
    tls: Tls,
}

impl MySql {
    /// As the address says, and where it does not the variables of MySQL's own tools.
    pub(in crate::datahike::home) fn of(url: &StoreUrl, variable: Variable<'_>) -> Result<Self> {
        install_provider();
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let tls = Tls::of(url, ("MYSQL_SSL_MODE", "MYSQL_SSL_CA"), variable)?;
        if url.path.is_empty() {
            return Err(url.refuse("the database is missing: mysql://user@host/database"));
        }
        let port = url.port().or_else(|| set("MYSQL_TCP_PORT").and_then(|port| port.parse().ok())).unwrap_or(3306);
        let host = url.host().map(str::to_owned).or_else(|| set("MYSQL_HOST"));
        let options = OptsBuilder::new()
            .ip_or_hostname(Some(host.unwrap_or_else(|| "127.0.0.1".to_owned())))
            .tcp_port(port)
            .user(Some(url.user(&["USER"], variable).ok_or_else(|| url.refuse("no user"))?))
            .pass(url.password(&["MYSQL_PWD"], variable).map(|password| password.as_str().to_owned()))
            .db_name(Some(&url.path))
            // What the server says of its own socket may be out of reach, or another server's.
            .prefer_socket(false)
            // Otherwise a server that commits nothing by itself shows a kept connection the same moment for ever.
            .init(vec!["SET autocommit = 1"])
            .tcp_connect_timeout(Some(CONNECT))
            .read_timeout(Some(SILENCE))
            .write_timeout(Some(SILENCE))
            .tcp_keepalive_time_ms(Some(60_000));
        Ok(Self { options, tls })
    }

    fn open(&self, encrypt: bool) -> Result<Conn, Theirs> {
        let mut options = self.options.clone();
        if encrypt {
            let mut ssl = SslOpts::default().with_root_cert_path(self.tls.ca_file.clone());
            if self.tls.mode != TlsMode::Verify {
                ssl = ssl.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
            }
            options = options.ssl_opts(ssl);
        }
        Conn::new(options)
    }
}

impl Connect for MySql {
    type Connection = Conn;

    fn connect(&self) -> Result<Conn, Failure> {
        match self.open(self.tls.mode != TlsMode::Off) {
            Err(Theirs::DriverError(DriverError::TlsNotSupported)) if self.tls.mode == TlsMode::Prefer => {
                self.open(false)
            }
            result => result,
        }
        .map_err(failure)
    }
}

impl Session for Conn {
    fn has_table(&mut self, table: &Table) -> Result<bool, Failure> {
        match self.query_drop(format!("SELECT 1 FROM {table} LIMIT 1")) {
            Ok(()) => Ok(true),
            Err(Theirs::MySqlError(error)) if error.code == NO_SUCH_TABLE => Ok(false),
            Err(error) => Err(failure(error)),
        }
    }

    fn create_table(&mut self, table: &Table) -> Result<(), Failure> {
        let columns = "(id varchar(100) primary key, header longblob, meta longblob, val longblob)";
        self.query_drop(format!("CREATE TABLE IF NOT EXISTS {table} {columns}")).map_err(failure)
    }

    fn read(&mut self, table: &Table, ids: &[String]) -> Result<Vec<Row>, Failure> {
        let rows = self.query::<::mysql::Row, _>(format!(
            "SELECT id, header, meta, val FROM {table} WHERE id IN ({})",
            quoted(ids)
        ));
        let row = |row| {
            let (id, header, meta, value) = ::mysql::from_row_opt(row).map_err(|_| odd_columns(table))?;
            Ok((id, [header, meta, value]))
        };
        rows.map_err(failure)?.into_iter().map(row).collect()
    }

    fn glance(&mut self, table: &Table, ids: &[String]) -> Result<Vec<Glance>, Failure> {
        let rows = self.query::<::mysql::Row, _>(format!(
            "SELECT id, header, meta, OCTET_LENGTH(val) FROM {table} WHERE id IN ({})",
            quoted(ids)
        ));
        let row = |row| {
            let (id, header, meta, len) = ::mysql::from_row_opt(row).map_err(|_| odd_columns(table))?;
            Ok((id, [header, meta], len))
        };
        rows.map_err(failure)?.into_iter().map(row).collect()
    }

    fn write(&mut self, table: &Table, pieces: &[Vec<(String, Parts)>]) -> Result<(), Failure> {
        let mut transaction = self.start_transaction(TxOpts::default()).map_err(failure)?;
        for piece in pieces {
            let statement = format!(
                "INSERT INTO {table} (id, header, meta, val) VALUES {} ON DUPLICATE KEY UPDATE \
                 header = VALUES(header), meta = VALUES(meta), val = VALUES(val)",
                vec!["(?, ?, ?, ?)"; piece.len()].join(", ")
            );
            let parameters = piece
                .iter()
                .flat_map(|(id, parts)| std::iter::once(id.as_bytes()).chain(parts.iter().map(|part| &part[..])));
            let parameters: Vec<_> = parameters.map(|bytes| Value::Bytes(bytes.to_vec())).collect();
            transaction.exec_drop(statement, parameters).map_err(failure)?;
        }
        transaction.commit().map_err(failure)
    }

    fn remove(&mut self, table: &Table, ids: &[String]) -> Result<(), Failure> {
        // Of its own, as a server may be told to commit nothing by itself.
        let mut transaction = self.start_transaction(TxOpts::default()).map_err(failure)?;
        transaction.query_drop(format!("DELETE FROM {table} WHERE id IN ({})", quoted(ids))).map_err(failure)?;
        transaction.commit().map_err(failure)
    }

    fn list(&mut self, table: &Table, after: &str, most: usize) -> Result<Vec<String>, Failure> {
        let statement = format!("SELECT id FROM {table} WHERE id > ? AND header IS NOT NULL ORDER BY id LIMIT {most}");
        let ids: Vec<Vec<u8>> = self.exec(statement, (after,)).map_err(failure)?;
        Ok(ids.into_iter().map(|id| String::from_utf8_lossy(&id).into_owned()).collect())
    }
}

/// Names of blobs are digits, dashes and an ending, and go into statements as they are.
fn quoted(ids: &[String]) -> String {
    ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",")
}

fn odd_columns(table: &Table) -> Failure {
    let message = format!("the columns of `{table}` are not those of a konserve store: id, header, meta, val");
    Failure::Lasting(ErrorKind::Data, message)
}

const NO_SUCH_TABLE: u16 = 1146;

/// What the server answered tells whether it is worth asking again; without an answer it is.
fn failure(error: Theirs) -> Failure {
    match error {
        Theirs::MySqlError(answer) => {
            let message = format!("{} ({})", answer.message, answer.code);
            match answer.code {
                // Who it is, and what they may do.
                1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 | 3118 => Failure::Lasting(ErrorKind::Denied, message),
                1049 => Failure::Lasting(ErrorKind::NotFound, message),
                1021 | 1114 => Failure::Lasting(ErrorKind::NoSpace, message),
                // Too many connections, shutting down, killed, aborted, lock waits, deadlocks.
                1040
                | 1053
                | 1077
                | 1080
                | 1152
                | 1158..=1161
                | 1184
                | 1203
                | 1205
                | 1213
                | 1317
                | 1927
                | 2006
                | 2013 => Failure::Passing(message),
                _ => Failure::Lasting(ErrorKind::Failed, message),
            }
        }
        Theirs::IoError(error) => Failure::Passing(error.to_string()),
        Theirs::CodecError(error) => Failure::Passing(error.to_string()),
        Theirs::DriverError(
            error @ (DriverError::ConnectTimeout
            | DriverError::CouldNotConnect(_)
            | DriverError::PacketOutOfSync
            | DriverError::UnexpectedPacket
            | DriverError::Timeout
            | DriverError::SetupError),
        ) => Failure::Passing(error.to_string()),
        Theirs::DriverError(DriverError::TlsNotSupported) => {
            let message = "the server offers no encryption: allow that by `?sslmode=disable`";
            Failure::Lasting(ErrorKind::Failed, message.to_owned())
        }
        other => Failure::Lasting(ErrorKind::Failed, other.to_string()),
    }
}
