//! Places for stores on the servers that there are.

use std::collections::BTreeMap;
use std::env;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use packstone::datahike::StoreKey;
use tempfile::TempDir;

/// A place where no store is yet.
pub struct Place {
    pub kind: &'static str,
    /// The address, which may be changed before it is used.
    pub location: String,
    /// `host:port` of the server, as the address has it.
    pub server: Option<String>,
    _folder: Option<TempDir>,
}

/// A new place on each server that there is.
pub fn places() -> Vec<Place> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let unique = format!("t_{}_{number}", process::id());
    let mut places = Vec::new();
    let mut there = |kind: &'static str, variable: &str, make: &dyn Fn(&str) -> (String, Option<String>)| match env::var(
        variable,
    ) {
        Ok(value) => {
            let (location, server) = make(&value);
            places.push(Place { kind, location, server, _folder: None });
        }
        Err(_) => eprintln!("{kind}: skipped, {variable} is not set"),
    };
    there("s3", "SVC_S3_ENDPOINT", &|endpoint| {
        let set = |name| env::var(name).unwrap();
        let location = format!(
            "s3://{}/{unique}?endpoint={endpoint}&region={}&access_key_id={}&secret_access_key={}&poll-ms=50",
            set("SVC_S3_BUCKET"),
            set("SVC_S3_REGION"),
            set("SVC_S3_ACCESS_KEY_ID"),
            set("SVC_S3_SECRET_ACCESS_KEY"),
        );
        (location, endpoint.strip_prefix("http://").map(str::to_owned))
    });
    there("postgres", "SVC_PG_URL", &|url| (format!("{url}?table={unique}"), server(url)));
    there("mariadb", "SVC_MYSQL_URL", &|url| {
        let mut connection = mysql::Conn::new(mysql::Opts::from_url(url).unwrap()).unwrap();
        mysql::prelude::Queryable::query_drop(&mut connection, "CREATE DATABASE IF NOT EXISTS konserve_test").unwrap();
        (format!("{url}konserve_test?table={unique}"), server(url))
    });
    there("redis", "SVC_REDIS_URL", &|url| {
        let url = format!("{}/{}", url.rsplit_once('/').unwrap().0, 1 + number % 15);
        let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
        redis::cmd("FLUSHDB").exec(&mut connection).unwrap();
        let server = server(&url);
        (url, server)
    });
    let folder = tempfile::tempdir().unwrap();
    let location = format!("sqlite:{}?table=app_a", folder.path().join("store.db").display());
    places.push(Place { kind: "sqlite", location, server: None, _folder: Some(folder) });
    places
}

fn server(url: &str) -> Option<String> {
    let place = url.split_once("://")?.1.split('/').next()?;
    Some(place.rsplit_once('@').map_or(place, |(_, server)| server).to_owned())
}

/// A blob as konserve lays it out.
pub fn blob(meta: &str, value: &[u8]) -> Bytes {
    let mut blob = vec![1, 1, 0, 0];
    blob.extend(u32::try_from(meta.len()).unwrap().to_be_bytes());
    blob.extend([0; 12]);
    blob.extend(meta.as_bytes());
    blob.extend(value);
    blob.into()
}

/// Blobs of different lengths.
pub fn blobs(count: u32) -> BTreeMap<StoreKey, Bytes> {
    let one = |n: u32| {
        let value: Vec<u8> = (0..n * 7 % 5000).map(|i| (i * 31 + n) as u8).collect();
        (key(n), blob(&format!("metadata of {n}"), &value))
    };
    (0..count).map(one).collect()
}

/// Names of blobs.
pub fn key(n: u32) -> StoreKey {
    let mut uuid = [0; 16];
    uuid[..4].copy_from_slice(&n.to_be_bytes());
    StoreKey::address(&uuid)
}
