//! konserve's Redis stores: one logical database, a string for each blob.
//!
//! The client that konserve uses marks strings of bytes by two bytes before them. A blob begins with its version, 1, so both
//! kinds can be told apart; without the mark that client would take a blob for text.

use std::time::Duration;

use ::redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ErrorKind as Theirs, IntoConnectionInfo as _, Pipeline,
    RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, Value, cmd, pipe,
};
use bytes::{BufMut as _, Bytes, BytesMut};

use super::connections::{Connect, Connections, Failure};
use super::counters::Counters;
use super::pace::Pace;
use super::remote::{POLL_MS, poll_every};
use super::several::Several;
use super::tls::{CA_FILE, MODE, Tls, install_provider};
use super::url::{StoreUrl, Variable};
use super::{Home, POLL_EVERY, Stamp, StoreKey, Traffic, parts};
use crate::error::{Error, ErrorKind, Result};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the server may say nothing while it is asked something.
const SILENCE: Duration = Duration::from_secs(120);
/// Keys that are asked for at once.
const READ_KEYS: usize = 128;
/// Keys that are removed at once: the server does nothing else meanwhile.
const REMOVE_KEYS: usize = 1000;
/// Bytes that go into one transaction, unless a single blob is larger: the server keeps all of it until the end.
const WRITE_BYTES: usize = 64 << 20;
/// Header and metadata are hardly ever longer.
const GLANCE_BYTES: usize = 1024;
/// How long the server may take to have on disk what was written.
const DURABLE_MS: u64 = 60_000;
/// What marks a string of bytes.
const MARK: &[u8] = b"\0<";
/// The key without which konserve says that there is no store.
const MARKER: &str = ".konserve-store-metadata";

/// A store in a logical database.
pub(super) struct RedisHome {
    connections: Connections<Server>,
    pace: Pace,
    counters: Counters,
}

struct Server(Client);

impl RedisHome {
    /// The store in a logical database that holds one.
    pub(super) fn open(text: &str, variable: Variable<'_>) -> Result<Self> {
        let home = Self::of(text, variable)?;
        match home.exists(&[MARKER.to_owned(), super::head_key().file_name()])? {
            0 => {
                Err(Error::new(ErrorKind::NotFound, home.name(), "no store of konserve in this database of the server"))
            }
            _ => Ok(home),
        }
    }

    /// A store in a logical database that holds none.
    pub(super) fn create(text: &str, variable: Variable<'_>) -> Result<Self> {
        let home = Self::of(text, variable)?;
        if home.exists(&[MARKER.to_owned()])? > 0 || !home.list()?.is_empty() {
            let message =
                "there is a store in this database of the server already: take another one, as redis://host/1";
            return Err(Error::new(ErrorKind::AlreadyExists, home.name(), message));
        }
        Ok(home)
    }

