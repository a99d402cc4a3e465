//! The configuration and the words about a commit that stand in a head.
//!
//! What the snapshot's source said is kept where it still holds; where the store is, how its nodes are and what the datoms
//! themselves say is made anew. Credentials that a snapshot does not hold are not made up.

use crate::datahike::encode_head::Entries;
use crate::datahike::{field, home};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Value, edn};

use super::schema::Schema;
use super::{Description, Options};

/// What Datahike calls itself when it is not a release: it opens in every version.
const VERSION: &str = "DEVELOPMENT";

/// A configuration for one head.
pub(super) struct Configuration {
    pub(super) entries: Entries,
    pub(super) crypto_hash: bool,
    pub(super) storage: [u8; 16],
    database: Option<[u8; 16]>,
    source_meta: Value<'static>,
}

impl Configuration {
    pub(super) fn new(description: &Description, schema: &Schema, location: &str, options: &Options) -> Result<Self> {
        let parse = |name: &str| -> Result<Value<'static>> {
            let Some(text) = description.properties.get(name) else { return Ok(Value::Map(Vec::new())) };
            let value = edn::parse_value(text.as_bytes()).map_err(|why| {
                Error::new(ErrorKind::Damaged, format!("property `{name}` of the snapshot"), "is no EDN").because(why)
            })?;
            Ok(value.into_owned())
        };
        let source = parse("config")?;
        let crypto_hash =
            options.crypto_hash.unwrap_or_else(|| field(&source, "crypto-hash?") == Some(&Value::Boolean(true)));
        let old_store = field(&source, "store").cloned().unwrap_or(Value::Nil);
        let storage = match (description.identity.storage, field(&old_store, "id")) {
            (Some(id), _) | (None, Some(&Value::Uuid(id))) => id,
            _ => random_uuid(),
        };
        let mut entries = vec![
            (keyword("store"), store(location, storage)),
            (keyword("keep-history?"), Value::Boolean(description.keep_history)),
            (keyword("attribute-refs?"), Value::Boolean(schema.references)),
            (keyword("crypto-hash?"), Value::Boolean(crypto_hash)),
            (keyword("branch"), Value::Keyword(description.branch.clone().into())),
            (keyword("index"), keyword("datahike.index/persistent-set")),
        ];
        if options.branching_factor != crate::datahike::encode_node::BRANCHING_FACTOR {
            let factor = i64::try_from(options.branching_factor).unwrap_or(i64::MAX);
            let factor = Value::Map(vec![(keyword("branching-factor"), Value::Long(factor))]);
            entries.push((keyword("index-config"), factor));
        }
        let made = |name: &str| {
            let made = ["store", "keep-history?", "attribute-refs?", "crypto-hash?", "branch", "index"];
            made.contains(&name) || ["index-config", "fuse-index-roots?", "commit-graph?", "name"].contains(&name)
        };
        let mut kept = match source {
            Value::Map(entries) => entries,
            _ => Vec::new(),
        };
        kept.retain(|(key, value)| !matches!(key, Value::Keyword(name) if made(name)) && *value != keyword("redacted"));
        let defaults = [
            ("schema-flexibility", keyword(if schema.describes_users() { "write" } else { "read" })),
            ("search-cache-size", Value::Long(0)),
            ("store-cache-size", Value::Long(1000)),
            ("writer", Value::Map(vec![(keyword("backend"), keyword("self"))])),
        ];
        for (name, value) in defaults {
            if !kept.iter().any(|(key, _)| *key == keyword(name)) {
                kept.push((keyword(name), value));
            }
        }
        entries.extend(kept);
        let database = description.identity.database;
        Ok(Self { entries, crypto_hash, storage, database, source_meta: parse("meta")? })
    }

    /// What is said about the commit, `updated` and `now` in milliseconds since 1970.
    pub(super) fn meta(&self, commit: [u8; 16], updated: i64, now: i64) -> Entries {
        let kept = |name: &str, otherwise: Value<'static>| match field(&self.source_meta, name) {
            Some(value @ (Value::Uuid(_) | Value::Instant(_))) => value.clone(),
            _ => otherwise,
        };
        vec![
            (keyword("datahike/commit-id"), Value::Uuid(commit)),
            // The commits it was made from are not in this store.
            (keyword("datahike/parents"), Value::Set(Vec::new())),
            (keyword("datahike/created-at"), kept("datahike/created-at", Value::Instant(now))),
            (keyword("datahike/updated-at"), Value::Instant(updated)),
            (
                keyword("datahike/id"),
                match self.database {
                    Some(id) => Value::Uuid(id),
                    None => kept("datahike/id", Value::Uuid(random_uuid())),
                },
            ),
            (keyword("datahike/version"), Value::String(VERSION.as_bytes().into())),
            (keyword("konserve/version"), Value::Nil),
            (keyword("persistent.set/version"), Value::Nil),
            (keyword("hitchhiker.tree/version"), Value::Nil),
        ]
    }
}

/// Where the store is, as far as a configuration says it without credentials.
fn store(location: &str, id: [u8; 16]) -> Value<'static> {
    let backend = match home::scheme(location).as_deref() {
        Some("s3") => "s3",
        Some("jdbc" | "postgres" | "postgresql" | "mysql" | "mariadb" | "sqlite") => "jdbc",
        Some("redis" | "rediss") => "redis",
        _ => "file",
    };
    let mut entries = vec![(keyword("backend"), keyword(backend)), (keyword("id"), Value::Uuid(id))];
    if let Some(path) = home::folder(location) {
        let path = std::path::absolute(&path).unwrap_or(path);
        entries.push((keyword("path"), Value::String(path.to_string_lossy().into_owned().into_bytes().into())));
    }
    Value::Map(entries)
}

fn random_uuid() -> [u8; 16] {
    let mut uuid = [0; 16];
    getrandom::fill(&mut uuid).expect("the operating system always has random bytes once it is up");
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

fn keyword(name: &'static str) -> Value<'static> {
    Value::Keyword(name.into())
}
