//! What a branch of a database is: the record under its keyword, which names the roots of the indices.

use std::collections::{BTreeMap, HashSet};

use super::fields::{elements, field, number, uuid};
use super::node::{self, Address, Tag};
use super::{Blob, Unreadable};
use crate::error::DecodeError;
use crate::record::datom::{Attribute, Value};

/// The head of a branch.
#[derive(Clone, Debug)]
pub struct Head {
    /// Name of the branch, without the colon.
    pub branch: String,
    /// The commit it is at.
    pub commit: Option<[u8; 16]>,
    /// The commits, or in the beginning the branch, this one was made from.
    pub parents: Vec<Value<'static>>,
    /// The latest transaction.
    pub max_tx: i64,
    /// The greatest entity id given out.
    pub max_eid: i64,
    /// Operations so far, where that is said.
    pub op_count: i64,
    /// Current datoms by entity.
    pub eavt: IndexRoot,
    /// Current datoms by attribute.
    pub aevt: IndexRoot,
    /// Current datoms of indexed attributes by value.
    pub avet: IndexRoot,
    /// What was and is no longer, where history is kept.
    pub temporal_eavt: Option<IndexRoot>,
    /// The same by attribute.
    pub temporal_aevt: Option<IndexRoot>,
    /// The same by value.
    pub temporal_avet: Option<IndexRoot>,
    /// The schema, where the head does not name a blob that holds it.
    pub inline_schema: Option<SchemaMeta>,
    /// The blob that holds the schema.
    pub schema_key: Option<[u8; 16]>,
    /// The configuration the database was made with. It may hold credentials.
    pub config: Value<'static>,
    /// What Datahike says about the commit: versions, times, ids.
    pub meta: Value<'static>,
    /// When the head was written, milliseconds since 1970. What it is made of was written before.
    pub last_write: Option<i64>,
    /// Hash of the whole record.
    pub bytes_hash: [u8; 32],
}

/// The root of one index.
#[derive(Clone, Debug)]
pub struct IndexRoot {
    /// Where the top node is stored; none for an index without datoms.
    pub address: Option<Address>,
    /// Datoms in the index, where that is known.
    pub count: Option<u64>,
    /// The top node itself, where it is kept in the head: then there may be nothing at the address.
    pub fused: Option<Value<'static>>,
    /// Children of a node, at most; 0 where it is not said.
    pub branching_factor: i64,
    /// Differences that a branch may carry; 0 where it carries none.
    pub diff_buf_size: i64,
}

impl Head {
    /// The head of `branch` in its blob.
    pub fn decode(branch: &str, blob: &Blob) -> Result<Self, Unreadable> {
        let record = blob.value()?;
        if !matches!(record, Value::Map(_)) {
            return Err(DecodeError::Invalid("head: not a map").into());
        }
        let config = field(&record, "config").cloned().unwrap_or(Value::Nil);
        if matches!(field(&config, "index"), Some(Value::Keyword(name)) if name == "datahike.index/hitchhiker-tree") {
            return Err(Unreadable::Hitchhiker);
        }
        let index = |name: &str| index_root(&record, name);
        let required =
            |name: &str| index(name)?.ok_or(Unreadable::from(DecodeError::Invalid("head: an index is missing")));
        let meta = field(&record, "meta").cloned().unwrap_or(Value::Nil);
        let schema_key = uuid(&record, "schema-meta-key");
        let inline_schema = match schema_key {
            Some(_) => None,
            None => Some(SchemaMeta::from_value(&record)?),
        };
        Ok(Self {
            branch: branch.to_owned(),
            commit: uuid(&meta, "datahike/commit-id"),
            parents: field(&meta, "datahike/parents")
                .map(elements)
                .unwrap_or_default()
                .iter()
                .cloned()
                .map(Value::into_owned)
                .collect(),
            max_tx: number(&record, "max-tx").ok_or(DecodeError::Invalid("head: no latest transaction"))?,
            max_eid: number(&record, "max-eid").unwrap_or(0),
            op_count: number(&record, "op-count").unwrap_or(0),
            eavt: required("eavt")?,
            aevt: required("aevt")?,
            avet: required("avet")?,
            temporal_eavt: index("temporal-eavt")?,
            temporal_aevt: index("temporal-aevt")?,
            temporal_avet: index("temporal-avet")?,
            inline_schema,
            schema_key,
            config: config.into_owned(),
            meta: meta.into_owned(),
            last_write: blob.last_write,
            bytes_hash: *blake3::hash(&blob.bytes).as_bytes(),
        })
    }

    /// Whether history is kept.
    pub fn keeps_history(&self) -> bool {
        self.temporal_eavt.is_some()
    }

    /// The id that the database got when it was made.
    pub fn database_id(&self) -> Option<[u8; 16]> {
        database_id(&self.meta)
    }

    /// Whether addresses are hashes of the nodes' content.
    pub fn has_content_addresses(&self) -> bool {
        field(&self.config, "crypto-hash?") == Some(&Value::Boolean(true))
    }

