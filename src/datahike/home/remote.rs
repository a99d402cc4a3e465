//! Stores that are not folders, by the scheme of their address.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Home;
use super::url::{JDBC, StoreUrl, Variable};
use crate::error::{Error, ErrorKind, Result};

/// The option that says how often a store is looked at for changes, in milliseconds.
pub(super) const POLL_MS: &str = "poll-ms";

/// Whether a store that is there is opened, or one that is not is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Open,
    Create,
}

/// The store at an address.
pub(super) fn store(scheme: &str, text: &str, intent: Intent, variable: Variable<'_>) -> Result<Arc<dyn Home>> {
    // Schemes mean the same in any case: RFC 3986, 3.1.
    let scheme = scheme.to_ascii_lowercase();
    let text = format!("{scheme}{}", &text[scheme.len()..]);
    let text = text.as_str();
    if let Some(inner) = text.strip_prefix(JDBC) {
        let scheme = inner.split_once(':').map_or("", |(scheme, _)| scheme);
        return store(scheme, inner, intent, variable);
    }
    match scheme.as_str() {
        "s3" => objects(text, intent, variable),
        "postgres" | "postgresql" => postgres(text, intent, variable),
        "mysql" | "mariadb" => mysql(text, intent, variable),
        "sqlite" => sqlite(text, intent),
        "redis" | "rediss" => redis(text, intent, variable),
        "file" => {
            let path = super::folder(text).unwrap_or_default();
            Ok(match intent {
                Intent::Open => Arc::new(super::FileHome::open(path)?),
                Intent::Create => Arc::new(super::FileHome::create(path)?),
            })
        }
        other => {
            let known = "a folder, s3://, postgres://, mysql://, mariadb://, sqlite: and redis://";
            let message = format!("stores of this kind are not known; there are {known}");
            Err(Error::new(ErrorKind::Usage, format!("{other}:..."), message))
        }
    }
}

/// Whether there is such a scheme, in any case.
pub(super) fn is_known(scheme: &str) -> bool {
    let known = ["jdbc", "s3", "postgres", "postgresql", "mysql", "mariadb", "sqlite", "redis", "rediss", "file"];
    known.iter().any(|known| known.eq_ignore_ascii_case(scheme))
}

/// How often the address wants its store to be looked at.
#[cfg(any(feature = "s3", feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis"))]
pub(super) fn poll_every(url: &StoreUrl, otherwise: Duration) -> Result<Duration> {
    let Some(text) = url.option(POLL_MS) else { return Ok(otherwise) };
    match text.parse() {
        Ok(ms @ 1..=3_600_000) => Ok(Duration::from_millis(ms)),
        _ => Err(url.refuse(format!("`{POLL_MS}`: milliseconds, 1 to 3600000"))),
    }
}

/// How to come by what this program was built without.
#[cfg(not(all(feature = "s3", feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis")))]
fn not_built(scheme: &str, feature: &str) -> Result<Arc<dyn Home>> {
    let message = format!("this program was built without the feature `{feature}`: cargo install --features {feature}");
    Err(Error::new(ErrorKind::Usage, format!("{scheme}:..."), message))
}

#[cfg(feature = "s3")]
fn objects(text: &str, intent: Intent, variable: Variable<'_>) -> Result<Arc<dyn Home>> {
    use super::objects::ObjectHome;
    Ok(Arc::new(match intent {
        Intent::Open => ObjectHome::open(text, variable)?,
        Intent::Create => ObjectHome::create(text, variable)?,
    }))
}

#[cfg(not(feature = "s3"))]
fn objects(_: &str, _: Intent, _: Variable<'_>) -> Result<Arc<dyn Home>> {
    not_built("s3", "s3")
}

/// Options that every database on a server has.
#[cfg(any(feature = "postgres", feature = "mysql"))]
const SERVER_OPTIONS: [&str; 6] =
    [super::sql::TABLE, "user", "password", super::tls::MODE, super::tls::CA_FILE, POLL_MS];

#[cfg(feature = "postgres")]
fn postgres(text: &str, intent: Intent, variable: Variable<'_>) -> Result<Arc<dyn Home>> {
    let url = StoreUrl::parse(text, &SERVER_OPTIONS)?;
    table(super::sql::Postgres::of(&url, variable)?, &url, intent)
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str, _: Intent, _: Variable<'_>) -> Result<Arc<dyn Home>> {
    not_built("postgres", "postgres")
}

#[cfg(feature = "mysql")]
fn mysql(text: &str, intent: Intent, variable: Variable<'_>) -> Result<Arc<dyn Home>> {
    let url = StoreUrl::parse(text, &SERVER_OPTIONS)?;
    table(super::sql::MySql::of(&url, variable)?, &url, intent)
}

#[cfg(not(feature = "mysql"))]
fn mysql(_: &str, _: Intent, _: Variable<'_>) -> Result<Arc<dyn Home>> {
    not_built("mysql", "mysql")
}

#[cfg(feature = "sqlite")]
fn sqlite(text: &str, intent: Intent) -> Result<Arc<dyn Home>> {
    use super::sql::Sqlite;
    let url = StoreUrl::parse(text, &[super::sql::TABLE, POLL_MS])?;
    // `sqlite:///path` names no host, but its path is from the root all the same.
    let path = if text.starts_with("sqlite:///") { format!("/{}", url.path) } else { url.path.clone() };
    if url.host().is_some() || path.is_empty() {
        return Err(url.refuse("the file is missing: sqlite:/path/to/file"));
    }
    let path = PathBuf::from(path);
    if intent == Intent::Open && !path.is_file() {
        return Err(Error::new(ErrorKind::NotFound, &url, "no such file"));
    }
    let database = match intent {
        Intent::Open => Sqlite::open(path),
        Intent::Create => Sqlite::create(path),
    };
    table(database, &url, intent)
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &str, _: Intent) -> Result<Arc<dyn Home>> {
    not_built("sqlite", "sqlite")
}

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
fn table<D>(database: D, url: &StoreUrl, intent: Intent) -> Result<Arc<dyn Home>>
where
    D: super::connections::Connect<Connection: super::sql::Session> + 'static,
{
    use super::sql::{SqlHome, Table};
    let (name, table, poll_every) = (url.to_string(), Table::of(url)?, poll_every(url, super::POLL_EVERY)?);
    Ok(Arc::new(match intent {
        Intent::Open => SqlHome::open(database, name, table, poll_every)?,
        Intent::Create => SqlHome::create(database, name, table, poll_every)?,
    }))
}

#[cfg(feature = "redis")]
fn redis(text: &str, intent: Intent, variable: Variable<'_>) -> Result<Arc<dyn Home>> {
    use super::redis::RedisHome;
    Ok(Arc::new(match intent {
        Intent::Open => RedisHome::open(text, variable)?,
        Intent::Create => RedisHome::create(text, variable)?,
    }))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str, _: Intent, _: Variable<'_>) -> Result<Arc<dyn Home>> {
    not_built("redis", "redis")
}
