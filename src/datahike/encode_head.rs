//! Heads, schemas and the blobs around them, as Datahike 0.8 writes them.

use bytes::Bytes;

use super::blob::{self, Compression};
use super::encode_node::{index_root, keyword};
use super::node::Address;
use super::order::IndexOrder;
use super::{StoreKey, hasch};
use crate::error::DecodeError;
use crate::record::datom::fressian::Writer;
use crate::record::datom::{EncodeError, Value};

/// A map of which Clojure's equal ones are made.
pub type Entries = Vec<(Value<'static>, Value<'static>)>;

/// An index that has been written.
#[derive(Clone, Debug)]
pub struct WrittenIndex {
    /// Whether it holds history.
    pub temporal: bool,
    /// Its order.
    pub order: IndexOrder,
    /// Where its top node is.
    pub address: Address,
    /// Datoms in it.
    pub count: u64,
}

/// The head of a branch that is written.
#[derive(Clone, Debug)]
pub struct NewHead {
    /// The indices.
    pub indices: Vec<WrittenIndex>,
    /// Children of their nodes, at most.
    pub branching_factor: usize,
    /// The id of the store.
    pub storage: [u8; 16],
    /// The blob that holds the schema.
    pub schema_key: [u8; 16],
    /// The configuration.
    pub config: Entries,
    /// What is said about the commit.
    pub meta: Entries,
    /// The latest transaction.
    pub max_tx: i64,
    /// The greatest entity id given out.
    pub max_eid: i64,
    /// Operations so far.
    pub op_count: i64,
}

impl NewHead {
    /// The record that stands under the branch and under the commit.
    pub fn record(&self) -> Value<'static> {
        let mut entries = Vec::new();
        let mut roots = Vec::new();
        for index in &self.indices {
            let prefix = if index.temporal { "temporal-" } else { "" };
            let name = Value::Keyword(format!("{prefix}{}-key", index.order.name()).into());
            let root = index_root(index.order, self.storage, index.address, index.count, self.branching_factor);
            entries.push((name.clone(), root));
            roots.push((name, Value::Uuid(index.address)));
        }
        entries.extend([
            (keyword("merkle-roots"), Value::Map(roots)),
            (keyword("schema-meta-key"), Value::Uuid(self.schema_key)),
            (keyword("config"), Value::Map(self.config.clone())),
            (keyword("meta"), Value::Map(self.meta.clone())),
            (keyword("max-tx"), Value::Long(self.max_tx)),
            (keyword("max-eid"), Value::Long(self.max_eid)),
            (keyword("op-count"), Value::Long(self.op_count)),
            // A sum of hashes of the JVM; every database begins with 0 and adds to it.
            (keyword("hash"), Value::Long(0)),
        ]);
        Value::Map(entries)
    }
}

/// Whether a blob is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It is never written again.
    Immutable,
    /// It is written again with every commit.
    Mutable,
}

/// A blob under its name: `value` is Fressian already, `now` milliseconds since 1970.
pub fn blob(
    key: &Value<'_>,
    lifetime: Lifetime,
    value: &[u8],
    now: i64,
    compression: Compression,
) -> Result<(StoreKey, Bytes), DecodeError> {
    let mut meta = Writer::new();
    let immutable = lifetime == Lifetime::Immutable;
    meta.map(3 + usize::from(immutable));
    if immutable {
        meta.keyword("immutable?");
        meta.boolean(true);
    }
    let refused = |_: EncodeError| DecodeError::Invalid("key of a blob");
    meta.keyword("key");
    meta.value(key).map_err(refused)?;
    meta.keyword("type");
    meta.keyword("edn");
    meta.keyword("last-write");
    meta.value(&Value::Instant(now)).map_err(refused)?;
    let name = match key {
        Value::Uuid(uuid) => StoreKey::address(uuid),
        key => StoreKey::of(key)?,
    };
    Ok((name, blob::encode(&meta.finish(), value, compression, None).into()))
}

/// The key of a schema blob: the hash of what it holds; nothing where that has no hash.
pub fn schema_key(schema_meta: &Value<'_>) -> Option<[u8; 16]> {
    hasch::uuid(schema_meta).ok()
}