    fn of(text: &str, variable: Variable<'_>) -> Result<Self> {
        let url = StoreUrl::parse(text, &["user", "password", MODE, CA_FILE, POLL_MS])?;
        let refuse = |e: RedisError| url.refuse(e);
        let tls = Tls::of(&url, ("", ""), variable)?;
        let database = match url.path.trim_end_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| url.refuse("the database is no number: redis://host:6379/0"))?,
        };
        let mut settings = RedisConnectionInfo::default().set_db(database);
        if let Some(user) = url.user(&[], variable) {
            settings = settings.set_username(user);
        }
        if let Some(password) = url.password(&["REDISCLI_AUTH"], variable) {
            settings = settings.set_password(password.as_str());
        }
        let host = url.host().unwrap_or("127.0.0.1").to_owned();
        let port = url.port().unwrap_or(6379);
        let client = if url.scheme == "rediss" {
            install_provider();
            let insecure = false;
            let address = ConnectionAddr::TcpTls { host, port, insecure, tls_params: None };
            let info: ConnectionInfo = address.into_connection_info().map_err(refuse)?.set_redis_settings(settings);
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: tls.ca_pem()? })
        } else {
            let info = ConnectionAddr::Tcp(host, port).into_connection_info().map_err(refuse)?;
            Client::open(info.set_redis_settings(settings))
        };
        let pace = Pace::new(poll_every(&url, POLL_EVERY)?);
        let connections = Connections::new(Server(client.map_err(refuse)?), url.to_string());
        Ok(Self { connections, pace, counters: Counters::default() })
    }

    fn run<T>(
        &self,
        what: &dyn std::fmt::Display,
        mut work: impl FnMut(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T> {
        self.connections.run(what, |connection| {
            self.counters.request();
            work(connection).map_err(failure)
        })
    }

    fn exists(&self, keys: &[String]) -> Result<u64> {
        self.run(&MARKER, |connection| cmd("EXISTS").arg(keys).query(connection))
    }

    /// Has the server do something to blobs, and waits until it has that on disk, where it keeps a log and can tell.
    fn change(&self, what: &dyn std::fmt::Display, change: &Pipeline) -> Result<()> {
        let is_durable = self.run(what, |connection| {
            change.query::<()>(connection)?;
            // What the server tells is about what came by the same connection.
            self.counters.request();
            is_durable(connection)
        })?;
        match is_durable {
            true => Ok(()),
            false => {
                let message = format!("not on disk after {} s", DURABLE_MS / 1000);
                Err(Error::new(ErrorKind::Transient, self.name(), message))
            }
        }
    }
}

fn is_durable(connection: &mut Connection) -> Result<bool, RedisError> {
    match cmd("WAITAOF").arg(1).arg(0).arg(DURABLE_MS).query::<Vec<i64>>(connection) {
        Ok(counts) => Ok(counts.first().is_none_or(|on_disk| *on_disk > 0)),
        // An older server, or one without a log: it keeps what it was told to keep, as far as it was told to.
        Err(refused) if matches!(refused.kind(), Theirs::Server(_) | Theirs::Extension) => {
            tracing::debug!(%refused, "the server does not say what is on disk");
            Ok(true)
        }
        Err(other) => Err(other),
    }
}

impl Connect for Server {
    type Connection = Connection;

    fn connect(&self) -> Result<Connection, Failure> {
        let connection = self.0.get_connection_with_timeout(CONNECT).map_err(failure)?;
        connection.set_read_timeout(Some(SILENCE)).map_err(failure)?;
        connection.set_write_timeout(Some(SILENCE)).map_err(failure)?;
        Ok(connection)
    }
}

impl Home for RedisHome {
    fn name(&self) -> String {
        self.connections.name().to_owned()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        Ok(self.get_many(&[key])?.pop().flatten())
    }

    fn get_many(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get_stamped(keys)?.into_iter().map(|found| found.map(|(_, blob)| blob)).collect())
    }

    fn get_stamped(&self, keys: &[StoreKey]) -> Result<Vec<Option<(Stamp, Bytes)>>> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_KEYS) {
            let names: Vec<_> = keys.iter().map(StoreKey::file_name).collect();
            let values: Vec<Value> =
                self.run(&Several(keys), |connection| cmd("MGET").arg(&names).query(connection))?;
            for value in values {
                let Value::BulkString(bytes) = value else {
                    found.push(None);
                    continue;
                };
                let blob = unmarked(Bytes::from(bytes));
                let stamp = stamp(&blob, blob.len());
                found.push(stamp.map(|stamp| (stamp, self.counters.read(blob))));
            }
        }
        Ok(found)
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_KEYS) {
            let mut pipeline = pipe();
            for key in keys {
                let name = key.file_name();
                pipeline.cmd("GETRANGE").arg(&name).arg(0).arg(GLANCE_BYTES + MARK.len() - 1);
                pipeline.cmd("STRLEN").arg(name);
            }
            let answers: Vec<(Vec<u8>, usize)> = self.run(&Several(keys), |connection| {
                let flat: Vec<Value> = pipeline.query(connection)?;
                flat.chunks_exact(2)
                    .map(|pair| {
                        let start = ::redis::from_redis_value_ref(&pair[0])?;
                        Ok((start, ::redis::from_redis_value_ref(&pair[1])?))
                    })
                    .collect()
            })?;
            found.extend(answers.into_iter().map(|(start, len)| {
                let marked = start.len();
                let start = unmarked(Bytes::from(start));
                stamp(&start, len - (marked - start.len()).min(len))
            }));
        }
        Ok(found)
    }

    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()> {
        let mut rest = &blobs[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest.iter().take_while(|(_, blob)| {
                let is_first = bytes == 0;
                bytes += blob.len() + MARK.len();
                is_first || bytes <= WRITE_BYTES
            });
            let (now, later) = rest.split_at(count.count());
            rest = later;
            let mut transaction = pipe();
            transaction.atomic();
            for (key, blob) in now {
                transaction.set(key.file_name(), marked(blob)).ignore();
            }
            // Whoever sees the marker sees a store.
            if rest.is_empty() {
                transaction.cmd("SET").arg(MARKER).arg(marked(b"{:created-by \"packstone\"}")).arg("NX").ignore();
            }
            let keys: Vec<_> = now.iter().map(|(key, _)| *key).collect();
            self.change(&Several(&keys), &transaction)?;
            now.iter().for_each(|(_, blob)| self.counters.written(blob));
        }
        Ok(())
    }

    fn remove_many(&self, keys: &[StoreKey]) -> Result<()> {
        for keys in keys.chunks(REMOVE_KEYS) {
            let names: Vec<_> = keys.iter().map(StoreKey::file_name).collect();
            let mut removal = pipe();
            removal.cmd("DEL").arg(&names).ignore();
            self.change(&Several(keys), &removal)?;
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<StoreKey>> {
        let mut keys = Vec::new();
        let mut cursor = 0_u64;
        loop {
            let (next, names): (u64, Vec<Vec<u8>>) = self.run(&"list of blobs", |connection| {
                cmd("SCAN").arg(cursor).arg("MATCH").arg("*.ksv").arg("COUNT").arg(10_000).query(connection)
            })?;
            keys.extend(names.iter().filter_map(|name| StoreKey::from_file_name(str::from_utf8(name).ok()?)));
            cursor = next;
            if cursor == 0 {
                // A scan may name a key twice.
                keys.sort_unstable();
                keys.dedup();
                return Ok(keys);
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

fn unmarked(bytes: Bytes) -> Bytes {
    if bytes.starts_with(MARK) { bytes.slice(MARK.len()..) } else { bytes }
}

fn marked(blob: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::with_capacity(MARK.len() + blob.len());
    bytes.put_slice(MARK);
    bytes.put_slice(blob);
    bytes.into()
}

/// The stamp of a blob of this length that begins so: its metadata hold when it was written last.
fn stamp(start: &[u8], len: usize) -> Option<Stamp> {
    let (header_len, meta_len) = parts::lengths(start).unwrap_or((start.len(), 0));
    let end = header_len.saturating_add(meta_len).min(start.len()).min(GLANCE_BYTES);
    let mut version = start[..end].to_vec();
    version.extend_from_slice(&(len as u64).to_be_bytes());
    (len > 0).then(|| Stamp::of(&version))
}

/// What the server answered tells whether it is worth asking again; without an answer it is.
fn failure(error: RedisError) -> Failure {
    let message = error.to_string();
    match error.kind() {
        Theirs::Io if message.contains("certificate") => Failure::Lasting(ErrorKind::Failed, message),
        Theirs::Io => Failure::Passing(message),
        Theirs::AuthenticationFailed => Failure::Lasting(ErrorKind::Denied, message),
        Theirs::Server(ServerErrorKind::NoPerm) => Failure::Lasting(ErrorKind::Denied, message),
        Theirs::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => Failure::Passing(message),
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Failure::Lasting(ErrorKind::Denied, message),
            Some("OOM") => Failure::Lasting(ErrorKind::NoSpace, message),
            _ => Failure::Lasting(ErrorKind::Failed, message),
        },
    }
}