    /// Whether attributes in datoms are entity ids.
    pub fn has_attribute_references(&self) -> bool {
        field(&self.config, "attribute-refs?") == Some(&Value::Boolean(true))
    }
}

fn index_root(record: &Value<'_>, name: &str) -> Result<Option<IndexRoot>, Unreadable> {
    let fused = field(record, &format!("{name}-root")).filter(|node| **node != Value::Nil);
    let fused = fused.cloned().map(Value::into_owned);
    let fields = match field(record, &format!("{name}-key")) {
        None | Some(Value::Nil) if fused.is_none() => return Ok(None),
        None | Some(Value::Nil) => Value::Nil,
        Some(root) => match node::record(root.clone())? {
            (Tag::Set, fields) => Value::Map(fields),
            _ => return Err(DecodeError::Invalid("head: the root of an index is a node").into()),
        },
    };
    Ok(Some(IndexRoot {
        address: uuid(&fields, "address"),
        count: number(&fields, "count").and_then(|count| u64::try_from(count).ok()),
        fused,
        branching_factor: number(&fields, "branching-factor").unwrap_or(0),
        diff_buf_size: number(&fields, "diff-buf-size").unwrap_or(0),
    }))
}

/// What a database knows about its attributes.
#[derive(Clone, Debug)]
pub struct SchemaMeta {
    /// Attributes by their idents, each a map; with attribute references also idents by ids.
    pub schema: Value<'static>,
    /// Attributes by their properties.
    pub rschema: Value<'static>,
    /// Idents by entity id.
    pub idents: BTreeMap<i64, String>,
    /// Entity ids of Datahike's own schema, in databases with attribute references.
    pub system_entities: Vec<i64>,
    many: HashSet<String>,
    no_history: HashSet<String>,
}

impl SchemaMeta {
    /// The schema in a blob of its own.
    pub fn decode(blob: &Blob) -> Result<Self, Unreadable> {
        Self::from_value(&blob.value()?)
    }

    pub(super) fn from_value(record: &Value<'_>) -> Result<Self, Unreadable> {
        let part = |name: &str| field(record, name).cloned().unwrap_or(Value::Map(Vec::new())).into_owned();
        let mut idents = BTreeMap::new();
        if let Some(Value::Map(entries)) = field(record, "ref-ident-map") {
            for (id, ident) in entries {
                if let (Value::Long(id), Value::Keyword(ident)) = (id, ident) {
                    idents.insert(*id, ident.clone().into_owned());
                }
            }
        }
        let (schema, rschema) = (part("schema"), part("rschema"));
        if !matches!(schema, Value::Map(_)) {
            return Err(DecodeError::Invalid("schema: not a map").into());
        }
        let system_entities = field(record, "system-entities").map(elements).unwrap_or_default();
        let system_entities = system_entities.iter().filter_map(|id| match id {
            Value::Long(id) => Some(*id),
            _ => None,
        });
        let with = |property: &str| names(field(&rschema, property).map(elements).unwrap_or_default(), &idents);
        Ok(Self {
            many: with("db.cardinality/many"),
            no_history: with("db/noHistory"),
            system_entities: system_entities.collect(),
            schema,
            rschema,
            idents,
        })
    }

    /// The ident of an attribute.
    pub fn ident<'n>(&'n self, attribute: &'n Attribute<'_>) -> Option<&'n str> {
        match attribute {
            Attribute::Keyword(name) | Attribute::String(name) => Some(name.as_ref()),
            Attribute::Id(id) => self.idents.get(id).map(String::as_str),
        }
    }

    /// Whether entities may have several values of the attribute at once.
    pub fn is_many(&self, attribute: &Attribute<'_>) -> bool {
        self.ident(attribute).is_some_and(|ident| self.many.contains(ident))
    }

    /// Whether what the attribute was is not kept.
    pub fn has_no_history(&self, attribute: &Attribute<'_>) -> bool {
        self.ident(attribute).is_some_and(|ident| self.no_history.contains(ident))
    }

    /// Whether current datoms of the attribute are in the history only because they are current: the rule of which the
    /// history of a database is made.
    pub fn is_history_while_current(&self, attribute: &Attribute<'_>) -> bool {
        self.is_many(attribute) || self.has_no_history(attribute)
    }
}

fn names(attributes: &[Value<'_>], idents: &BTreeMap<i64, String>) -> HashSet<String> {
    let name = |attribute: &Value<'_>| match attribute {
        Value::Keyword(name) => Some(name.clone().into_owned()),
        Value::Long(id) => idents.get(id).cloned(),
        _ => None,
    };
    attributes.iter().filter_map(name).collect()
}

/// The id of a database in what its head says of itself.
pub fn database_id(meta: &Value<'_>) -> Option<[u8; 16]> {
    match field(meta, "datahike/id") {
        Some(Value::Uuid(id)) => Some(*id),
        _ => None,
    }
}
